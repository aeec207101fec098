"""Customers with similar purchases: profiles over categories of items, the nearest of a sample, and what they bought.

A customer of the sample is no neighbour of himself. He is recognised by a signature of his purchases before the day of
the tables, so that a customer who is scored from his events alone has the neighbours that he has in the whole base, and
a history mask of training does not make him a neighbour of himself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.growing import resized
from propensity.kernel.history import belongs
from propensity.kernel.window import NEVER, first_at

PROFILE_DAYS = 182
NEAREST = 80
CLOSE = float(np.float32(1 - 1e-6))  # cosines that differ by rounding only are ties
BINS = 1024  # of cosines, to find the nearest
MANY = 64  # customers from which frequent categories are rows of a matrix in a search
FREQUENT = 0.2  # share of the profiles from which a category is a row of a matrix
MIX = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)  # Steele et al., SplitMix, OOPSLA 2014
SHIFT = np.array([30, 27, 31, 32], np.uint64)


class Neighbours(NamedTuple):
    """R reference customers by their profiles over K categories, as an inverted index.

    Parameters
    ----------
    day : int
        The day before which the reference customers bought what is in the tables.
    weight : (K,) float32
        Weight of a category in a profile; rare ones weigh more.
    offsets : (K + 1,) int64
        Category k is in the profiles `offsets[k]:offsets[k + 1]` of `customer` and `value`.
    customer : (entries,) int32
        Reference customers.
    value : (entries,) float32
        Their profiles, of length 1.
    signature : (R,) uint64
        Of all purchases before `day`, ascending.
    bought_offsets : (R + 1,) int64
        Reference customer r bought `bought_offsets[r]:bought_offsets[r + 1]` of `bought_offer` and `bought_window`.
    bought_offer : (purchases,) int32
        Offers.
    bought_window : (purchases,) int8
        The shortest of the windows with a purchase of the offer.
    nearest_offsets : (R + 1,) int64
        The nearest of reference customer r are `nearest_offsets[r]:nearest_offsets[r + 1]` of `nearest`.
    nearest : (pairs,) int32
        Reference customers.
    nearest_share : (pairs,) float32
        Their weights, of sum 1.
    """

    day: int
    weight: np.ndarray
    offsets: np.ndarray
    customer: np.ndarray
    value: np.ndarray
    signature: np.ndarray
    bought_offsets: np.ndarray
    bought_offer: np.ndarray
    bought_window: np.ndarray
    nearest_offsets: np.ndarray
    nearest: np.ndarray
    nearest_share: np.ndarray


class Workspace(NamedTuple):
    """Working memory to find the nearest of R reference customers."""

    similarity: np.ndarray  # (R,) 0 before and after a search
    near: np.ndarray  # (R,) reference customers with a similarity
    cosine: np.ndarray  # (R,) theirs; afterwards the shares of the nearest
    bins: np.ndarray  # (BINS,)


class Counter(NamedTuple):
    """Working memory to count the distinct days of K categories."""

    last: np.ndarray  # (K,) day of the last purchase, NEVER before and after a count
    days: np.ndarray  # (K,)
    touched: np.ndarray  # (K,)


@njit(cache=True, nogil=True)
def counter(categories: int) -> Counter:
    """Memory without an entry."""
    return Counter(np.full(categories, NEVER), np.zeros(categories, np.int64), np.empty(categories, np.int64))


@njit(cache=True, nogil=True)
def count_days(
    events: Events, sets: Sets, categories: Sets, start: int, end: int, mask_offer: int, memory: Counter
) -> int:
    """Counts the days with a purchase of each category among the events [start, end).

    Returns
    -------
    int
        The number of categories in `touched`, whose `last` the caller sets back to NEVER.
    """
    day, item, kind = events.day, events.item, events.kind
    touched = 0
    for e in range(start, end):
        if kind[e] != PURCHASE or item[e] < 0 or (mask_offer >= 0 and belongs(sets, item[e], mask_offer)):
            continue
        for j in range(categories.offsets[item[e]], categories.offsets[item[e] + 1]):
            k = categories.offer[j]
            if memory.last[k] == NEVER:
                memory.touched[touched] = k
                memory.days[k] = 0
                touched += 1
            if memory.last[k] != day[e]:
                memory.last[k] = day[e]
                memory.days[k] += 1
    return touched


@njit(cache=True, nogil=True)
def profile_days(
    events: Events, categories: Sets, n_categories: int, customer: np.ndarray, cutoff: int, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Days with a purchase of each category in the last `window` days, and how long ago the last was.

    Returns
    -------
    tuple of arrays
        offsets (B + 1,), and the categories, days and recency of customer b in `offsets[b]:offsets[b + 1]`.
    """
    memory, offsets, room = counter(n_categories), np.zeros(customer.size + 1, np.int64), 1024
    category, days, recency = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    for b in range(customer.size):
        start, end = first_at(events, customer[b], cutoff - window), first_at(events, customer[b], cutoff)
        touched, at = count_days(events, categories, categories, start, end, -1, memory), offsets[b]
        if at + touched > room:
            room = 2 * (at + touched)
            category, days, recency = resized(category, room), resized(days, room), resized(recency, room)
        for t in range(touched):
            k = memory.touched[t]
            category[at + t], days[at + t], recency[at + t] = k, memory.days[k], cutoff - memory.last[k]
            memory.last[k] = NEVER
        offsets[b + 1] = at + touched
    size = offsets[-1]
    return offsets, category[:size], days[:size], recency[:size]


@njit(cache=True, nogil=True)
def inverted(profiles: Sets, value: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The customers and values of each category, from the categories and values (entries,) of each customer.

    Category k is in the entries `index[k]:index[k + 1]` of both, ascending in customer.
    """
    place, owner, sorted_value = index[:-1].copy(), np.empty(value.size, np.int32), np.empty_like(value)
    for r in range(profiles.offsets.size - 1):
        for i in range(profiles.offsets[r], profiles.offsets[r + 1]):
            at = place[profiles.offer[i]]
            owner[at], sorted_value[at] = r, value[i]
            place[profiles.offer[i]] += 1
    return owner, sorted_value


@njit(cache=True, nogil=True)
def signatures(
    events: Events, sets: Sets, categories: Sets, n_categories: int, customer: np.ndarray, day: int
) -> np.ndarray:
    """Of the purchases of each customer before a day, whatever their order; 0 without any: (B,) uint64."""
    out = np.zeros(customer.size, np.uint64)
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], day)
        out[b] = signature(events, sets, categories, n_categories, start, end, day)
    return out


@njit(cache=True, nogil=True)
def signature(
    events: Events, sets: Sets, categories: Sets, n_categories: int, start: int, end: int, day: int
) -> np.uint64:
    """Sum of the mixed ages and categories, and ages and offers, of the purchases among the events [start, end).

    Customers with the same signature have the same profile and bought the same offers on the same days.
    """
    item, total = events.item, np.uint64(0)
    for e in range(start, end):
        if events.kind[e] != PURCHASE or item[e] < 0:
            continue
        for j in range(categories.offsets[item[e]], categories.offsets[item[e] + 1]):
            total += mixed(day - events.day[e], categories.offer[j])
        for j in range(sets.offsets[item[e]], sets.offsets[item[e] + 1]):
            total += mixed(day - events.day[e], n_categories + sets.offer[j])
    return total


@njit(cache=True, nogil=True)
def mixed(age: int, number: int) -> np.uint64:
    """A hash of an age and a number."""
    x = (np.uint64(np.int64(age) - NEVER) << SHIFT[3]) | np.uint64(number)
    x = (x ^ (x >> SHIFT[0])) * MIX[0]
    x = (x ^ (x >> SHIFT[1])) * MIX[1]
    return x ^ (x >> SHIFT[2])


@njit(cache=True, nogil=True)
def neighbour_shares(
    events: Events,
    sets: Sets,
    categories: Sets,
    customer: np.ndarray,
    cutoff: int,
    mask_days: np.ndarray,
    mask_offer: np.ndarray,
    tables: Neighbours,
    out: np.ndarray,
) -> np.ndarray:
    """Weighted share of the nearest reference customers who bought each offer in each window.

    Parameters
    ----------
    events, sets, categories : Events, Sets, Sets
        The log, and the offers and categories of its items.
    customer : (B,) int
        Rows of the log.
    cutoff : int
        Day; events of this day and later are not read.
    mask_days : (B,) int
        The most recent days that the history mask hides; 0: none.
    mask_offer : (B,) int
        The offer whose events the history mask hides; -1: none.
    tables : Neighbours
        The reference customers.
    out : (B, M, W) float32
        Overwritten; 0 for a customer without a neighbour.

    Returns
    -------
    (B, M, W) float32
        `out`. The nearest have the largest cosines; weights are squared cosines. Ties with the last are among them.
    """
    memory, work = counter(tables.weight.size), workspace(tables.signature.size)
    row, dense = np.full(tables.weight.size, -1), np.zeros((0, 0), np.float32)
    if customer.size >= MANY:
        row, dense = frequent_rows(tables)
    for b in range(customer.size):
        out[b] = 0.0
        first, known = events.offsets[customer[b]], first_at(events, customer[b], tables.day)
        own = find(tables.signature, signature(events, sets, categories, tables.weight.size, first, known, tables.day))
        if own >= 0 and mask_days[b] == 0 and mask_offer[b] < 0 and cutoff == tables.day:
            part = slice(tables.nearest_offsets[own], tables.nearest_offsets[own + 1])
            add_purchases(tables, tables.nearest[part], tables.nearest_share[part], out[b])
            continue
        start = first_at(events, customer[b], cutoff - PROFILE_DAYS)
        end = first_at(events, customer[b], cutoff - mask_days[b])
        touched = count_days(events, sets, categories, start, end, mask_offer[b], memory)
        count = find_nearest(memory, touched, own, tables, work, row, dense)
        add_purchases(tables, work.near[:count], work.cosine[:count], out[b])
    return out


@njit(cache=True, nogil=True)
def nearest_neighbours(
    profiles: Sets, value: np.ndarray, tables: Neighbours
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest of each reference customer, which are looked up where nothing of him is hidden.

    Parameters
    ----------
    profiles : Sets
        The categories of each reference customer, in the order of the tables.
    value : (entries,) float32
        The values of their profiles.
    tables : Neighbours
        The reference customers; their nearest are not read.

    Returns
    -------
    tuple of arrays
        `nearest_offsets`, `nearest` and `nearest_share`.

    Notes
    -----
    Frequent categories are rows of a matrix, which processors add faster than an inverted index. The order of the sums
    is that of a search.
    """
    size, (row, dense) = tables.signature.size, frequent_rows(tables)
    offsets, room, work = np.zeros(size + 1, np.int64), NEAREST * size + 1, workspace(size)
    nearest, share = np.empty(room, np.int32), np.empty(room, np.float32)
    for r in range(size):
        for i in range(profiles.offsets[r], profiles.offsets[r + 1]):
            k = profiles.offer[i]
            if row[k] >= 0:
                add_row(value[i], dense[row[k]], work.similarity)
            else:
                add_entries(value[i], tables, k, work.similarity)
        count, at = select_nearest(find(tables.signature, tables.signature[r]), work), offsets[r]
        if at + count > room:
            room = 2 * (at + count)
            nearest, share = resized(nearest, room), resized(share, room)
        nearest[at : at + count], share[at : at + count] = work.near[:count], work.cosine[:count]
        offsets[r + 1] = at + count
    return offsets, nearest[: offsets[-1]].copy(), share[: offsets[-1]].copy()


@njit(cache=True, nogil=True)
def add_row(value: np.float32, row: np.ndarray, similarity: np.ndarray) -> None:
    """Adds a multiple of row (R,) to similarity (R,)."""
    for r in range(similarity.size):
        similarity[r] += value * row[r]


@njit(cache=True, nogil=True)
def add_entries(value: np.float32, tables: Neighbours, k: int, similarity: np.ndarray) -> None:
    """Adds a multiple of the profiles' values of category k to similarity (R,)."""
    for j in range(tables.offsets[k], tables.offsets[k + 1]):
        similarity[tables.customer[j]] += value * tables.value[j]


@njit(cache=True, nogil=True)
def frequent_rows(tables: Neighbours) -> tuple[np.ndarray, np.ndarray]:
    """The row of each category (K,) int64, -1 for a rare one, and the profiles of the frequent ones: (D, R) float32."""
    row, size = np.full(tables.weight.size, -1), tables.signature.size
    rows = 0
    for k in range(row.size):
        if tables.offsets[k + 1] - tables.offsets[k] >= FREQUENT * size:
            row[k] = rows
            rows += 1
    dense = np.zeros((rows, size), np.float32)
    for k in range(row.size):
        if row[k] >= 0:
            for j in range(tables.offsets[k], tables.offsets[k + 1]):
                dense[row[k], tables.customer[j]] = tables.value[j]
    return row, dense


@njit(cache=True, nogil=True)
def workspace(customers: int) -> Workspace:
    """Memory for a search among so many reference customers."""
    cosine = np.empty(customers, np.float32)
    return Workspace(np.zeros(customers, np.float32), np.empty(customers, np.int32), cosine, np.zeros(BINS, np.int64))


@njit(cache=True, nogil=True)
def find_nearest(
    memory: Counter,
    touched: int,
    own: int,
    tables: Neighbours,
    work: Workspace,
    row: np.ndarray,
    dense: np.ndarray,
) -> int:
    """Finds the nearest to a counted profile, without `own` (-1: none), and empties the counter.

    `row` and `dense` are those of `frequent_rows`, or say that no category is frequent.

    Returns
    -------
    int
        Their number; they are the first of `work.near`, their shares the first of `work.cosine`.
    """
    add_similarities(memory, touched, tables, work.similarity, row, dense)
    return select_nearest(own, work)


@njit(cache=True, nogil=True)
def select_nearest(own: int, work: Workspace) -> int:
    """The nearest by `work.similarity`, which is set back to 0, without `own` (-1: none); see `find_nearest`."""
    similarity, near, cosine, bins = work
    if own >= 0:
        similarity[own] = 0.0
    bins[:] = 0
    size = 0
    for r in range(similarity.size):
        if similarity[r] > 0.0:
            near[size], cosine[size] = r, similarity[r]
            bins[bin_of(similarity[r])] += 1
            size += 1
    similarity[:] = 0.0
    if size > NEAREST:
        last, above = BINS - 1, 0
        while above + bins[last] < NEAREST:
            above += bins[last]
            last -= 1
        size = compact(near, cosine, size, last / BINS * CLOSE)
        size = compact(near, cosine, size, least_in_bin(cosine[:size], last, NEAREST - above) * CLOSE)
    total = 0.0
    for c in range(size):
        cosine[c] = cosine[c] ** 2
        total += cosine[c]
    for c in range(size):
        cosine[c] /= total
    return size


@njit(cache=True, nogil=True)
def bin_of(cosine: float) -> int:
    """Bin of a positive cosine."""
    return min(int(cosine * BINS), BINS - 1)


@njit(cache=True, nogil=True)
def compact(near: np.ndarray, cosine: np.ndarray, size: int, least: float) -> int:
    """Moves the customers with at least a cosine to the front, in order, and returns their number."""
    count = 0
    for c in range(size):
        if cosine[c] >= least:
            near[count], cosine[count] = near[c], cosine[c]
            count += 1
    return count


@njit(cache=True, nogil=True)
def least_in_bin(cosine: np.ndarray, place: int, n: int) -> float:
    """The n-th largest of the cosines (C,) in a bin."""
    within, size = np.empty(cosine.size, np.float32), 0
    for c in range(cosine.size):
        if bin_of(cosine[c]) == place:
            within[size] = cosine[c]
            size += 1
    return np.sort(within[:size])[size - n]


@njit(cache=True, nogil=True)
def add_similarities(
    memory: Counter, touched: int, tables: Neighbours, similarity: np.ndarray, row: np.ndarray, dense: np.ndarray
) -> None:
    """Adds the cosines with every reference customer to similarity (R,), and empties the counter."""
    square = 0.0
    for t in range(touched):
        square += (np.log1p(memory.days[memory.touched[t]]) * tables.weight[memory.touched[t]]) ** 2
    length = np.sqrt(square) if square > 0.0 else 1.0
    for t in range(touched):
        k = memory.touched[t]
        value = np.float32(np.log1p(memory.days[k]) * tables.weight[k] / length)
        if row[k] >= 0:
            add_row(value, dense[row[k]], similarity)
        else:
            add_entries(value, tables, k, similarity)
        memory.last[k] = NEVER


@njit(cache=True, nogil=True)
def find(signature: np.ndarray, wanted: np.uint64) -> int:
    """The first place of a value in signature (R,), ascending; -1 if it is not there, or is that of no purchase."""
    place = int(np.searchsorted(signature, wanted))
    return place if place < signature.size and signature[place] == wanted and wanted != np.uint64(0) else -1


@njit(cache=True, nogil=True)
def add_purchases(tables: Neighbours, near: np.ndarray, share: np.ndarray, out: np.ndarray) -> None:
    """Adds the shares of the neighbours near (C,) to the offers that they bought, in out (M, W)."""
    offsets, offer, window, width = tables.bought_offsets, tables.bought_offer, tables.bought_window, out.shape[1]
    flat = out.reshape(out.size)
    for c in range(near.size):
        for j in range(offsets[near[c]], offsets[near[c] + 1]):
            flat[offer[j] * width + window[j]] += share[c]
    for m in range(0, flat.size, width):
        for w in range(m + 1, m + width):
            flat[w] += flat[w - 1]
