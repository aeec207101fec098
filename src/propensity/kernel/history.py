"""The last events of each customer as right-padded arrays, gathered without a per-sample Python call."""

from __future__ import annotations

from numba import njit

from propensity.kernel.pair import visible_end


@njit(cache=True, nogil=True)
def last_events(
    offsets, day, item, kind, channel, revenue, item_offsets, item_offer, customer, cutoff, hide_days, hide_offer, out
):
    """Fills `out = (item, kind, channel, gap, amount (B, L), length (B,))` with the last visible events, oldest first.

    gap is the age in days at the cutoff (1 or more), amount the event's revenue; slots past `length` hold item and
    channel -1, and zeros. Events in the last `hide_days` of a customer, and those of its `hide_offer`, are left out.
    """
    to_item, to_kind, to_channel, to_gap, to_amount, length = out
    width = to_item.shape[1]
    for b in range(customer.size):
        start, stop = offsets[customer[b]], offsets[customer[b] + 1]
        end = visible_end(day, start, stop, cutoff - hide_days[b])
        kept = 0
        slot = width
        for e in range(end - 1, start - 1, -1):  # newest first into the right end, then shifted left
            if kept == width:
                break
            hidden = False
            if hide_offer[b] >= 0 and item[e] >= 0:
                for k in range(item_offsets[item[e]], item_offsets[item[e] + 1]):
                    hidden = hidden or item_offer[k] == hide_offer[b]
            if hidden:
                continue
            slot -= 1
            kept += 1
            to_item[b, slot] = item[e]
            to_kind[b, slot] = kind[e]
            to_channel[b, slot] = channel[e]
            to_gap[b, slot] = cutoff - day[e]
            to_amount[b, slot] = revenue[e]
        for j in range(kept):
            to_item[b, j] = to_item[b, slot + j]
            to_kind[b, j] = to_kind[b, slot + j]
            to_channel[b, j] = to_channel[b, slot + j]
            to_gap[b, j] = to_gap[b, slot + j]
            to_amount[b, j] = to_amount[b, slot + j]
        for j in range(kept, width):
            to_item[b, j] = -1
            to_kind[b, j] = 0
            to_channel[b, j] = -1
            to_gap[b, j] = 0
            to_amount[b, j] = 0.0
        length[b] = kept
