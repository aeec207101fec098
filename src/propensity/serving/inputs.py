"""The network's inputs computed from raw events in plain NumPy: the definition of what the kernels compute.

A bundle contains this file and `reference.py`; both need only NumPy. `settings` are the manifest's `features` (columns,
windows, channels); `tables` are the arrays of one cutoff (`tables.npz`). B customers, M offers, E events, I items, P
pair columns, F customer columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

try:  # inside a bundle the two files are in one folder
    from reference import (
        customer_group_reference,
        customer_reference,
        last_events_reference,
        pair_group_reference,
        pair_reference,
    )
except ImportError:
    from propensity.kernel.reference import (
        customer_group_reference,
        customer_reference,
        last_events_reference,
        pair_group_reference,
        pair_reference,
    )

KINDS = ("purchase", "view", "message", "redemption", "return")
KIND_CODE = {name: code for code, name in enumerate(KINDS)}
ENGAGEMENT = ("cart", "open", "click", "search", "unsubscribe", "complaint")  # kinds that the history leaves out
ENGAGEMENT_CODE = {name: len(KINDS) + code for code, name in enumerate(ENGAGEMENT)}
REGISTRATION = "registration"  # kind of the event with the day of registration, and the source as its channel
REGISTRY = "registered", "source", "engagement_offsets", "engagement_day", "engagement_kind", "engagement_item"
EPOCH = date(1970, 1, 1)
TRIP_COLUMNS = "trips", "trips_expected", "trips_decayed", "own_decayed"
INTERVAL_COLUMNS = "intervals", "interval_total", "days_of_91"
NEIGHBOUR_COLUMNS = "neighbours_short", "neighbours_middle", "neighbours_long"
DERIVED = ("trend", "cohort_spend", "cohort_orders")  # customer columns that no kernel computes
Event = Mapping[str, Any]
Arrays = dict[str, np.ndarray]


def event_columns(
    customers: Sequence[Sequence[Event]], item_code: Mapping[str, int], channels: Sequence[str]
) -> Arrays:
    """Raw events as the columns of a log, sorted by customer and day, with numbered orders.

    Parameters
    ----------
    customers : sequence of sequences of mappings, length B
        Events of each customer, in any order. An event has `day` (YYYY-MM-DD) and `kind` (one of `KINDS` and
        `ENGAGEMENT`, or `REGISTRATION`); `item`, `channel`, `order`, `quantity`, `revenue` and `discount` are optional.
    item_code : mapping of str to int
        Code of each known item.
    channels : sequence of str
        Known channels.

    Returns
    -------
    dict of str to ndarray
        `offsets` (B + 1,) and the log's columns (E,). Unknown items and channels have code -1, as missing ones. The
        columns `REGISTRY` hold the day of the first registration (B,), NaN without one, its source (B,), and the
        events of `ENGAGEMENT`.
    """
    days = {day: day_number(day) for day in {event["day"] for events in customers for event in events}}
    known = [sorted(events, key=lambda event: days[event["day"]]) for events in customers]
    histories = [[event for event in events if event["kind"] in KIND_CODE] for events in known]
    channel_code = {name: code for code, name in enumerate(channels)}
    flat = [event for events in histories for event in events]

    def field(name: str) -> list[Any]:
        return [event.get(name) for event in flat]

    columns: Arrays = {
        "offsets": np.cumsum([0, *map(len, histories)]).astype(np.int64),
        "day": np.array([days[event["day"]] for event in flat], np.int32),
        "item": np.array([item_code.get(str(item), -1) for item in field("item")], np.int32),
        "kind": np.array([KIND_CODE[event["kind"]] for event in flat], np.int8),
        "channel": np.array([channel_code.get(name or "", -1) for name in field("channel")], np.int8),
        "order": np.array([number for events in histories for number in order_numbers(events)], np.int32),
        "quantity": np.array([1.0 if value is None else value for value in field("quantity")], np.float32),
        "revenue": np.array([value or 0.0 for value in field("revenue")], np.float32),
        "discount": np.array([value or 0.0 for value in field("discount")], np.float32),
    }
    others = [[event for event in events if event["kind"] not in KIND_CODE] for events in known]
    return columns | registry_columns(others, item_code)


def registry_columns(customers: Sequence[Sequence[Event]], item_code: Mapping[str, int]) -> Arrays:
    """The columns `REGISTRY` of customers.

    Parameters
    ----------
    customers : sequence of sequences of mappings, length B
        Events of each customer by day; those of `KINDS` may be left out.
    item_code : mapping of str to int
        Code of each known item.

    Returns
    -------
    dict of str to ndarray
        See `event_columns`.
    """
    registrations = [[event for event in events if event["kind"] == REGISTRATION][:1] for events in customers]
    engagement = [[event for event in events if event["kind"] in ENGAGEMENT_CODE] for events in customers]
    flat = [event for events in engagement for event in events]
    days = [float(day_of(events[0])) if events else np.nan for events in registrations]
    sources = [str(events[0].get("channel") or "") if events else "" for events in registrations]
    return {
        "registered": np.array(days, np.float64),
        "source": np.array(sources, np.str_),
        "engagement_offsets": np.cumsum([0, *map(len, engagement)]).astype(np.int64),
        "engagement_day": np.array([day_of(event) for event in flat], np.int32),
        "engagement_kind": np.array([ENGAGEMENT_CODE[event["kind"]] for event in flat], np.int8),
        "engagement_item": np.array([item_code.get(str(event.get("item")), -1) for event in flat], np.int32),
    }


def day_of(event: Event) -> int:
    """The day of an event, in days since 1970-01-01.

    Parameters
    ----------
    event : mapping
        With `day`, YYYY-MM-DD.

    Returns
    -------
    int
        Days.
    """
    return day_number(event["day"])


def day_number(day: object) -> int:
    """A date in days since 1970-01-01.

    Parameters
    ----------
    day : object
        Date, or its text YYYY-MM-DD.

    Returns
    -------
    int
        Days.

    Examples
    --------
    >>> day_number("1970-03-01"), day_number(date(1970, 3, 1))
    (59, 59)
    """
    return date.fromisoformat(str(day)).toordinal() - EPOCH.toordinal()


def order_numbers(events: Sequence[Event]) -> list[int]:
    """Order number of each event of one customer.

    Parameters
    ----------
    events : sequence of mappings
        Events by day. An order is identified by day and number; purchases without `order` on one day are one order.

    Returns
    -------
    list of int
        Orders are numbered from 0 by first appearance; -1 for an event that is not a purchase.

    Examples
    --------
    >>> day, order = {"day": "2024-01-01", "kind": "purchase"}, {"order": "A7"}
    >>> order_numbers([day, day | order, day, day | {"kind": "view"}])
    [0, 1, 0, -1]
    """
    number: dict[tuple[str, str | None], int] = {}
    numbers = []
    for event in events:
        if event["kind"] != "purchase":
            numbers.append(-1)
            continue
        order = event.get("order")
        key = (str(event["day"]), None if order is None else str(order))
        numbers.append(number.setdefault(key, len(number)))
    return numbers


def rebuild_inputs(
    log: Arrays, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray], launched: Sequence[int]
) -> Arrays:
    """Inputs of every customer of a log at the cutoff of the tables.

    Parameters
    ----------
    log : dict of str to ndarray
        Columns as from `event_columns`, of B customers.
    settings : mapping
        The manifest's `features`.
    tables : mapping of str to ndarray
        Content of `tables.npz`.
    launched : sequence of int
        Offer indices that are treated as on their launch day, without any market history.

    Returns
    -------
    dict of str to ndarray
        Arrays by the names of `propensity.data.batch.Inputs`.
    """
    rows, m = np.arange(log["offsets"].size - 1), tables["offer_code"].size
    belongs = np.zeros((tables["item"].size, m), bool)
    belongs[np.repeat(np.arange(belongs.shape[0]), np.diff(tables["item_offsets"])), tables["item_offer"]] = True
    customer_features = customer_rows(log, belongs, rows, settings, tables)
    item, kind, channel, age, amount, length = last_events_reference(
        history_columns(log), belongs, rows, int(tables["day"]), *_no_mask(rows.size), settings["history"]
    )
    new = np.isin(np.arange(m), launched)
    return {
        "token": tables["token"][item],
        "kind": kind.astype(np.int32),
        "channel": channel_codes(settings)[channel],
        "age": age.astype(np.float32),
        "amount": amount.astype(np.float32),
        "length": length,
        "pair": pair_rows(log, belongs, rows, settings, tables, customer_features, new),
        "customer_features": customer_features,
        "context": np.where(new[:, None], np.nan, tables["context"]).astype(np.float32),
        "season": season(int(tables["day"]), settings["horizon"]),
        "offer": np.where(new, 0, tables["offer_code"]),
        "attribute": tables["attribute"],
        "standardisation": np.where(new[:, None, None], np.float32(0), standardisation(settings, tables)),
    }


def history_columns(log: Arrays) -> Arrays:
    """The columns of a log without those of `REGISTRY`.

    Parameters
    ----------
    log : dict of str to ndarray
        Columns as from `event_columns`.

    Returns
    -------
    dict of str to ndarray
        What the plain definitions of columns and histories read.
    """
    return {name: column for name, column in log.items() if name not in REGISTRY}


def standardisation(settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean and inverse standard deviation of the signed logs of pair columns among the customers for each offer.

    Parameters
    ----------
    settings, tables : mapping
        See `rebuild_inputs`.

    Returns
    -------
    ndarray of shape (M, 2, P), float32
        The network compares pairs by it; (M, 2, 0) where the group within_offer is off.
    """
    if "within_offer" not in settings["groups"]:
        return np.zeros((tables["offer_code"].size, 2, 0), np.float32)
    return np.asarray(tables["standardisation"])


def _no_mask(customers: int) -> tuple[np.ndarray, np.ndarray]:
    """Masked days and offer of customers of whom nothing is hidden: (B,) int64, (B,) int64."""
    return np.zeros(customers, np.int64), np.full(customers, -1)


def channel_codes(settings: Mapping[str, Any]) -> np.ndarray:
    """The network's code of each channel of an event.

    Parameters
    ----------
    settings : mapping
        The manifest's `features`.

    Returns
    -------
    ndarray of shape (channels + 1,), int32
        Code 0, the last entry, is for events without a channel, which have index -1.

    Examples
    --------
    >>> channel_codes({"channels": ["app", "store"]})
    array([1, 2, 0], dtype=int32)
    """
    return np.array([*range(1, len(settings["channels"]) + 1), 0], np.int32)


def customer_rows(
    log: Arrays, belongs: np.ndarray, rows: np.ndarray, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Customer columns.

    Parameters
    ----------
    log : dict of str to ndarray
        Columns as from `event_columns`.
    belongs : ndarray of shape (I, M), bool
        Offers of each item.
    rows : ndarray of shape (B,)
        Rows of the customers in the log.
    settings, tables : mapping
        See `rebuild_inputs`.

    Returns
    -------
    ndarray of shape (B, F), float32
        Columns in the order of `settings["customer"]`. Attributes are unknown: events do not hold them.
    """
    grouped = settings["grouped_customer"]
    attributes = [f"attribute_{name}" for name in settings["attributes"]]
    registrant = settings.get("registrant", {"customer": []})["customer"]
    engagement = settings.get("engagement", {"customer": []})["customer"]
    left_out = (*DERIVED, *grouped, *attributes, *registrant, *engagement)
    names = [name for name in settings["customer"] if name not in left_out]
    mask_days, _ = _no_mask(rows.size)
    arguments = settings["horizon"], mask_days, settings["windows"], settings["half_lives"], names
    values = customer_reference(history_columns(log), belongs, rows, int(tables["day"]), *arguments).astype(np.float32)
    column = dict(zip(names, values.T, strict=True))
    month = np.minimum(column["tenure"] // 30, len(tables["cohort"]) - 1).astype(np.int64)
    column["trend"] = np.log((3.25 * column["orders_28"] + 1) / (column["orders_91"] + 1))
    column["cohort_spend"] = (
        np.log1p(np.maximum(column["spend_91"], 0) * np.float32(1 / float(tables["unit"]))) - tables["cohort"][month, 0]
    )
    column["cohort_orders"] = np.log1p(column["orders_91"]) - tables["cohort"][month, 1]
    behaviour = settings["horizon"], mask_days, settings["half_lives"], float(tables["order_size"])
    values = customer_group_reference(
        history_columns(log), belongs, rows, int(tables["day"]), *behaviour, channel_codes(settings), grouped
    )
    column |= dict(zip(grouped, values.T, strict=True))
    column |= {name: np.full(rows.size, np.nan) for name in attributes}
    if registrant:
        column |= registrant_rows(log, rows, np.isnan(column["recency"]), settings, tables)
    if engagement:
        column |= engagement_rows(log, rows, settings, tables)
    return np.stack([column[name] for name in settings["customer"]], axis=1).astype(np.float32)


def pair_rows(
    log: Arrays,
    belongs: np.ndarray,
    rows: np.ndarray,
    settings: Mapping[str, Any],
    tables: Mapping[str, np.ndarray],
    customer: np.ndarray,
    new: np.ndarray,
) -> np.ndarray:
    """Pair columns.

    Parameters
    ----------
    log, belongs, rows, settings, tables
        See `customer_rows`.
    customer : ndarray of shape (B, F)
        Customer columns.
    new : ndarray of shape (M,), bool
        Offers that are treated as on their launch day.

    Returns
    -------
    ndarray of shape (B, M, P), float32
        Columns in the order of `settings["pair"]`. Columns estimated from other customers' purchases are NaN for offers
        that nobody has bought.
    """
    registrant = settings.get("registrant", {"pair": []})["pair"]
    engagement = settings.get("engagement", {"pair": []})["pair"]
    other = {
        *engagement,
        *settings["market"],
        *settings["sibling"],
        *settings["grouped"],
        *settings.get("of_text", ()),
        *settings.get("prices", ()),
        *registrant,
    }
    names = [name for name in settings["pair"] if name not in other]
    arguments = *_no_mask(rows.size), settings["windows"], settings["half_lives"], names
    values = pair_reference(history_columns(log), belongs, rows, int(tables["day"]), *arguments).astype(np.float32)
    column = {name: values[:, :, k] for k, name in enumerate(names)}
    tenure, window = customer[:, settings["customer"].index("tenure")], settings["rate_window"]
    exposure, prior = np.minimum(tenure, window)[:, None], settings["prior_days"]
    rate = (column[f"days_{window}"] + prior * tables["rate"]) / (exposure + prior)
    column["expected"] = rate * settings["horizon"]
    column["hazard"] = hazards(column, tables)
    column |= affinities(column, settings, tables)
    column |= groups(log, belongs, rows, settings, tables)
    column |= affinity_group(column, settings, tables) | neighbours(log, rows, settings, tables)
    if registrant:
        without = np.isnan(customer[:, settings["customer"].index("recency")])
        rates = registrant_offer_rates(log, rows, without, settings, tables)
        column |= dict(zip(registrant, rates, strict=True))
    if engagement:
        column |= engaged_offers(log, belongs, rows, new, settings, tables)
    column |= group_rates(rows.size, settings, tables)
    column |= prices(log, belongs, rows, settings, tables)
    for name in settings["market"]:
        column[name] = np.where(new | ~tables["sold"], np.nan, column[name])
    out = np.stack([column[name] for name in settings["pair"]], axis=-1).astype(np.float32)
    for k, name in enumerate(settings["pair"]):
        if name in names or name in settings["grouped"]:
            out[:, new, k] = np.nan if name in settings["undefined"] else 0.0
    return out


def groups(
    log: Arrays, belongs: np.ndarray, rows: np.ndarray, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]
) -> Arrays:
    """Pair columns of the groups that are computed from lists of purchase days.

    Parameters
    ----------
    log, belongs, rows, settings, tables
        See `customer_rows`.

    Returns
    -------
    dict of str to ndarray of shape (B, M)
        Columns by name, and those that they are computed from.
    """
    names = [*settings["grouped"], *TRIP_COLUMNS, *INTERVAL_COLUMNS, "trips_since", "recency", "purchase_days"]
    arguments = settings["horizon"], *_no_mask(rows.size), settings["half_lives"], names
    values = pair_group_reference(history_columns(log), belongs, rows, int(tables["day"]), *arguments)
    column = {name: values[:, :, k] for k, name in enumerate(names)}
    share, recency = tables["trip_share"], column["recency"]
    of_trips = (column["own_decayed"] + 3 * share) / (column["trips_decayed"] + 3)
    interval = (column["interval_total"] + 2 * tables["interpurchase_time"]) / (column["intervals"] + 2)
    intensity = np.nan_to_num(tables["context"][:, settings["intensity"]])
    relative = column["days_of_91"] / np.where(intensity > 0, intensity, np.inf)
    grouped = {name: column[name] for name in settings["grouped"]}
    return grouped | {
        "trips_due": column["trips_since"] * (column["purchase_days"] + 0.5 * share) / (column["trips"] + 0.5),
        "expected_trips": 1 - np.exp(-of_trips * column["trips_expected"]),
        "recency_shrunk": recency / interval,
        "until_due": interval - recency,
        "buyer_ratio_91": relative,
    }


def hazards(column: Arrays, tables: Mapping[str, np.ndarray]) -> np.ndarray:
    """Share of pairs with the same class of recency and purchase count that were bought within a horizon.

    Parameters
    ----------
    column : dict of str to ndarray of shape (B, M)
        Pair columns, with `recency` and `purchase_days`.
    tables : mapping of str to ndarray
        See `rebuild_inputs`.

    Returns
    -------
    ndarray of shape (B, M)
        Shares in [0, 1].
    """
    days, edges = column["purchase_days"], tables["count_edges"]
    cell = 1 + np.digitize(np.nan_to_num(column["recency"]), tables["recency_edges"]) * (edges.size + 1)
    cell = np.where(days > 0, cell + np.digitize(days, edges), 0)
    return np.asarray(tables["hazard"][np.arange(cell.shape[1]), cell])


def affinities(column: Arrays, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]) -> Arrays:
    """Pair columns estimated from the customer's purchases of other offers.

    Parameters
    ----------
    column : dict of str to ndarray of shape (B, M)
        Pair columns.
    settings, tables : mapping
        See `rebuild_inputs`.

    Returns
    -------
    dict of str to ndarray of shape (B, M)
        Columns by name.
    """
    short, long = (np.log1p(column[f"decayed_{half_life}"]) for half_life in settings["affinity_half_lives"])
    profile = np.concatenate([short, long, np.ones((len(short), 1), np.float32)], axis=1)
    count = np.log1p(column["purchase_days"])
    affinity = {}
    for k, name in enumerate(("", "_broad")):
        affinity[f"similar{name}"] = long @ tables["similar"][k]
        affinity[f"together{name}"] = count @ tables["together"][k]
        affinity[f"follow{name}"] = profile @ tables["follow"][k]
    affinity["sibling_short"], affinity["sibling_long"] = short @ tables["sibling"], long @ tables["sibling"]
    affinity["sibling_follow"] = affinity["follow_broad"] @ tables["sibling"]
    if settings.get("text"):
        affinity["text_short"], affinity["text_long"] = short @ tables["text_weight"], long @ tables["text_weight"]
        affinity["text_follow"] = affinity["follow_broad"] @ (tables["text_weight"] * tables["sold"][:, None])
    return affinity


def affinity_group(column: Arrays, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]) -> Arrays:
    """Pair columns of the group affinity.

    Parameters
    ----------
    column, settings, tables
        See `affinities`.

    Returns
    -------
    dict of str to ndarray of shape (B, M)
        Columns by name; none where the group is off.
    """
    if "affinity" not in settings["groups"]:
        return {}
    long = np.log1p(column[f"decayed_{settings['affinity_half_lives'][-1]}"])
    reach, svd = tables["context"][:, settings["reach"]], tables["svd"]
    weighted = long * np.nan_to_num(np.log1p(np.exp(-reach)))
    weighted = weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)
    flags = column["purchase_days"] > 0, column["days_91"] > 0, column["days_28"] > 0
    ease = {f"ease_{name}": flags[k] @ tables["ease"][k] for k, name in enumerate(("ever", "91", "28"))}
    rebuilds = {f"svd_{rank}": weighted @ svd[:, :rank] @ svd[:, :rank].T for rank in settings["svd_ranks"]}
    rebuilds = {name: np.where(np.abs(value) < 1e-6, 0.0, value) for name, value in rebuilds.items()}
    return rebuilds | ease | {"cosine": long @ tables["cosine"]}


def group_rates(customers: int, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]) -> Arrays:
    """Pair columns of the group group_rates.

    Parameters
    ----------
    customers : int
        Number of customers B. Their attributes are unknown: events do not hold them.
    settings, tables
        See `customer_rows`.

    Returns
    -------
    dict of str to ndarray of shape (B, M)
        Columns by name; none where the group is off.
    """
    unknown = dict(zip(settings.get("group_rates", ()), tables.get("group_offsets", ()), strict=False))
    return {
        f"group_rate_{window}_{name}": np.tile(tables["group_rate"][w, first], (customers, 1))
        for name, first in unknown.items()
        for w, window in enumerate(settings["group_rate_windows"])
    }


def prices(
    log: Arrays, belongs: np.ndarray, rows: np.ndarray, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]
) -> Arrays:
    """Pair columns of the group prices, from lines of the last 364 days with a revenue and units above 0.

    Parameters
    ----------
    log, belongs, rows, settings, tables
        See `customer_rows`.

    Returns
    -------
    dict of str to ndarray of shape (B, M)
        Columns by name; none where the group is off.
    """
    if "prices" not in settings["groups"]:
        return {}
    related, parts = (tables["sibling"] > 0).astype(float), []
    for n in rows:
        own = slice(log["offsets"][n], log["offsets"][n + 1])
        age, revenue, units = (int(tables["day"]) - log["day"][own]), log["revenue"][own], log["quantity"][own]
        priced = (log["kind"][own] == KIND_CODE["purchase"]) & (log["item"][own] >= 0) & (revenue > 0) & (units > 0)
        line = np.flatnonzero(priced & (age > 0) & (age <= 364))
        member = belongs[log["item"][own][line]].astype(float)
        discounted, unit = (log["discount"][own][line] > 0).astype(float), revenue[line] / units[line]
        with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is missing
            level = np.where(member > 0, np.log(unit[:, None] / tables["price_usual"]), 0.0).sum(axis=0)
            paid = (revenue[line] @ member) / (units[line] @ member)
            lines, reduced = member.sum(axis=0), discounted @ member
            of_parent = level @ related / (lines @ related), reduced @ related / (lines @ related)
            change = np.log(tables["price_now"] / paid)
            parts.append(np.stack([change, reduced / lines, *of_parent, tables["price_discounted"]]))
    return dict(zip(settings["prices"], np.stack(parts, axis=1), strict=True))


def neighbours(log: Arrays, rows: np.ndarray, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]) -> Arrays:
    """Pair columns of the group neighbours: what the customers with the most similar profiles bought.

    Parameters
    ----------
    log, rows, settings, tables
        See `customer_rows`.

    Returns
    -------
    dict of str to ndarray of shape (B, M)
        Columns by name; none where the group is off.
    """
    if "neighbours" not in settings["groups"]:
        return {}
    size, m = tables["neighbour_signature"].size, tables["offer_code"].size
    index, weight = tables["neighbour_offsets"], tables["neighbour_weight"]
    profile, bought = np.zeros((size, weight.size)), np.full((size, m), len(NEIGHBOUR_COLUMNS))
    profile[tables["neighbour_customer"], np.repeat(np.arange(weight.size), np.diff(index))] = tables["neighbour_value"]
    owner = np.repeat(np.arange(size), np.diff(tables["neighbour_bought_offsets"]))
    bought[owner, tables["neighbour_bought_offer"]] = tables["neighbour_bought_window"]
    shares = np.zeros((rows.size, m, len(NEIGHBOUR_COLUMNS)))
    for b, n in enumerate(rows):
        own = slice(log["offsets"][n], log["offsets"][n + 1])
        paid = (log["kind"][own] == KIND_CODE["purchase"]) & (log["item"][own] >= 0)
        day, item = log["day"][own][paid], log["item"][own][paid]
        similarity = profile @ own_profile(day, item, settings["profile_days"], tables)
        twin = np.flatnonzero(tables["neighbour_signature"] == signature(day, item, tables))
        similarity[twin[:1]] = 0.0
        least = np.sort(similarity)[-settings["nearest"] :][0] if size else 0.0
        nearest = (similarity > 0) & (similarity >= least * (1 - 1e-6))
        cosine = np.where(nearest, similarity, 0.0) ** 2
        for w in range(len(NEIGHBOUR_COLUMNS)):
            shares[b, :, w] = cosine @ (bought <= w) / max(cosine.sum(), 1e-12)
    return {name: shares[:, :, w] for w, name in enumerate(NEIGHBOUR_COLUMNS)}


def registrant_rows(
    log: Arrays,
    rows: np.ndarray,
    registrant: np.ndarray,
    settings: Mapping[str, Any],
    tables: Mapping[str, np.ndarray],
) -> Arrays:
    """Customer columns of the group registrants.

    Parameters
    ----------
    log, rows, settings, tables
        See `customer_rows`; the log has the columns `REGISTRY`.
    registrant : ndarray of shape (B,), bool
        Customers without a purchase; the columns of the others are 0.

    Returns
    -------
    dict of str to ndarray of shape (B,)
        Columns by name.
    """
    own, columns = settings["registrant"], {name: np.zeros(rows.size) for name in settings["registrant"]["customer"]}
    for b in np.flatnonzero(registrant):
        kinds, ages = engagement_of(log, rows[b], own, int(tables["day"]))
        registered = int(tables["day"]) - log["registered"][rows[b]]
        source, similar = registrant_groups(log, rows[b], settings, tables)
        values = {
            "registrant": 1.0,
            "registrant_age": min(registered, own["age_cap"]) if registered >= 1 else np.nan,
            "registrant_source": tables["registrant_source_rate"][source, -1],
            "registrant_similar": tables["registrant_similar_rate"][similar, -1],
            "registrant_recency": min(ages, default=np.nan),
        }
        for name, (kind, days) in own["windows"].items():
            values[name] = sum(k == kind and age <= days for k, age in zip(kinds, ages, strict=True))
        for name, value in values.items():
            columns[name][b] = value
    return columns


def engagement_rows(
    log: Arrays, rows: np.ndarray, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]
) -> Arrays:
    """Customer columns of the group engagement.

    Parameters
    ----------
    log, rows, settings, tables
        See `registrant_rows`.

    Returns
    -------
    dict of str to ndarray of shape (B,)
        Columns by name.
    """
    own, day = settings["engagement"], int(tables["day"])
    columns = {name: np.zeros(rows.size) for name in own["customer"]}
    for b, row in enumerate(rows):
        kinds, ages = engagement_of(log, row, own, day)
        for name, (kind, days) in own["customer_windows"].items():
            columns[name][b] = sum(k == kind and age <= days for k, age in zip(kinds, ages, strict=True))
        columns["engagement_recency"][b] = min(ages, default=np.nan)
    return columns


def engaged_offers(
    log: Arrays,
    belongs: np.ndarray,
    rows: np.ndarray,
    new: np.ndarray,
    settings: Mapping[str, Any],
    tables: Mapping[str, np.ndarray],
) -> Arrays:
    """Pair columns of the group engagement.

    Parameters
    ----------
    log, belongs, rows, settings, tables
        See `customer_rows`.
    new : ndarray of shape (M,), bool
        Offers that are treated as on their launch day.

    Returns
    -------
    dict of str to ndarray of shape (B, M)
        Columns by name.
    """
    own, day = settings["engagement"], int(tables["day"])
    columns = {name: np.zeros((rows.size, new.size)) for name in own["pair"]}
    for b, row in enumerate(rows):
        for prefix in ("", "engagement_"):
            for e in range(log[f"{prefix}offsets"][row], log[f"{prefix}offsets"][row + 1]):
                age, item = day - int(log[f"{prefix}day"][e]), int(log[f"{prefix}item"][e])
                for name, (kind, days) in own["pair_windows"].items():
                    if (*KINDS, *ENGAGEMENT)[log[f"{prefix}kind"][e]] == kind and 1 <= age <= days and item >= 0:
                        columns[name][b] += belongs[item] & ~new
    return columns


def registrant_offer_rates(
    log: Arrays,
    rows: np.ndarray,
    registrant: np.ndarray,
    settings: Mapping[str, Any],
    tables: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Pair columns of the group registrants.

    Parameters
    ----------
    log, rows, registrant, settings, tables
        See `registrant_rows`.

    Returns
    -------
    ndarray of shape (2, B, M)
        Log rates of each offer by source, and by class.
    """
    rates = np.zeros((2, rows.size, tables["offer_code"].size))
    for b in np.flatnonzero(registrant):
        for k, (group, name) in enumerate(
            zip(registrant_groups(log, rows[b], settings, tables), ("source", "similar"), strict=True)
        ):
            rates[k, b] = tables[f"registrant_{name}_rate"][group, :-1]
    return rates


def registrant_groups(
    log: Arrays, row: int, settings: Mapping[str, Any], tables: Mapping[str, np.ndarray]
) -> tuple[int, int]:
    """Source and class of a registrant.

    Parameters
    ----------
    log, settings, tables
        See `registrant_rows`.
    row : int
        Row of the registrant in the log.

    Returns
    -------
    tuple of int
        Rows of the tables of rates by source and by class.
    """
    own, names, day = settings["registrant"], tables["registrant_source"].tolist(), int(tables["day"])
    registered, source = log["registered"][row], str(log["source"][row])
    known = source in names and not registered >= day
    unknown_age = not day - registered >= 1
    age = len(own["age_edges"]) + 1 if unknown_age else int(np.digitize(day - registered, own["age_edges"]))
    active = len(engagement_of(log, row, own, day)[0])
    similar = age * (len(own["activity_edges"]) + 1) + int(np.digitize(active, own["activity_edges"]))
    return names.index(source) if known else len(names), similar


def engagement_of(log: Arrays, row: int, own: Mapping[str, Any], day: int) -> tuple[list[str], list[int]]:
    """Views, carts, opens, clicks and searches of a customer before a cutoff.

    Parameters
    ----------
    log : dict of str to ndarray
        See `registrant_rows`.
    row : int
        Row of the customer in the log.
    own : mapping
        Settings of the group registrants.
    day : int
        Cutoff, in days since 1970-01-01.

    Returns
    -------
    tuple of lists
        Kind and age in days of each event that counts.
    """
    kinds, ages = [], []
    for offsets, days, codes in (
        ("offsets", "day", "kind"),
        ("engagement_offsets", "engagement_day", "engagement_kind"),
    ):
        for e in range(log[offsets][row], log[offsets][row + 1]):
            kind, age = (*KINDS, *ENGAGEMENT)[log[codes][e]], day - int(log[days][e])
            if kind in own["counted"] and 1 <= age <= own["days"]:
                kinds.append(kind)
                ages.append(age)
    return kinds, ages


def own_profile(day: np.ndarray, item: np.ndarray, window: int, tables: Mapping[str, np.ndarray]) -> np.ndarray:
    """A customer's profile over categories.

    Parameters
    ----------
    day, item : ndarray of shape (E,)
        Purchases of known items.
    window : int
        Days before the cutoff that count.
    tables : mapping
        See `rebuild_inputs`.

    Returns
    -------
    ndarray of shape (K,)
        Of length 1, or 0 without a purchase.
    """
    offsets, weight = tables["category_offsets"], tables["neighbour_weight"]
    days: list[set[int]] = [set() for _ in range(weight.size)]
    for each, bought in zip(day.tolist(), item.tolist(), strict=True):
        if int(tables["day"]) - window <= each < int(tables["day"]):
            for k in tables["category"][offsets[bought] : offsets[bought + 1]]:
                days[k].add(each)
    value = np.log1p([len(each) for each in days]) * weight
    return np.asarray(value / max(float(np.linalg.norm(value)), 1e-12))


def signature(day: np.ndarray, item: np.ndarray, tables: Mapping[str, np.ndarray]) -> np.uint64:
    """Number that identifies a customer by the purchases before the day of the tables, whatever their order.

    Parameters
    ----------
    day, item : ndarray of shape (E,)
        Purchases of known items.
    tables : mapping
        See `rebuild_inputs`.

    Returns
    -------
    numpy.uint64
        The sum, modulo 2 ** 64, of a hash of the age and each category and offer of each purchase.
    """
    age, parts = int(tables["neighbour_day"]) - day.astype(np.int64), []
    past = age > 0
    sets = ("category_offsets", "category", 0), ("item_offsets", "item_offer", tables["neighbour_weight"].size)
    for offsets, members, first in sets:
        bounds = tables[offsets]
        count = (bounds[1:] - bounds[:-1])[item[past]]
        each_item = [tables[members][bounds[each] : bounds[each + 1]] for each in item[past]]
        number = first + np.concatenate([np.zeros(0, np.int64), *each_item])
        key = (np.repeat(age[past], count) + 2**31).astype(np.uint64) << np.uint64(32)
        key = key | number.astype(np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            key = (key ^ (key >> np.uint64(shift))) * np.uint64(factor)
        parts.append(key ^ (key >> np.uint64(31)))
    return np.uint64(np.concatenate(parts).sum(dtype=np.uint64))


def season(day: int, horizon: int) -> np.ndarray:
    """Calendar features of a cutoff: Fourier terms of the year and the month, and a linear time.

    Parameters
    ----------
    day : int
        Cutoff, in days since 1970-01-01.
    horizon : int
        Length of the horizon in days; the Fourier terms are means over it.

    Returns
    -------
    ndarray of shape (9,), float32
        Sine and cosine of three yearly harmonics and one monthly period, and years since 2000.
    """
    days = np.arange(day, day + horizon)
    angles = [2 * np.pi * k * days / 365.2425 for k in (1, 2, 3)] + [2 * np.pi * days / 30.436875]
    waves = [wave(angle).mean() for angle in angles for wave in (np.sin, np.cos)]
    return np.array([*waves, day / 365.2425 - 30], np.float32)
