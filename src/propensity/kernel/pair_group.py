"""Groups of pair columns that are computed from lists of purchase days: expected purchases, renewal and units.

An offer's own market (its share of shopping days, its mean interpurchase time) enters as an array over offers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.column import FeatureColumn, positions
from propensity.kernel.purchase_day import DayLists
from propensity.kernel.reference import pair_group_reference
from propensity.kernel.window import decay_of

PRIOR_TRIPS = 3.0  # decayed shopping days that the offer's share of everybody's counts for
PRIOR_INTERVALS = 2.0  # intervals that the offer's mean interpurchase time counts for
WEEKS = 12
SHARE_HALF_LIFE = np.array([90])  # days, of the customer's own share in expected_trips
RANKED = 182  # days in which offers are ranked by their purchase days

expect = partial(FeatureColumn, block="pair", group="expect", reason="frequency", definition=pair_group_reference)
renewal = partial(FeatureColumn, block="pair", group="renewal", reason="recency", definition=pair_group_reference)
units = partial(FeatureColumn, block="pair", group="units", reason="frequency", definition=pair_group_reference)
NEVER_BOUGHT: dict[str, Any] = {"missing": "never-bought", "empty": np.nan}
TWICE: dict[str, Any] = {"missing": "bought on fewer than two days", "empty": np.nan}
THRICE: dict[str, Any] = {"missing": "bought on fewer than three days", "empty": np.nan}
OF_MARKET: dict[str, Any] = {"definition": None, "missing": "never-bought", "empty": np.nan}
OF_REPEATS: dict[str, Any] = {
    "definition": None,
    "missing": "never-bought, or nobody bought the offer twice",
    "empty": np.nan,
}

# In the order that the kernel writes: a family first, then the single columns.
EXPECT = (
    expect("decayed_share_{}", "purchase days over shopping days, both decayed by {} days", per="half_life"),
    expect("trip_share", "purchase days over shopping days"),
    expect("trip_share_91", "the same of the last 91 days"),
    expect("trips_since", "shopping days since the last purchase day", reason="recency", **NEVER_BOUGHT),
    expect("rate_tenure", "purchase days per horizon since the customer's first purchase"),
    expect("rate_first", "purchase days after the first, per horizon since then", **NEVER_BOUGHT),
    expect("trips_due", "trips_since times trip_share, shrunk to everybody's share", reason="recency", **OF_MARKET),
    expect(
        "expected_trips",
        "chance of a purchase on the shopping days expected in the horizon",
        definition=None,
        missing="nobody bought the offer",
        empty=None,
        ranked=True,
    ),
)
RENEWAL = (
    renewal(
        "own_hazard", "share of the pair's intervals longer than its recency that ended in a horizon", **NEVER_BOUGHT
    ),
    renewal(
        "longer_intervals", "the number of the pair's intervals that are no shorter than its recency", **NEVER_BOUGHT
    ),
    renewal("interval_last_ratio", "recency over the last interval", **TWICE),
    renewal("interval_before", "days of the interval before the last", **THRICE),
    renewal("interval_variation", "standard deviation of the intervals over their mean", **THRICE),
    renewal("weeks_12", "weeks with a purchase among the last 12", reason="frequency"),
    renewal("week_bits", "sum of 0.5 ** i over the last 12 weeks i = 0, 1, ... with a purchase", reason="frequency"),
    renewal("acceleration", "purchase days of 28 days minus those of the 28 days before", reason="frequency"),
    renewal("trend", "purchase days of 28 days over those of 91 days, per day", reason="frequency"),
    renewal("recency_shrunk", "recency over the mean interval, shrunk to the offer's", **OF_REPEATS),
    renewal("until_due", "days from now to the shrunk mean interval after the last purchase", **OF_REPEATS),
)
UNITS = (
    units("units_28", "units of the last 28 days"),
    units("units_91", "units of the last 91 days"),
    units("units", "units, all visible"),
    units("units_last", "units of the last purchase day", **NEVER_BOUGHT),
    units("units_last_ratio", "units of the last purchase day over their mean", **NEVER_BOUGHT),
    units("units_rate", "units per horizon since the first purchase day", **NEVER_BOUGHT),
    units("products", "distinct items per purchase day", **NEVER_BOUGHT),
    units("spend_share", "share of the customer's revenue"),
    units("spend_share_91", "share of the customer's revenue of the last 91 days"),
    units("rank_182", "offers with more purchase days in 182 days", missing="no purchase in 182 days", empty=np.nan),
    units("rank_share_182", "rank_182 over the offers of 182 days", missing="no purchase in 182 days", empty=np.nan),
    units(
        "buyer_ratio_91",
        "purchase days of 91 days over their mean among buyers",
        definition=None,
        missing="nobody bought the offer",
    ),
)
PAIR_GROUPS = {"expect": EXPECT, "renewal": RENEWAL, "units": UNITS}
# Constants of this file: Numba compiles them in, and an edited declaration recompiles the kernels below.
AT = positions(EXPECT)
TRIP_SHARE, TRIP_SHARE_91, TRIPS_SINCE = AT["trip_share"], AT["trip_share_91"], AT["trips_since"]
RATE_TENURE, RATE_FIRST = AT["rate_tenure"], AT["rate_first"]
TRIPS_DUE, EXPECTED_TRIPS = AT["trips_due"], AT["expected_trips"]
AT_RENEWAL = positions(RENEWAL)
OWN_HAZARD, LONGER = AT_RENEWAL["own_hazard"], AT_RENEWAL["longer_intervals"]
LAST_RATIO, BEFORE = AT_RENEWAL["interval_last_ratio"], AT_RENEWAL["interval_before"]
VARIATION, WEEKS_12, WEEK_BITS = AT_RENEWAL["interval_variation"], AT_RENEWAL["weeks_12"], AT_RENEWAL["week_bits"]
ACCELERATION, TREND = AT_RENEWAL["acceleration"], AT_RENEWAL["trend"]
RECENCY_SHRUNK, UNTIL_DUE = AT_RENEWAL["recency_shrunk"], AT_RENEWAL["until_due"]
AT_UNITS = positions(UNITS)
UNITS_28, UNITS_91, ALL_UNITS = AT_UNITS["units_28"], AT_UNITS["units_91"], AT_UNITS["units"]
UNITS_LAST, UNITS_LAST_RATIO = AT_UNITS["units_last"], AT_UNITS["units_last_ratio"]
UNITS_RATE, PRODUCTS = AT_UNITS["units_rate"], AT_UNITS["products"]
SPEND_SHARE, SPEND_SHARE_91 = AT_UNITS["spend_share"], AT_UNITS["spend_share_91"]
RANK, RANK_SHARE, BUYER_RATIO = AT_UNITS["rank_182"], AT_UNITS["rank_share_182"], AT_UNITS["buyer_ratio_91"]
WEEK_WEIGHT = 0.5 ** np.arange(WEEKS)
EMPTY_EXPECT, EMPTY_RENEWAL, EMPTY_UNITS = (
    np.array([0.0 if each.empty is None else each.empty for each in group if each.per is None], np.float32)
    for group in (EXPECT, RENEWAL, UNITS)
)


class OfferMarket(NamedTuple):
    """What all customers did with each of M offers, as far as the groups use it.

    Parameters
    ----------
    trip_share : (M,) float64
        Purchase days over everybody's shopping days, of the last 91 days.
    interpurchase_time : (M,) float64
        Mean days between purchase days; NaN where nobody bought twice.
    intensity : (M,) float64
        Purchase days per buyer of the last 91 days; 0 without a buyer.
    """

    trip_share: np.ndarray
    interpurchase_time: np.ndarray
    intensity: np.ndarray


class BasicColumns(NamedTuple):
    """Places of the columns of `pair_windows` that the groups are computed from.

    Parameters
    ----------
    decayed, decayed_90 : int
        The first column of the family, and that of 90 days.
    days_91, days_182, purchase_days : int
        Purchase days of windows, and of the whole past.
    """

    decayed: int
    decayed_90: int
    days_91: int
    days_182: int
    purchase_days: int

    @classmethod
    def of(cls, names: Sequence[str], half_lives: Sequence[int]) -> BasicColumns:
        """The places among the names of all pair columns."""
        first = f"decayed_{half_lives[0]}"
        return cls(*map(names.index, (first, "decayed_90", "days_91", "days_182", "purchase_days")))


class Trips(NamedTuple):
    """A customer's shopping days and revenue before a cutoff.

    Parameters
    ----------
    total, recent : int
        Shopping days, and those of the last 91 days.
    expected : float
        Shopping days expected in the horizon: the mean of the rates of 28 and of 91 days.
    decayed : float
        Shopping days decayed by `SHARE_HALF_LIFE`.
    tenure : int
        Days since the first; 0 without any.
    spend, spend_91 : float
        Revenue, and that of the last 91 days.
    """

    total: int
    recent: int
    expected: float
    decayed: float
    tenure: int
    spend: float
    spend_91: float


@njit(cache=True, nogil=True)
def write_groups(
    rows: np.ndarray,
    at: np.ndarray,
    basic: BasicColumns,
    lists: DayLists,
    touched: int,
    trips: Trips,
    decayed: np.ndarray,
    cutoff: int,
    horizon: int,
    mask_offer: int,
    market: OfferMarket,
    empty: np.ndarray,
    rank: np.ndarray,
) -> None:
    """The groups' columns of one customer's pairs, rows (M, P), after those of `write_pairs`.

    at (3,) holds the first column of the groups expect, renewal and units, -1 for a group that is off; decayed (H,) the
    decayed shopping days; empty is that of `empty_groups`; rank (RANKED + 2,) is working memory. Each group is one pass
    over the customer's offers, because the arguments of a call for each pair take longer than its columns.
    """
    ranked = rank_offers(rows, basic.days_182, lists, touched, mask_offer, rank)
    write_empty(rows, at, empty, lists.head, mask_offer, market.trip_share, decayed.size, trips)
    if at[0] >= 0:
        write_expect(rows, at[0], basic, lists, touched, mask_offer, trips, decayed, cutoff, horizon, market.trip_share)
    if at[1] >= 0:
        write_renewal(rows, at[1], lists, touched, mask_offer, cutoff, horizon, market.interpurchase_time)
    if at[2] >= 0:
        write_units(
            rows, at[2], basic, lists, touched, mask_offer, trips, cutoff, horizon, market.intensity, rank, ranked
        )


@njit(cache=True, nogil=True)
def summarise(
    lists: DayLists, count: int, spend: float, spend_91: float, cutoff: int, horizon: int, decay: np.ndarray
) -> Trips:
    """The customer's `Trips` from the lists, whose `shopping` has `count` days."""
    recent, month, decayed = 0, 0, 0.0
    for t in range(count):
        age = cutoff - lists.shopping[t]
        recent += age <= 91
        month += age <= 28
        decayed += decay_of(decay, SHARE_HALF_LIFE, age, 0)
    tenure = cutoff - lists.shopping[0] if count > 0 else 0
    return Trips(count, recent, 0.5 * horizon * (month / 28 + recent / 91), decayed, tenure, spend, spend_91)


@njit(cache=True, nogil=True)
def rank_offers(
    rows: np.ndarray, days_182: int, lists: DayLists, touched: int, mask_offer: int, rank: np.ndarray
) -> int:
    """Fills rank (RANKED + 2,) with the number of offers that have more purchase days than each number of days.

    rows (M, P) are the customer's pairs.

    Returns
    -------
    int
        The number of offers with a purchase in the last `RANKED` days.
    """
    rank[:] = 0
    for t in range(touched):
        if lists.touched[t] != mask_offer:
            rank[int(rows[lists.touched[t], days_182])] += 1
    above = 0
    for days in range(rank.size - 1, -1, -1):
        own, rank[days] = rank[days], above
        above += own
    return rank[0]


@njit(cache=True, nogil=True)
def empty_groups(at: np.ndarray, half_lives: int) -> np.ndarray:
    """The columns of an offer without a purchase of the customer, of the groups that are on, which stand together."""
    row = np.empty(2 * half_lives + EMPTY_EXPECT.size + EMPTY_RENEWAL.size + EMPTY_UNITS.size, np.float32)
    size = 0
    if at[0] >= 0:
        row[:half_lives] = 0.0
        row[half_lives : half_lives + EMPTY_EXPECT.size] = EMPTY_EXPECT
        size = half_lives + EMPTY_EXPECT.size
    if at[1] >= 0:
        row[size : size + EMPTY_RENEWAL.size] = EMPTY_RENEWAL
        size += EMPTY_RENEWAL.size
    if at[2] >= 0:
        row[size : size + EMPTY_UNITS.size] = EMPTY_UNITS
        size += EMPTY_UNITS.size
    return row[:size].copy()


@njit(cache=True, nogil=True)
def write_empty(
    rows: np.ndarray,
    at: np.ndarray,
    empty: np.ndarray,
    head: np.ndarray,
    mask_offer: int,
    trip_share: np.ndarray,
    half_lives: int,
    trips: Trips,
) -> None:
    """The columns of the offers (M, P) without a purchase of the customer; head (M,) is -1 there, or masked."""
    start, expected = first_on(at), at[0] + half_lives + EXPECTED_TRIPS
    for m in range(rows.shape[0]):
        if head[m] < 0 or m == mask_offer:
            for p in range(empty.size):
                rows[m, start + p] = empty[p]
            if at[0] >= 0:
                rows[m, expected] = chance(0.0, trip_share[m], trips.decayed, trips.expected)


@njit(cache=True, nogil=True)
def first_on(at: np.ndarray) -> int:
    """The first column of the groups that are on."""
    for group in range(at.size):
        if at[group] >= 0:
            return at[group]
    return 0


@njit(cache=True, nogil=True)
def chance(decayed: float, trip_share: float, trips: float, expected: float) -> float:
    """Chance of a purchase on the `expected` shopping days, from the pair's share of them, shrunk to everybody's.

    `decayed` are the purchase days and `trips` the shopping days of the customer, decayed by `SHARE_HALF_LIFE`.
    """
    share = (decayed + PRIOR_TRIPS * trip_share) / (trips + PRIOR_TRIPS)
    return 1.0 - np.exp(-share * expected)


@njit(cache=True, nogil=True)
def write_expect(
    rows: np.ndarray,
    first: int,
    basic: BasicColumns,
    lists: DayLists,
    touched: int,
    mask_offer: int,
    trips: Trips,
    decayed: np.ndarray,
    cutoff: int,
    horizon: int,
    trip_share: np.ndarray,
) -> None:
    """The group expect of the customer's offers, rows (M, P); decayed (H,): the decayed shopping days."""
    for t in range(touched):
        m = lists.touched[t]
        if m == mask_offer:
            continue
        row, at = rows[m], first
        days = row[basic.purchase_days]
        for h in range(decayed.size):
            row[at + h] = row[basic.decayed + h] / decayed[h] if decayed[h] > 0.0 else 0.0
        since, at = trips.total - 1 - lists.trip[lists.tail[m]], at + decayed.size
        row[at + TRIP_SHARE] = days / trips.total
        row[at + TRIP_SHARE_91] = row[basic.days_91] / max(trips.recent, 1)
        row[at + TRIPS_SINCE] = since
        row[at + RATE_TENURE] = days * (horizon / max(trips.tenure, horizon))
        row[at + RATE_FIRST] = (days - 1) * (horizon / max(cutoff - lists.day[lists.head[m]], horizon))
        row[at + TRIPS_DUE] = since * (days + 0.5 * trip_share[m]) / (trips.total + 0.5)
        row[at + EXPECTED_TRIPS] = chance(row[basic.decayed_90], trip_share[m], trips.decayed, trips.expected)


@njit(cache=True, nogil=True)
def write_renewal(
    rows: np.ndarray,
    at: int,
    lists: DayLists,
    touched: int,
    mask_offer: int,
    cutoff: int,
    horizon: int,
    interpurchase_time: np.ndarray,
) -> None:
    """The group renewal of the customer's offers, rows (M, P)."""
    head, tail, following, day = lists.head, lists.tail, lists.following, lists.day
    for t in range(touched):
        m = lists.touched[t]
        if m == mask_offer:
            continue
        row = rows[m, at:]
        r, recency = head[m], cutoff - day[tail[m]]
        intervals, total, squares, last, before, longer, ended = 0, 0.0, 0.0, 0, 0, 0, 0
        days_28, days_56, days_91, weeks, earlier, previous, bits = 0, 0, 0, 0, -1, 0, 0.0
        while r >= 0:
            age = cutoff - day[r]
            days_28 += age <= 28
            days_56 += age <= 56
            days_91 += age <= 91
            week = (age - 1) // 7
            if week < WEEKS and week != earlier:
                weeks += 1
                bits += WEEK_WEIGHT[week]
            earlier = week
            if r != head[m]:
                before, last = last, day[r] - previous
                intervals += 1
                total += last
                squares += last * last
                longer += last >= recency
                ended += recency <= last < recency + horizon
            previous = day[r]
            r = following[r]
        mean = total / max(intervals, 1)
        shrunk = (total + PRIOR_INTERVALS * interpurchase_time[m]) / (intervals + PRIOR_INTERVALS)
        row[OWN_HAZARD] = (ended + 0.3) / (longer + 2.0)
        row[LONGER] = longer
        row[LAST_RATIO] = recency / last if intervals > 0 else np.nan
        row[BEFORE] = before if intervals > 1 else np.nan
        row[VARIATION] = np.sqrt(max(squares / intervals - mean * mean, 0.0)) / mean if intervals > 1 else np.nan
        row[WEEKS_12] = weeks
        row[WEEK_BITS] = bits
        row[ACCELERATION] = 2 * days_28 - days_56
        row[TREND] = 3.25 * days_28 / days_91 if days_91 > 0 else 0.0
        row[RECENCY_SHRUNK] = recency / shrunk
        row[UNTIL_DUE] = shrunk - recency


@njit(cache=True, nogil=True)
def write_units(
    rows: np.ndarray,
    at: int,
    basic: BasicColumns,
    lists: DayLists,
    touched: int,
    mask_offer: int,
    trips: Trips,
    cutoff: int,
    horizon: int,
    intensity: np.ndarray,
    rank: np.ndarray,
    ranked: int,
) -> None:
    """The group units of the customer's offers, rows (M, P); rank as from `rank_offers`, ranked: the offers in it."""
    for t in range(touched):
        m = lists.touched[t]
        if m == mask_offer:
            continue
        row = rows[m]
        total, month, recent, spend, spend_91, products, r = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, lists.head[m]
        days, first, last = row[basic.purchase_days], lists.day[r], lists.units[lists.tail[m]]
        while r >= 0:
            age = cutoff - lists.day[r]
            total += lists.units[r]
            spend += lists.spend[r]
            products += lists.products[r]
            if age <= 28:
                month += lists.units[r]
            if age <= 91:
                recent += lists.units[r]
                spend_91 += lists.spend[r]
            r = lists.following[r]
        days_ranked = int(row[basic.days_182])
        row[at + UNITS_28], row[at + UNITS_91], row[at + ALL_UNITS] = month, recent, total
        row[at + UNITS_LAST] = last
        row[at + UNITS_LAST_RATIO] = last * days / total if total > 0.0 else 0.0
        row[at + UNITS_RATE] = total * (horizon / max(cutoff - first, horizon))
        row[at + PRODUCTS] = products / days
        row[at + SPEND_SHARE] = spend / trips.spend if trips.spend > 0.0 else 0.0
        row[at + SPEND_SHARE_91] = spend_91 / trips.spend_91 if trips.spend_91 > 0.0 else 0.0
        row[at + RANK] = rank[days_ranked] if days_ranked > 0 else np.nan
        row[at + RANK_SHARE] = rank[days_ranked] / ranked if days_ranked > 0 else np.nan
        row[at + BUYER_RATIO] = row[basic.days_91] / intensity[m] if intensity[m] > 0.0 else 0.0
