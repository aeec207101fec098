"""Plain definitions of the kernels in NumPy: one customer and one offer at a time, columns by name.

Nothing but NumPy is imported: a bundle carries this file and rebuilds inputs by it where propensity is not installed.
`log` maps `offsets` (N+1,) and the names of the log's columns (E,) to arrays; `belongs` (I, M) bool says which offers
an item belongs to. mask_days (B,) and mask_offer (B,) are the days and the offer that a history mask hides of each
customer (0 and -1: none).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

PURCHASE, VIEW, MESSAGE, REDEMPTION, RETURN = range(5)  # as in event.py
Columns = Mapping[str, np.ndarray]
LONG_AGO = np.iinfo(np.int64).min


def between(log: Columns, customer: int, start: int, end: int) -> dict[str, np.ndarray]:
    """One customer's events in `start <= day < end`, in the log's order."""
    own = slice(log["offsets"][customer], log["offsets"][customer + 1])
    events = {name: values[own] for name, values in log.items() if name != "offsets"}
    return where(events, (events["day"] >= start) & (events["day"] < end))


def where(events: Columns, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[mask] for name, values in events.items()}


def of_kind(events: Columns, kind: int) -> dict[str, np.ndarray]:
    return where(events, events["kind"] == kind)


def of_offer(events: Columns, belongs: np.ndarray, offer: int) -> dict[str, np.ndarray]:
    return where(events, (events["item"] >= 0) & belongs[events["item"], offer])


def total(amounts: np.ndarray) -> float:
    return float(amounts.sum(dtype=np.float64))


def recency_row(days: np.ndarray, cutoff: int) -> dict[str, float]:
    """Recency and interpurchase times, from distinct purchase days, ascending."""
    between_days = np.diff(days)
    return {
        "recency": cutoff - days[-1] if days.size else np.nan,
        "interpurchase_time": between_days.mean() if between_days.size else np.nan,
        "interpurchase_std": between_days.std() if between_days.size else np.nan,
        "interpurchase_last": between_days[-1] if between_days.size else np.nan,
        "recency_ratio": (cutoff - days[-1]) / between_days.mean() if between_days.size else np.nan,
    }


def rolling(name: str, age: np.ndarray, amount: np.ndarray, windows: Sequence[int]) -> dict[str, float]:
    """Sums of `amount` over the events of at most w days of age."""
    return {f"{name}_{w}": total(amount[age <= w]) for w in windows}


def decayed(age: np.ndarray, half_lives: Sequence[int]) -> dict[str, float]:
    return {f"decayed_{h}": total(0.5 ** (age / h)) for h in half_lives}


def pair_reference(
    log: Columns,
    belongs: np.ndarray,
    customer: np.ndarray,
    cutoff: int,
    mask_days: np.ndarray,
    mask_offer: np.ndarray,
    windows: Sequence[int],
    half_lives: Sequence[int],
    names: Sequence[str],
) -> np.ndarray:
    """`pair_windows`: (B, M, P), the columns `names`."""
    out = np.empty((customer.size, belongs.shape[1], len(names)))
    for b, n in enumerate(customer):
        seen = between(log, n, LONG_AGO, cutoff - mask_days[b])
        for m in range(belongs.shape[1]):
            masked = mask_offer[b] == m
            own = where(seen, np.zeros(seen["day"].size, bool)) if masked else of_offer(seen, belongs, m)
            row = pair_row(seen, own, cutoff, windows, half_lives)
            row["masked"] = masked or mask_days[b] > 0
            out[b, m] = [row[name] for name in names]
    return out


def pair_row(
    seen: Columns, own: Columns, cutoff: int, windows: Sequence[int], half_lives: Sequence[int]
) -> dict[str, float]:
    """One pair, from the visible events of the customer and those among them that belong to the offer."""
    bought = of_kind(own, PURCHASE)
    shopping = np.unique(bought["day"])
    age, days_ago = cutoff - bought["day"], cutoff - shopping
    orders, orders_with = np.unique(of_kind(seen, PURCHASE)["order"]), np.unique(bought["order"])
    spend, saved, n = total(bought["revenue"]), total(bought["discount"]), shopping.size
    return {
        **rolling("days", days_ago, np.ones(n), windows),
        **rolling("spend", age, bought["revenue"], windows),
        **decayed(days_ago, half_lives),
        **recency_row(shopping, cutoff),
        "since_first": days_ago[0] if n else np.nan,
        "purchase_days": n,
        "orders_since": (orders > orders_with[-1]).sum() if n else np.nan,
        "order_share": orders_with.size / (orders >= orders_with[0]).sum() if n else np.nan,
        "spend_mean": spend / n if n else np.nan,
        "spend_last": total(bought["revenue"][bought["day"] == shopping[-1]]) if n else np.nan,
        "units_mean": total(bought["quantity"]) / n if n else np.nan,
        "discount_share": (saved / (spend + saved) if spend + saved > 0 else 0.0) if n else np.nan,
        "returns": (own["kind"] == RETURN).sum(),
        "views": ((own["kind"] == VIEW) & (cutoff - own["day"] <= 28)).sum(),
    }


def pair_group_reference(
    log: Columns,
    belongs: np.ndarray,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    mask_days: np.ndarray,
    mask_offer: np.ndarray,
    half_lives: Sequence[int],
    names: Sequence[str],
) -> np.ndarray:
    """The groups of pair columns, and what those of the market are computed from: (B, M, P), the columns `names`."""
    out = np.empty((customer.size, belongs.shape[1], len(names)))
    for b, n in enumerate(customer):
        seen = of_kind(between(log, n, LONG_AGO, cutoff - mask_days[b]), PURCHASE)
        own = [of_offer(seen, belongs, m) for m in range(belongs.shape[1])]
        own = [where(events, np.full(events["day"].size, mask_offer[b] != m)) for m, events in enumerate(own)]
        bought = np.array([np.sum(cutoff - np.unique(events["day"]) <= 182) for events in own])
        for m, events in enumerate(own):
            row = {
                **trip_row(seen, events, cutoff, horizon, half_lives),
                **renewal_row(np.unique(events["day"]), cutoff, horizon),
                **unit_row(seen, events, cutoff, horizon),
                "rank_182": (bought > bought[m]).sum() if bought[m] else np.nan,
                "rank_share_182": (bought > bought[m]).sum() / (bought > 0).sum() if bought[m] else np.nan,
            }
            out[b, m] = [row[name] for name in names]
    return out


def trip_row(seen: Columns, own: Columns, cutoff: int, horizon: int, half_lives: Sequence[int]) -> dict[str, float]:
    """One pair's purchase days against the customer's shopping days, from the purchases of each."""
    shopping, days = np.unique(seen["day"]), np.unique(own["day"])
    age, own_age, n = cutoff - shopping, cutoff - days, days.size
    rates = (age <= 28).sum() / 28, (age <= 91).sum() / 91
    tenure, since_first = (max(dates.max(initial=horizon), horizon) for dates in (age, own_age))
    shares = {h: total(0.5 ** (own_age / h)) / max(total(0.5 ** (age / h)), 1e-300) for h in half_lives}
    return {
        **{f"decayed_share_{h}": share for h, share in shares.items()},
        "trip_share": n / max(age.size, 1),
        "trip_share_91": (own_age <= 91).sum() / max((age <= 91).sum(), 1),
        "trips_since": (shopping > days[-1]).sum() if n else np.nan,
        "rate_tenure": n * horizon / tenure,
        "rate_first": (n - 1) * horizon / since_first if n else np.nan,
        "trips": age.size,
        "trips_expected": horizon * sum(rates) / 2,
        "trips_decayed": total(0.5 ** (age / 90)),
        "own_decayed": total(0.5 ** (own_age / 90)),
    }


def renewal_row(days: np.ndarray, cutoff: int, horizon: int) -> dict[str, float]:
    """One pair's intervals, from its purchase days, ascending."""
    age, between_days, n = cutoff - days, np.diff(days), days.size
    recency = age[-1] if n else np.nan
    weeks = np.unique((age - 1) // 7)
    longer, ended = between_days >= recency, (between_days >= recency) & (between_days < recency + horizon)
    month, quarter = (age <= 28).sum(), (age <= 91).sum()
    return {
        "own_hazard": (ended.sum() + 0.3) / (longer.sum() + 2) if n else np.nan,
        "longer_intervals": longer.sum() if n else np.nan,
        "interval_last_ratio": recency / between_days[-1] if n > 1 else np.nan,
        "interval_before": between_days[-2] if n > 2 else np.nan,
        "interval_variation": between_days.std() / between_days.mean() if n > 2 else np.nan,
        "weeks_12": (weeks < 12).sum(),
        "week_bits": total(0.5 ** weeks[weeks < 12]),
        "acceleration": 2 * month - (age <= 56).sum(),
        "trend": 3.25 * month / quarter if quarter else 0.0,
        "recency": recency,
        "purchase_days": n,
        "intervals": between_days.size,
        "interval_total": total(between_days),
        "days_of_91": quarter,
    }


def unit_row(seen: Columns, own: Columns, cutoff: int, horizon: int) -> dict[str, float]:
    """One pair's units, items and share of revenue, from the customer's purchases and those of the offer."""
    days, age, n = np.unique(own["day"]), cutoff - own["day"], np.unique(own["day"]).size
    units, last = total(own["quantity"]), total(own["quantity"][own["day"] == days[-1]]) if n else np.nan
    recent = {name: where(events, cutoff - events["day"] <= 91) for name, events in (("all", seen), ("own", own))}
    products = np.unique(np.stack([own["day"], own["item"]]), axis=1).shape[1]
    spend, spend_91 = total(seen["revenue"]), total(recent["all"]["revenue"])
    return {
        "units_28": total(own["quantity"][age <= 28]),
        "units_91": total(own["quantity"][age <= 91]),
        "units": units,
        "units_last": last,
        "units_last_ratio": (last * n / units if units > 0 else 0.0) if n else np.nan,
        "units_rate": units * horizon / max(age.max(), horizon) if n else np.nan,
        "products": products / n if n else np.nan,
        "spend_share": total(own["revenue"]) / spend if spend > 0 else 0.0,
        "spend_share_91": total(recent["own"]["revenue"]) / spend_91 if spend_91 > 0 else 0.0,
    }


def customer_reference(
    log: Columns,
    belongs: np.ndarray,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    mask_days: np.ndarray,
    windows: Sequence[int],
    half_lives: Sequence[int],
    names: Sequence[str],
) -> np.ndarray:
    """`customer_windows`: (B, F), the columns `names`."""
    out = np.empty((customer.size, len(names)))
    for b, n in enumerate(customer):
        seen = between(log, n, LONG_AGO, cutoff - mask_days[b])
        bought = of_kind(seen, PURCHASE)
        row = {
            **money_row(bought, cutoff, horizon, windows, half_lives),
            **basket_row(bought, belongs, cutoff),
            **contact_row(seen, cutoff),
            "masked": mask_days[b],
        }
        out[b] = [row[name] for name in names]
    return out


def customer_group_reference(
    log: Columns,
    belongs: np.ndarray,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    mask_days: np.ndarray,
    half_lives: Sequence[int],
    order_size: float,
    channel_code: np.ndarray,
    names: Sequence[str],
) -> np.ndarray:
    """The groups of customer columns: (B, F), the columns `names`."""
    out = np.empty((customer.size, len(names)))
    for b, n in enumerate(customer):
        bought = of_kind(between(log, n, LONG_AGO, cutoff - mask_days[b]), PURCHASE)
        of_each = [np.unique(of_offer(bought, belongs, m)["day"]) for m in range(belongs.shape[1])]
        row = {
            **{f"shopping_{k}": v for k, v in decayed(cutoff - np.unique(bought["day"]), half_lives).items()},
            **shopping_row(bought, cutoff, horizon, order_size),
            **breadth_row([cutoff - days for days in of_each if days.size], cutoff - np.unique(bought["day"]), horizon),
            **channel_row(bought, channel_code),
        }
        out[b] = [row[name] for name in names]
    return out


def shopping_row(bought: Columns, cutoff: int, horizon: int, order_size: float) -> dict[str, float]:
    """Trends of shopping days and revenue, the longest interval and the size of orders."""
    shopping = np.unique(bought["day"])
    longest = np.diff(shopping).max(initial=0)
    days = {w: (cutoff - shopping <= w).sum() for w in (28, 91, horizon, 4 * horizon)}
    spend = {w: total(bought["revenue"][cutoff - bought["day"] <= w]) for w in days}
    recent = where(bought, cutoff - bought["day"] <= 91)
    orders = [total(recent["revenue"][recent["order"] == order]) for order in np.unique(recent["order"])]
    return {
        "interval_longest": longest if shopping.size > 1 else np.nan,
        "recency_longest": (cutoff - shopping[-1]) / longest if shopping.size > 1 else np.nan,
        "trips_trend": 3.25 * days[28] / max(days[91], 1),
        "trips_trend_short": 4 * days[horizon] / max(days[4 * horizon], 1),
        "spend_trend": 3.25 * spend[28] / spend[91] if spend[91] > 0 else 0.0,
        "spend_trend_short": 4 * spend[horizon] / spend[4 * horizon] if spend[4 * horizon] > 0 else 0.0,
        "large_orders": np.sum(np.array(orders) > order_size) / max(len(orders), 1),
    }


def breadth_row(age: Sequence[np.ndarray], trip_age: np.ndarray, horizon: int) -> dict[str, float]:
    """Offers bought, bought first and bought again, from the ages of each offer's purchase days and of the trips."""
    windows = {"short": horizon, "28": 28, "56": 56, "91": 91}
    bought = {name: sum((a <= w).any() for a in age) for name, w in windows.items()}
    new = {name: sum((a <= w).all() for a in age) for name, w in windows.items()}
    days = {name: sum((a <= w).sum() for a in age) for name, w in windows.items()}
    tried, again = 0, 0
    for end in (0, horizon, 2 * horizon):
        start = end + horizon
        before = [((a > start) & (a <= start + 91)).any() for a in age]
        tried += int(sum(before))
        again += int(sum(b and ((a > end) & (a <= start)).any() for a, b in zip(age, before, strict=True)))
    return {
        **{f"offers_{name}": bought[name] for name in ("short", "28", "91")},
        "offers_ever": len(age),
        **{f"new_offers_{name}": new[name] for name in ("short", "28", "56")},
        **{f"new_share_{name}": new[name] / max(days[name], 1) for name in ("short", "28", "56")},
        "trip_offers": days["91"] / max((trip_age <= 91).sum(), 1),
        "repeat_rate": (again + 1) / (tried + 10),
    }


def channel_row(bought: Columns, channel_code: np.ndarray) -> dict[str, float]:
    """How many known channels, and how concentrated the shopping days are on one of them."""
    known = where(bought, channel_code[bought["channel"]] > 0)
    days = [np.unique(known["day"][known["channel"] == k]).size for k in np.unique(known["channel"])]
    return {"channels": len(days), "channel_main": max(days, default=0) / max(sum(days), 1)}


def money_row(
    bought: Columns, cutoff: int, horizon: int, windows: Sequence[int], half_lives: Sequence[int]
) -> dict[str, float]:
    """Orders, which happen on the day of their first line, revenue and interpurchase times."""
    shopping, age = np.unique(bought["day"]), cutoff - bought["day"]
    order_age = age[np.unique(bought["order"], return_index=True)[1]]
    return {
        **rolling("orders", order_age, np.ones(order_age.size), windows),
        **rolling("spend", age, bought["revenue"], windows),
        **decayed(order_age, half_lives),
        **recency_row(shopping, cutoff),
        "tenure": min(cutoff - shopping[0], 364) if shopping.size else 0.0,
        "last_year_spend": total(bought["revenue"][(age <= 364) & (age > 364 - horizon)]),
    }


def basket_row(bought: Columns, belongs: np.ndarray, cutoff: int) -> dict[str, float]:
    """What the orders of the last 91 days contain, and which share of it was bought for the first time."""
    recent = where(bought, cutoff - bought["day"] <= 91)
    earlier = where(bought, cutoff - bought["day"] > 91)
    first_line = np.unique(bought["order"], return_index=True)[1]
    order_day = bought["day"][first_line][cutoff - bought["day"][first_line] <= 91]
    now, before = (belongs[e["item"][e["item"] >= 0]].any(axis=0) for e in (recent, earlier))
    spend, saved, orders = total(recent["revenue"]), total(recent["discount"]), max(order_day.size, 1)
    return {
        "order_lines": recent["day"].size / orders,
        "order_spend": spend / orders,
        "order_offers": now.sum() / orders,
        "penetration": (now | before).sum() / max(now.size, 1),
        "exploration": (now & ~before).sum() / max(now.sum(), 1),
        "discount_share": saved / (spend + saved) if spend + saved > 0 else 0.0,
        "weekend_share": (np.isin(order_day % 7, (2, 3))).sum() / orders,  # day 0 was a Thursday
    }


def contact_row(seen: Columns, cutoff: int) -> dict[str, float]:
    """Messages, the response to them, returns, redemptions and views."""
    kind, day, age = seen["kind"], seen["day"], cutoff - seen["day"]
    sent = np.flatnonzero((kind == MESSAGE) & (age <= 182))
    responses = [((kind == PURCHASE) & (day <= day[s] + 7))[s + 1 :].any() for s in sent]
    return {
        "return_rate": (kind == RETURN).sum() / max((kind == PURCHASE).sum(), 1),
        "messages_28": ((kind == MESSAGE) & (age <= 28)).sum(),
        "messages_182": sent.size,
        "response": np.sum(responses) / max(sent.size, 1),
        "redemptions_91": ((kind == REDEMPTION) & (age <= 91)).sum(),
        "views_28": ((kind == VIEW) & (age <= 28)).sum(),
    }


def context_reference(
    log: Columns,
    belongs: np.ndarray,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    windows: Sequence[int],
    names: Sequence[str],
) -> np.ndarray:
    """`offer_context`: (M, C), the columns `names`."""
    bought = [of_kind(between(log, n, LONG_AGO, cutoff), PURCHASE) for n in customer]
    rows = [
        offer_row([of_offer(b, belongs, m) for b in bought], cutoff, horizon, windows) for m in range(belongs.shape[1])
    ]
    return np.array([[row[name] for name in names] for row in rows])


def offer_row(bought: Sequence[Columns], cutoff: int, horizon: int, windows: Sequence[int]) -> dict[str, float]:
    """One offer, from its purchases by each customer."""
    shopping = [np.unique(b["day"]) for b in bought if b["day"].size]  # of each buyer
    days_ago = cutoff - np.concatenate([np.zeros(0, np.int64), *shopping])
    between_days = np.concatenate([np.zeros(0, np.int64), *(np.diff(days) for days in shopping)])
    age = cutoff - np.concatenate([np.zeros(0, np.int64), *(b["day"] for b in bought)])
    revenue = plausible(np.concatenate([np.zeros(0), *(b["revenue"] for b in bought)]), age)
    last_year = 364 - horizon / 2  # the middle of the horizon's weeks, a year ago
    return {
        **{f"buyers_{w}": sum(cutoff - days[-1] <= w for days in shopping) for w in windows},
        **rolling("days", days_ago, np.ones(days_ago.size), windows),
        **rolling("spend", age, revenue, windows),
        "repeat_buyers": sum(days.size > 1 for days in shopping),
        "first_buyers_28": sum(cutoff - days[0] <= 28 for days in shopping),
        "interpurchase_time": between_days.mean() if between_days.size else np.nan,
        "age": days_ago.max() if days_ago.size else np.nan,
        "last_year_days": ((days_ago > 364 - horizon) & (days_ago <= 364)).sum(),
        "last_year_around": ((days_ago > last_year - 45.5) & (days_ago <= last_year + 45.5)).sum() * horizon / 91,
    }


def plausible(revenue: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Revenue of lines (K,), where one far above those of 91 days counts as their median, if there are 20."""
    lines = revenue[(age <= 91) & (revenue > 0)]
    if lines.size < 20:
        return revenue
    low, middle, high = np.quantile(np.log(lines), [0.16, 0.5, 0.84], method="lower")
    return np.where(revenue > np.exp(middle + 6 * max((high - low) / 2, 0.5)), np.exp(middle), revenue)


def context_ratios(total: Mapping[str, float], customers: int) -> dict[str, float]:
    """The context columns of an offer that somebody bought, from the totals of `offer_row` over `customers`."""
    price, recent_price = (total[f"spend_{w}"] / max(total[f"days_{w}"], 1) for w in (91, 28))
    return {
        **{f"reach_{w}": np.log((total[f"buyers_{w}"] + 0.5) / (customers + 1)) for w in (7, 28, 91, 364)},
        "trend_7": np.log((4 * total["days_7"] + 4) / (total["days_28"] + 4)),
        "trend_28": np.log((3.25 * total["days_28"] + 4) / (total["days_91"] + 4)),
        "intensity": total["days_91"] / max(total["buyers_91"], 1),
        "novelty": total["first_buyers_28"] / max(total["buyers_28"], 1),
        "interpurchase_time": total["interpurchase_time"],
        "age": min(total["age"], 182),
        "price": price,
        "price_trend": np.log(((recent_price / price if price > 0 else 1.0) + 0.1) / 1.1),
        "last_year": np.log((total["last_year_days"] + 5) / (total["last_year_around"] + 5)),
    }


def outcomes_reference(
    log: Columns, belongs: np.ndarray, customer: np.ndarray, cutoff: int, horizon: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`outcomes`: bought (B, M), revenue (B, M), visit (B,)."""
    bought = np.zeros((customer.size, belongs.shape[1]), bool)
    money, visit = np.zeros(bought.shape), np.zeros(customer.size, bool)
    for b, n in enumerate(customer):
        future = between(log, n, cutoff, cutoff + horizon)
        visit[b] = (future["kind"] == PURCHASE).any()
        for m in range(belongs.shape[1]):
            own = of_offer(future, belongs, m)
            paid = own["revenue"][np.isin(own["kind"], (PURCHASE, RETURN))]
            bought[b, m] = (own["kind"] == PURCHASE).any()
            money[b, m] = max(total(paid), 0.0) if bought[b, m] else 0.0
    return bought, money, visit


def purchase_channels_reference(
    log: Columns, customer: np.ndarray, cutoff: int, horizon: int, code: np.ndarray, channels: int
) -> np.ndarray:
    """`purchase_channels`: (B, K)."""
    bought = [of_kind(between(log, n, cutoff, cutoff + horizon), PURCHASE)["channel"] for n in customer]
    return np.array([[(code[through] == k).sum() for k in range(channels)] for through in bought])


def last_events_reference(
    log: Columns,
    belongs: np.ndarray,
    customer: np.ndarray,
    cutoff: int,
    mask_days: np.ndarray,
    mask_offer: np.ndarray,
    width: int,
) -> tuple[np.ndarray, ...]:
    """`last_events`: item, kind, channel, age, amount, each (B, L), and length (B,)."""
    item, channel = (np.full((customer.size, width), -1) for _ in range(2))
    kind, age, amount = (np.zeros(item.shape) for _ in range(3))
    length = np.zeros(customer.size, np.int64)
    for b, n in enumerate(customer):
        seen = between(log, n, LONG_AGO, cutoff - mask_days[b])
        masked = (seen["item"] >= 0) & (mask_offer[b] >= 0) & belongs[seen["item"], mask_offer[b]]
        newest = {name: values[-width:] for name, values in where(seen, ~masked).items()}
        length[b] = newest["day"].size
        filled = (b, slice(0, length[b]))
        item[filled], kind[filled], channel[filled] = newest["item"], newest["kind"], newest["channel"]
        age[filled], amount[filled] = cutoff - newest["day"], newest["revenue"]
    return item, kind, channel, age, amount, length
