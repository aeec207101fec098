"""The market at a cutoff: tables over all customers that features look into, from events before the cutoff.

Tables that are derived from outcomes (hazards, ridge affinity) use label windows that closed by the cutoff. The sums of
a reference date are kept for all later cutoffs, so weekly cutoffs cost one pass each. With more than `sample` customers
the tables come from a sample chosen by a hash of the id, which is independent of behaviour and of the order of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.feature.affinity import cosines, leading_directions, mean_square, rarity, regress_on_others, siblings
from propensity.feature.column import CONTEXT_NAMES, CONTEXT_WINDOWS, DEFAULT_GROUPS
from propensity.feature.group_rate import (
    GROUP_RATE_WINDOWS,
    CustomerGroups,
    customer_groups,
    group_codes,
    group_rates,
    no_groups,
)
from propensity.feature.hazard import CELLS, hazard_cell, overall_hazard
from propensity.feature.neighbour import Level, category_sets, finest_level, neighbours, nested_levels, no_neighbours
from propensity.feature.price import PRICES, OfferPrices, prices_of
from propensity.feature.registrant import GROUP, RegistrantRates, Registry, no_rates, registrant_rates
from propensity.feature.rolling import RollingRequest, rolling_customer
from propensity.kernel.context import context_columns, line_limits, offer_context
from propensity.kernel.customer import TENURE_CAP
from propensity.kernel.customer_group import median_order
from propensity.kernel.event import Sets, fixed
from propensity.kernel.market import count_cells, purchase_state
from propensity.kernel.neighbour import PROFILE_DAYS, Neighbours
from propensity.kernel.outcome import outcomes
from propensity.kernel.purchase_day import shopping_days
from propensity.kernel.rolling_customer import rolling_customer_columns

TENURES = 13  # months since the first purchase, the last open
AFFINITY_HALF_LIVES = (30, 90)  # days, ascending; of the decayed purchase days that affinity is computed from
SVD_RANKS = (12, 40)
RECENT = 91, 28  # days of the binary affinities besides those of the whole past
COHORT = (91,), ()  # the window, and no half-life, of the comparison with customers of the same tenure
BLOCK = 4096
NO_PRICES = np.zeros(0)
NO_GROUPS, NO_RATES = no_groups(), np.zeros((len(GROUP_RATE_WINDOWS), 0, 0), np.float32)
BLAS = ThreadpoolController()  # one thread, so that sums have one order


class MarketStats(NamedTuple):
    """Tables of one cutoff for M offers.

    Parameters
    ----------
    cutoff : Cutoff
        Day and horizon.
    context : (M, C) float32
        Columns `CONTEXT_NAMES`, NaN where nobody bought.
    interpurchase_time : (M,) float
        Mean days between purchase days; NaN where nobody bought twice.
    rate : (M,) float
        Purchase days per customer and day.
    trip_share : (M,) float
        Purchase days over everybody's shopping days, of the last 91 days.
    order_size : float
        Median revenue of the orders of the last 91 days.
    hazard : (M, CELLS) float
        Share of pairs in a recency x count cell that bought within the horizon, shrunk to the cell's share over all
        offers.
    similar, together : (2, M, M) float32
        Ridge weights, for a weak and a strong ridge, with which purchases of other offers predict those of an offer at
        the same time: of long decayed purchase days, and of all purchase days.
    follow : (2, 2 M + 1, M) float32
        Ridge weights that predict purchases within the horizon from short and long decayed purchase days; the last row
        is the intercept.
    svd : (M, SVD_RANKS[-1]) float32
        Orthonormal directions, the strongest first, in which weighted long decayed purchase days vary most.
    ease : (3, M, M) float32
        Ridge weights like `similar`, of what was ever bought, and bought in the last 91 and 28 days, without counts.
    cosine : (M, M) float32
        Cosines between the long decayed purchase days of offers, the diagonal 0 and each column of sum 1.
    neighbour_column, neighbour_category : str, (K,) str
        The item column, empty for the offers, and its values that customers are compared by.
    neighbour_day, neighbour_weight, ... : int, arrays
        The fields of `Neighbours`: customers of a sample, without ids, and what they bought.
    sibling : (M, M) float32
        Equal weights of all other sold offers of the same parent.
    sold : (M,) bool
        Whether anybody bought the offer.
    cohort : (TENURES, 2) float
        Mean log revenue, in units, and log orders of 91 days by months since the first purchase.
    unit : () float
        Revenue that counts as 1, see `EventLog.revenue_unit`.
    registrant_source, registrant_source_rate, registrant_similar_rate : arrays
        The fields of `RegistrantRates`; without entries where the group registrants is off.
    group_offsets, group_label, group_numeric : arrays
        The fields of `CustomerGroups`; of no attribute where the group of columns is off.
    group_rate : (W, G, M) float32
        Log ratio of the buyers among the customers of a group to those among everybody, see `group_rates`.
    price_usual, price_now, price_discounted : (M,) float
        The fields of `OfferPrices`; without entries where the group of columns is off.
    """

    cutoff: Cutoff
    context: np.ndarray
    interpurchase_time: np.ndarray
    rate: np.ndarray
    trip_share: np.ndarray
    order_size: np.ndarray
    hazard: np.ndarray
    similar: np.ndarray
    together: np.ndarray
    follow: np.ndarray
    svd: np.ndarray
    ease: np.ndarray
    cosine: np.ndarray
    neighbour_column: np.ndarray
    neighbour_category: np.ndarray
    neighbour_day: np.ndarray
    neighbour_weight: np.ndarray
    neighbour_offsets: np.ndarray
    neighbour_customer: np.ndarray
    neighbour_value: np.ndarray
    neighbour_signature: np.ndarray
    neighbour_bought_offsets: np.ndarray
    neighbour_bought_offer: np.ndarray
    neighbour_bought_window: np.ndarray
    neighbour_nearest_offsets: np.ndarray
    neighbour_nearest: np.ndarray
    neighbour_nearest_share: np.ndarray
    sibling: np.ndarray
    sold: np.ndarray
    cohort: np.ndarray
    unit: np.ndarray
    registrant_source: np.ndarray = no_rates().source
    registrant_source_rate: np.ndarray = no_rates().source_rate
    registrant_similar_rate: np.ndarray = no_rates().similar_rate
    group_offsets: np.ndarray = NO_GROUPS.offsets
    group_label: np.ndarray = NO_GROUPS.label
    group_numeric: np.ndarray = NO_GROUPS.numeric
    group_rate: np.ndarray = NO_RATES
    price_usual: np.ndarray = NO_PRICES
    price_now: np.ndarray = NO_PRICES
    price_discounted: np.ndarray = NO_PRICES

    @property
    def prices(self) -> OfferPrices:
        """Prices and discounts of the offers."""
        return OfferPrices(self.price_usual, self.price_now, self.price_discounted)

    @property
    def customer_groups(self) -> CustomerGroups:
        """The groups of customers that `group_rate` is of."""
        return CustomerGroups(self.group_offsets, self.group_label, self.group_numeric)

    @property
    def neighbours(self) -> Neighbours:
        """The reference customers, in the form that kernels expect."""
        day, *tables = (getattr(self, f"neighbour_{name}") for name in Neighbours._fields)
        return Neighbours(int(day), *map(fixed, tables))

    @property
    def neighbour_level(self) -> Level:
        """What customers are compared by."""
        return Level(str(self.neighbour_column), self.neighbour_category)


class Moments(NamedTuple):
    """Sums over customers at a reference date, from which affinities and hazards are estimated.

    `profile` is the Gram matrix of purchase profiles, `follow` their products with later purchases. A purchase profile
    holds the logs of decayed purchase days.
    """

    profile: np.ndarray  # (2 M + 1, 2 M + 1): short half-life, long half-life, ones
    whole: np.ndarray  # (M, M): log purchase days of the whole past
    follow: np.ndarray  # (2 M + 1, M)
    trials: np.ndarray  # (M, CELLS)
    hits: np.ndarray  # (M, CELLS)


@dataclass
class MarketStatsConfig:
    """Settings of `MarketStatsBuilder`.

    Parameters
    ----------
    references : int
        Number of past label windows that hazards and `follow` are estimated from.
    step : int
        Days between them.
    sample : int
        Customers at most.
    shrink : float
        Weight, in trials, of the hazard over all offers against an offer's own.
    ridge_similar, ridge_follow : tuple of float
        Weak and strong ridge of the affinity weights, in multiples of the mean square of a profile value.
    neighbours : int
        Reference customers at most, among whom similar customers are looked for.
    neighbour_categories : int
        Categories that profiles need; with fewer nobody has neighbours, because most profiles would be equal.
    shrink_group : float
        Expected buyers that are added to the buyers and the expected buyers of a group of customers.
    """

    references: int = 8
    step: int = 7
    sample: int = 50_000
    shrink: float = 40.0
    ridge_similar: tuple[float, float] = (0.3, 2.0)
    ridge_follow: tuple[float, float] = (1.0, 8.0)
    neighbours: int = 10_000
    neighbour_categories: int = 50
    shrink_group: float = 20.0


class MarketStatsBuilder:
    """Builds `MarketStats` of one log and list of offers, and keeps the sums of reference dates between cutoffs."""

    def __init__(
        self,
        log: EventLog,
        offers: Offers,
        horizon: int,
        config: MarketStatsConfig,
        groups: Sequence[str] = DEFAULT_GROUPS,
        attributes: Sequence[str] = (),
    ) -> None:
        self.log, self.offers, self.horizon, self.config, self.groups = log, offers, horizon, config, groups
        self.attributes = attributes
        self.events, self.sets = log.events, offers.sets
        self.id_hash = log.id_hash()
        self.moments: dict[int, Moments] = {}
        self.rolled: dict[int, np.ndarray] = {}
        self.registry: Registry | None = None
        self.levels: list[tuple[Level, Sets]] | None = None
        self.last_purchases: tuple[tuple[int, int, int], tuple[np.ndarray, dict[str, np.ndarray]]] | None = None

    def prefetch(self, days: Sequence[int]) -> None:
        """Passes over the log once for several cutoffs, instead of once for each."""
        everyone = np.arange(len(self.log))
        windows = rolling_customer(self.log, RollingRequest(days, *COHORT), everyone)
        self.rolled |= {day: windows[:, :, d] for d, day in enumerate(sorted(days))}

    def at(self, cutoff: Cutoff) -> MarketStats:
        """The tables of a cutoff, from events before it. Sums have one order on every machine."""
        with BLAS.limit(limits=1, user_api="blas"):
            return self._tables(cutoff)

    def _tables(self, cutoff: Cutoff) -> MarketStats:
        population = self.population(cutoff.day)
        labelled = [cutoff.day - self.horizon - k * self.config.step for k in range(self.config.references)]
        past_days = [day for day in labelled if day > self.log.first_day]
        past = [self.moments_at(day) for day in past_days]
        names = context_columns(CONTEXT_WINDOWS)
        totals = np.empty((len(self.offers), len(names)))
        everybody = np.concatenate([population, self.log.guests(cutoff.day)])
        limits = line_limits(self.events, self.sets, len(self.offers), everybody, cutoff.day)
        windows = np.array(CONTEXT_WINDOWS)
        offer_context(self.events, self.sets, everybody, cutoff.day, self.horizon, windows, limits, totals)
        raw = dict(zip(names, totals.T, strict=True))
        exposure = min(cutoff.day - self.log.first_day, CONTEXT_WINDOWS[2])
        now, sold, unit = self.moments_at(cutoff.day), ~np.isnan(raw["age"]), self.log.revenue_unit(cutoff.day)
        context = np.where(sold[:, None], _context(raw, everybody.size), np.nan)
        level, tables = self._neighbours(cutoff.day)
        svd, ease, cosine = self._affinity(population, cutoff.day, context)
        return MarketStats(
            cutoff=cutoff,
            context=context,
            interpurchase_time=raw["interpurchase_time"],
            rate=raw["days_91"] / max(everybody.size * exposure, 1),
            trip_share=raw["days_91"] / max(shopping_days(self.events, everybody, cutoff.day, CONTEXT_WINDOWS[2]), 1),
            order_size=np.array(median_order(self.events, everybody, cutoff.day)),
            hazard=self._hazard(past),
            similar=regress_on_others(now.profile[len(sold) : -1, len(sold) : -1], self.config.ridge_similar),
            together=regress_on_others(now.whole, self.config.ridge_similar),
            follow=self._follow(past),
            svd=svd,
            ease=ease,
            cosine=cosine,
            neighbour_column=np.array(level.column),
            neighbour_category=level.value,
            **{f"neighbour_{name}": np.asarray(value) for name, value in tables._asdict().items()},
            sibling=siblings(self.offers.parent, sold),
            sold=sold,
            cohort=self._cohort(population, cutoff, unit),
            unit=np.array(unit),
            **{f"registrant_{name}": table for name, table in self._registrants(past_days)._asdict().items()},
            **self._group_rates(population, cutoff.day),
            **self._prices(population, cutoff.day),
        )

    def _registrants(self, days: Sequence[int]) -> RegistrantRates:
        """Rates of first purchases in the label windows that begin on `days`."""
        if GROUP not in self.groups:
            return no_rates()
        if self.registry is None:
            self.registry = Registry.of_log(self.log)
        return registrant_rates(self.log, self.registry, days, len(self.offers), self._sampled, self.bought)

    def _sampled(self, rows: np.ndarray) -> np.ndarray:
        """At most `sample` of the rows, by the hash of their ids."""
        return sampled(rows, self.id_hash, self.config.sample)

    def population(self, day: int, sample: int | None = None) -> np.ndarray:
        """Rows of the purchasers before `day`, of at most `sample` of them."""
        return sampled(self.log.purchasers(day), self.id_hash, self.config.sample if sample is None else sample)

    def _neighbours(self, day: int) -> tuple[Level, Neighbours]:
        """Reference customers and the level that they are compared at."""
        nobody = Level("", np.zeros(0, str)), no_neighbours(day)
        if "neighbours" not in self.groups:
            return nobody
        if self.levels is None:
            self.levels = nested_levels(self.log.items, self.offers)
        rows = self.population(day, self.config.neighbours)
        level = finest_level(self.log, self.offers, self.levels, rows, day)
        if level.value.size < self.config.neighbour_categories:  # most profiles would be equal
            return nobody
        categories = category_sets(self.log.items, self.offers, level)
        windows = self.horizon, 4 * self.horizon, max(PROFILE_DAYS, 4 * self.horizon)
        return level, neighbours(self.events, self.offers, categories, level.value.size, rows, day, windows)

    def _group_rates(self, population: np.ndarray, day: int) -> dict[str, np.ndarray]:
        """The groups of customers and what they buy; nothing where no attribute is named."""
        if not self.attributes:
            return {}
        customers = self.log.customers[population]
        groups = customer_groups(customers, self.attributes)
        codes = group_codes(customers, self.attributes, groups)
        shrink = self.config.shrink_group
        rates = group_rates(self.log, self.offers, population, codes, day, groups.label.size, shrink)
        return {"group_rate": rates, **{f"group_{name}": each for name, each in groups._asdict().items()}}

    def _prices(self, population: np.ndarray, day: int) -> dict[str, np.ndarray]:
        """Prices and discounts of the offers; nothing where the group of columns is off."""
        if PRICES not in self.groups:
            return {}
        prices = prices_of(self.events, self.sets, len(self.offers), population, day)
        return {f"price_{name}": each for name, each in prices._asdict().items()}

    def _affinity(self, population: np.ndarray, day: int, context: np.ndarray) -> tuple[np.ndarray, ...]:
        """The tables svd, ease and cosine; without entries where the group is off."""
        m = len(self.offers)
        if "affinity" not in self.groups:
            empty = np.zeros((0, 0), np.float32)
            return empty, empty[None], empty
        weight, half = rarity(context), len(AFFINITY_HALF_LIVES) - 1
        weighted, plain, binary = np.zeros((m, m)), np.zeros((m, m)), np.zeros((1 + len(RECENT), m, m))
        for start in range(0, population.size, BLOCK):
            profile, column = self.purchases(population[start : start + BLOCK], day)
            long = profile[:, half * m : (half + 1) * m]
            row = long * weight
            row /= np.maximum(np.sqrt((row**2).sum(axis=1, keepdims=True)), 1e-12)
            weighted += row.T @ row
            plain += long.T @ long
            ever = column["purchase_days"] > 0
            for k, bought in enumerate((ever, *(ever & (column["recency"] <= days) for days in RECENT))):
                flag = bought.astype(np.float32)
                binary[k] += flag.T @ flag
        ease = [regress_on_others(gram, self.config.ridge_similar[:1])[0] for gram in binary]
        return leading_directions(weighted, SVD_RANKS[-1]), np.array(ease), cosines(plain)

    def moments_at(self, day: int) -> Moments:
        """Sums at a reference date. `follow` and `hits` use the `horizon` days after it, which must be closed."""
        if day not in self.moments:
            self.moments[day] = self._count(day)
        return self.moments[day]

    def _count(self, day: int) -> Moments:
        population, sums = self.population(day), self.no_moments()
        for start in range(0, population.size, BLOCK):
            rows = population[start : start + BLOCK]
            self.add_moments(sums, *self.purchases(rows, day), self.bought(rows, day))
        return sums

    def no_moments(self) -> Moments:
        """Sums over nobody."""
        m = len(self.offers)
        width = len(AFFINITY_HALF_LIVES) * m + 1
        shapes = (width, width), (m, m), (width, m), (m, CELLS), (m, CELLS)
        return Moments(*(np.zeros(shape) for shape in shapes))

    def add_moments(
        self, sums: Moments, profile: np.ndarray, column: dict[str, np.ndarray], bought: np.ndarray
    ) -> None:
        """Add a block of customers to the sums, from the arrays of `purchases` and `bought`."""
        whole = np.log1p(column["purchase_days"])
        sums.profile[:] += profile.T @ profile
        sums.whole[:] += whole.T @ whole
        sums.follow[:] += profile.T @ bought
        cell = hazard_cell(column["recency"], column["purchase_days"])
        count_cells(cell, bought, sums.trials, sums.hits)

    def purchases(self, rows: np.ndarray, day: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Profiles (B, 2 M + 1), with a column of ones, and the pair columns (B, M) that they come from.

        The last block is kept, because the sums of a cutoff and its affinities read the same blocks.
        """
        block = (day, int(rows[0]), rows.size)
        if self.last_purchases is None or self.last_purchases[0] != block:
            self.last_purchases = block, self._read_purchases(rows, day)
        return self.last_purchases[1]

    def _read_purchases(self, rows: np.ndarray, day: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """A block of `purchases`."""
        shape = (rows.size, len(self.offers))
        recency, purchase_days = np.empty(shape, np.float32), np.empty(shape, np.float32)
        profile = np.empty((rows.size, len(AFFINITY_HALF_LIVES) * shape[1] + 1), np.float32)
        half_lives = np.array(AFFINITY_HALF_LIVES)
        purchase_state(self.events, self.sets, rows, day, half_lives, profile, recency, purchase_days)
        np.log1p(profile[:, :-1], out=profile[:, :-1])
        profile[:, -1] = 1.0
        return profile, {"recency": recency, "purchase_days": purchase_days}

    def bought(self, rows: np.ndarray, day: int) -> np.ndarray:
        bought = np.empty((rows.size, len(self.offers)), bool)
        money, visit = np.empty(bought.shape, np.float32), np.empty(rows.size, bool)
        outcomes(self.events, self.sets, rows, day, self.horizon, bought, money, visit)
        return bought.astype(np.float32)

    def _hazard(self, past: list[Moments]) -> np.ndarray:
        m = len(self.offers)
        trials = sum((p.trials for p in past), np.zeros((m, CELLS)))
        hits = sum((p.hits for p in past), np.zeros((m, CELLS)))
        overall = overall_hazard(hits.sum(0), trials.sum(0), self.config.shrink)
        return (hits + self.config.shrink * overall) / (trials + self.config.shrink)

    def _follow(self, past: list[Moments]) -> np.ndarray:
        """Purchases within the horizon, predicted from the whole profile by ridge regression: (2, 2 M + 1, M)."""
        width, ridges = len(AFFINITY_HALF_LIVES) * len(self.offers) + 1, self.config.ridge_follow
        if not past:
            return np.zeros((len(ridges), width, len(self.offers)), np.float32)
        gram, target = np.sum([p.profile for p in past], axis=0), np.sum([p.follow for p in past], axis=0)
        weights = []
        for ridge in ridges:
            penalty = np.full(width, ridge * mean_square(gram[:-1, :-1]))
            penalty[-1] = 1e-6 * max(gram[-1, -1], 1.0)
            weights.append(np.linalg.solve(gram + np.diag(penalty), target))
        return np.array(weights, np.float32)

    def _cohort(self, population: np.ndarray, cutoff: Cutoff, unit: float) -> np.ndarray:
        if cutoff.day not in self.rolled:
            self.prefetch([cutoff.day])
        rows = self.rolled[cutoff.day][population]
        names = rolling_customer_columns(*COHORT)
        month = tenure_month(np.minimum(np.nan_to_num(rows[:, names.index("since_first")]), TENURE_CAP))
        size = np.bincount(month, minlength=TENURES) + 1e-9
        logs = log_spend(rows[:, names.index("spend_91")], unit), np.log1p(rows[:, names.index("orders_91")])
        return np.stack([np.bincount(month, values, minlength=TENURES) / size for values in logs], axis=1)


def sampled(rows: np.ndarray, id_hash: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows (R,) of a log, those with the lowest hash of their ids (N,), ascending."""
    return rows if rows.size <= most else np.sort(rows[np.argpartition(id_hash[rows], most)[:most]])


def log_spend(spend: np.ndarray, unit: float) -> np.ndarray:
    """log(1 + spend / unit), 0 for a negative spend."""
    return np.log1p(np.maximum(spend, 0) * np.float32(1 / unit))


def tenure_month(tenure: np.ndarray) -> np.ndarray:
    """Months since the first purchase, from days; the last class is open."""
    return np.minimum(tenure // 30, TENURES - 1).astype(np.int64)


def _context(raw: dict[str, np.ndarray], customers: int) -> np.ndarray:
    """The context columns, all free of scale, from the totals of `offer_context`: (M, C) float32."""
    price = raw["spend_91"] / np.maximum(raw["days_91"], 1)
    recent_price = raw["spend_28"] / np.maximum(raw["days_28"], 1)
    price_ratio = np.divide(recent_price, price, out=np.ones_like(price), where=price > 0)
    column = {f"reach_{w}": np.log((raw[f"buyers_{w}"] + 0.5) / (customers + 1)) for w in CONTEXT_WINDOWS} | {
        "trend_7": np.log((4 * raw["days_7"] + 4) / (raw["days_28"] + 4)),
        "trend_28": np.log((3.25 * raw["days_28"] + 4) / (raw["days_91"] + 4)),
        "intensity": raw["days_91"] / np.maximum(raw["buyers_91"], 1),
        "novelty": raw["first_buyers_28"] / np.maximum(raw["buyers_28"], 1),
        "interpurchase_time": raw["interpurchase_time"],
        "age": np.minimum(raw["age"], 182),
        "price": price,
        "price_trend": np.log((price_ratio + 0.1) / 1.1),
        "last_year": np.log((raw["last_year_days"] + 5) / (raw["last_year_around"] + 5)),
    }
    return np.stack([column[name] for name in CONTEXT_NAMES], axis=1).astype(np.float32)
