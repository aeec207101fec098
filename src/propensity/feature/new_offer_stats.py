"""Market statistics of offers that a model was not trained on.

Trained offers seldom share items, and a new offer may share its items with many of them. It is compared with the
trained offers alone, without those that are mostly the new offer itself, so that its affinities are what they are in
training: the evidence of other purchases.

Legend: M trained offers, K new offers, B customers, H half-lives of affinity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.feature.affinity import mean_square, rarity
from propensity.feature.hazard import CELLS, overall_hazard
from propensity.feature.market_stats import AFFINITY_HALF_LIVES, BLAS, BLOCK, RECENT, MarketStats, MarketStatsBuilder
from propensity.feature.neighbour import category_sets
from propensity.feature.price import PRICES
from propensity.feature.registrant import GROUP
from propensity.kernel.event import PURCHASE
from propensity.kernel.neighbour import PROFILE_DAYS, profile_days, signatures

ITSELF = 0.5  # a trained offer with a larger share of its purchases in a new one is no evidence for it
UNSOLD = 0.01  # purchases that each item counts for beside its own, so that offers without purchases have shares
H = len(AFFINITY_HALF_LIVES)


class NewOfferStats(NamedTuple):
    """Tables of K new offers at a cutoff.

    Parameters
    ----------
    market_stats : MarketStats
        Of the new offers. The rows of `similar`, `together`, `ease`, `cosine`, `sibling` (..., M, K) and `follow`
        (2, H M + 1, K) are trained offers. Its neighbours are those of the trained offers with purchases of new ones.
    follow_own : (2, H, K) float32
        Ridge weights of the decayed purchase days of the offer itself, beside those of `follow`.
    directions : (K, R) float32
        What `svd` (M, R) is for trained offers.
    share : (M, K) float64
        Share of the purchases of each new offer that are purchases of each trained offer.
    others : (M, K) bool
        Trained offers that are evidence for a new one, because they are not mostly the new one itself.
    """

    market_stats: MarketStats
    follow_own: np.ndarray
    directions: np.ndarray
    share: np.ndarray
    others: np.ndarray


class Block(NamedTuple):
    """Purchases of a block of customers before a date: profiles (B, H M + 1), (B, H K + 1) with ones, and columns."""

    trained: np.ndarray
    new: np.ndarray
    trained_columns: dict[str, np.ndarray]  # (B, M)
    new_columns: dict[str, np.ndarray]  # (B, K)
    bought: np.ndarray  # (B, K) within the horizon


class Sums(NamedTuple):
    """Sums of products over the customers of a date."""

    profile: np.ndarray  # (H M + 1, H K) trained profiles and new ones
    own: np.ndarray  # (H, H, K) profile of a new offer and itself
    follow: np.ndarray  # (H M + 1, K) trained profiles and later purchases
    follow_own: np.ndarray  # (H, K) profile of a new offer and its later purchases
    whole: np.ndarray  # (M, K) log purchase days


class NewOfferStatsBuilder:
    """Builds the tables of new offers beside those of the trained ones, from the same log.

    Parameters
    ----------
    trained : MarketStatsBuilder
        Builder of the trained offers.
    offers : Offers
        K new offers over the items of its log. An offer may have no purchase.
    """

    def __init__(self, trained: MarketStatsBuilder, offers: Offers) -> None:
        self.trained, self.offers = trained, offers
        groups = tuple(group for group in trained.groups if group in (PRICES, GROUP))
        self.new = MarketStatsBuilder(trained.log, offers, trained.horizon, trained.config, groups, trained.attributes)
        self.sums: dict[int, Sums] = {}
        self.last_blocks: tuple[int, list[Block]] | None = None

    def at(self, market: MarketStats) -> NewOfferStats:
        """The tables at the cutoff of those of the trained offers.

        Parameters
        ----------
        market : MarketStats
            Tables of the trained offers.

        Returns
        -------
        NewOfferStats
            A new offer with the items of a trained one has the tables of that one.
        """
        with BLAS.limit(limits=1, user_api="blas"):
            return self._tables(market)

    def _tables(self, market: MarketStats) -> NewOfferStats:
        day, config, m = market.cutoff.day, self.trained.config, len(self.trained.offers)
        labelled = [day - self.trained.horizon - k * config.step for k in range(config.references)]
        past = [each for each in labelled if each > self.trained.log.first_day]
        for each in past:
            self._sums(each)  # with the moments of the new offers
        now = self._sums(day)
        own = self.new.at(market.cutoff)
        share, covered = overlap(self.trained.log, self.trained.offers, self.offers, day)
        others = covered <= ITSELF
        gram = self.trained.moments_at(day)
        follow, follow_own = self._follow(past, others)
        directions, ease, cosine = self._affinity(market, own, others, np.minimum(share, covered) > 1 - 1e-9)
        long = slice((H - 1) * m, H * m), slice((H - 1) * len(self.offers), None)
        stats = own._replace(
            hazard=self._hazard(past),
            similar=regress(gram.profile[long[0], long[0]], now.profile[long], others, config.ridge_similar),
            together=regress(gram.whole, now.whole, others, config.ridge_similar),
            follow=follow,
            ease=ease,
            cosine=cosine,
            sibling=(market.sibling @ share).astype(np.float32),
            **self._neighbours(market),
        )
        return NewOfferStats(stats, follow_own, directions, share, others)

    def _blocks(self, day: int) -> Iterator[Block]:
        """The customers of a date, block by block; those of the last date are kept."""
        if self.last_blocks is None or self.last_blocks[0] != day:
            self.last_blocks = day, list(self._read_blocks(day))
        yield from self.last_blocks[1]

    def _read_blocks(self, day: int) -> Iterator[Block]:
        """The blocks of a date."""
        population = self.trained.population(day)
        for start in range(0, population.size, BLOCK):
            rows = population[start : start + BLOCK]
            trained, trained_columns = self.trained.purchases(rows, day)
            new, new_columns = self.new.purchases(rows, day)
            yield Block(trained, new, trained_columns, new_columns, self.new.bought(rows, day))

    def _sums(self, day: int) -> Sums:
        """The sums of a date, counted once."""
        if day not in self.sums:
            m, k = len(self.trained.offers), len(self.offers)
            width = H * m + 1
            sums = Sums(*(np.zeros(size) for size in ((width, H * k), (H, H, k), (width, k), (H, k), (m, k))))
            moments = self.new.no_moments()
            for block in self._blocks(day):
                new = block.new[:, :-1]
                halves = new.reshape(-1, H, k)
                self.new.add_moments(moments, block.new, block.new_columns, block.bought)
                sums.profile[:] += block.trained.T @ new
                sums.own[:] += np.einsum("bhk,bgk->hgk", halves, halves)
                sums.follow[:] += block.trained.T @ block.bought
                sums.follow_own[:] += np.einsum("bhk,bk->hk", halves, block.bought)
                whole = (np.log1p(each["purchase_days"]) for each in (block.trained_columns, block.new_columns))
                sums.whole[:] += next(whole).T @ next(whole)
            self.sums[day], self.new.moments[day] = sums, moments
        return self.sums[day]

    def _hazard(self, past: Sequence[int]) -> np.ndarray:
        """The hazard of each cell, shrunk to that of the trained offers: (K, CELLS)."""
        shrink, every = self.trained.config.shrink, [self.trained.moments_at(day) for day in past]
        own, empty = [self.new.moments_at(day) for day in past], np.zeros((len(self.offers), CELLS))
        trials, hits = sum((each.trials for each in own), empty), sum((each.hits for each in own), empty)
        all_hits, all_trials = (
            sum((x.sum(0) for x in xs), empty[0]) for xs in ([e.hits for e in every], [e.trials for e in every])
        )
        return np.asarray((hits + shrink * overall_hazard(all_hits, all_trials, shrink)) / (trials + shrink))

    def _follow(self, past: Sequence[int], others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ridge weights of the trained profiles (2, H M + 1, K) and of the offer's own (2, H, K)."""
        m, k, ridges = len(self.trained.offers), len(self.offers), self.trained.config.ridge_follow
        weights = np.zeros((len(ridges), H * m + 1, k), np.float32), np.zeros((len(ridges), H, k), np.float32)
        if not past:
            return weights
        gram = np.sum([self.trained.moments_at(day).profile for day in past], axis=0)
        sums = Sums(*(np.sum(each, axis=0) for each in zip(*(self._sums(day) for day in past), strict=True)))
        read = np.concatenate([np.tile(others, (H, 1)), np.ones((1, k), bool)])
        for r, ridge in enumerate(ridges):
            each = ridge * mean_square(gram[:-1, :-1])
            penalty = np.append(np.full(H * m, each), 1e-6 * max(gram[-1, -1], 1.0))
            weights[0][r], weights[1][r] = bordered(gram + np.diag(penalty), sums, each, read)
        return weights

    def _affinity(
        self, market: MarketStats, own: MarketStats, others: np.ndarray, identical: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Directions (K, R), ease (1 + RECENT, M, K) and cosine (M, K); without entries where the group is off."""
        empty = np.zeros((0, 0), np.float32)
        if "affinity" not in self.trained.groups:
            return empty, empty[None], empty
        m, k, day = len(self.trained.offers), len(self.offers), market.cutoff.day
        weight, own_weight = rarity(market.context), rarity(own.context)
        cross, plain, square = np.zeros((k, m)), np.zeros((m, k)), np.zeros(m)
        binary, gram = np.zeros((1 + len(RECENT), m, k)), np.zeros((1 + len(RECENT), m, m))
        energy = np.zeros(market.svd.shape[1])
        for block in self._blocks(day):
            long, new = block.trained[:, (H - 1) * m : H * m], block.new[:, (H - 1) * k : H * k]
            row = long * weight
            length = np.maximum(np.sqrt((row**2).sum(axis=1, keepdims=True)), 1e-12)
            cross += (new * own_weight / length).T @ (row / length)
            energy += ((row / length @ market.svd) ** 2).sum(axis=0)
            plain, square = plain + long.T @ new, square + (long**2).sum(axis=0)
            both = flags(block.trained_columns), flags(block.new_columns)
            for place, (flag, own_flag) in enumerate(zip(*both, strict=True)):
                gram[place] += flag.T @ flag
                binary[place] += flag.T @ own_flag
        ridge = self.trained.config.ridge_similar[:1]
        ease = [regress(*each, others, ridge)[0] for each in zip(gram, binary, strict=True)]
        directions = (cross @ market.svd / np.maximum(energy, 1e-12)).astype(np.float32)
        trained, same = np.nonzero(identical)
        directions[same] = market.svd[trained]  # they are found by iteration, which ends before the last digit
        return directions, np.array(ease), cosines_with(plain, square, others)

    def _neighbours(self, market: MarketStats) -> dict[str, Any]:
        """What the reference customers of the trained offers bought of the new ones."""
        same = {name: getattr(market, name) for name in MarketStats._fields if name.startswith("neighbour_")}
        if not market.neighbour_signature.size:
            return same
        log, offers, horizon = self.trained.log, self.trained.offers, self.trained.horizon
        day, level = int(market.neighbour_day), market.neighbour_level
        rows = self.trained.population(day, self.trained.config.neighbours)
        categories = category_sets(log.items, offers, level)
        signature = signatures(log.events, offers.sets, categories, level.value.size, rows, day)
        rows = rows[np.argsort(signature, kind="stable")]
        windows = horizon, 4 * horizon, max(PROFILE_DAYS, 4 * horizon)
        bought = profile_days(log.events, self.offers.sets, len(self.offers), rows, day, windows[-1])
        offsets, offer, _, recency = bought
        return same | {
            "neighbour_bought_offsets": offsets,
            "neighbour_bought_offer": offer,
            "neighbour_bought_window": np.searchsorted(windows, recency).astype(np.int8),
        }


def overlap(log: EventLog, trained: Offers, new: Offers, day: int) -> tuple[np.ndarray, np.ndarray]:
    """How many purchases before a day trained and new offers have in common.

    Returns
    -------
    share : (M, K) float64
        As a share of those of the new offer. Columns sum to 1 where every item is in one trained offer.
    covered : (M, K) float64
        As a share of those of the trained offer.
    """
    sold = log.item[(log.kind == PURCHASE) & (log.day < day) & (log.item >= 0)]
    weight = np.bincount(sold, minlength=log.item_known.size) + UNSOLD
    common = np.zeros((len(trained), len(new)))
    sizes = np.diff(trained.item_offsets)
    count = sizes[new.item]
    first = np.repeat(trained.item_offsets[new.item], count)
    place = first + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    np.add.at(common, (trained.item_offer[place], np.repeat(new.item_offer, count)), np.repeat(weight[new.item], count))
    totals = (np.bincount(each.item_offer, weight[each.item], minlength=len(each)) for each in (new, trained))
    of_new, of_trained = (np.maximum(total, UNSOLD) for total in totals)
    return common / of_new, common / of_trained[:, None]


def flags(columns: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Whether an offer was bought ever, and in each of the recent windows: (B, M) float32 each."""
    ever = columns["purchase_days"] > 0
    return [each.astype(np.float32) for each in (ever, *(ever & (columns["recency"] <= days) for days in RECENT))]


def distinct(read: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The different columns of a mask (M, K), each with the places of the columns that equal it."""
    masks, inverse = np.unique(read, axis=1, return_inverse=True)
    for k in range(masks.shape[1]):
        yield np.flatnonzero(masks[:, k]), np.flatnonzero(np.ravel(inverse) == k)


def regress(gram: np.ndarray, cross: np.ndarray, others: np.ndarray, ridges: Sequence[float]) -> np.ndarray:
    """Ridge weights with which trained offers predict new ones.

    Parameters
    ----------
    gram : (M, M) float
        Sums of products of trained offers.
    cross : (M, K) float
        Sums of products with the new ones.
    others : (M, K) bool
        The trained offers that may be read.
    ridges : sequence of R floats
        In multiples of the mean square of a trained offer.

    Returns
    -------
    (R, M, K) float32
        0 where `others` is false.
    """
    weights = np.zeros((len(ridges), *cross.shape), np.float32)
    for r, ridge in enumerate(ridges):
        penalised = gram + ridge * mean_square(gram) * np.eye(len(gram))
        for rows, columns in distinct(others):
            solved = np.linalg.solve(penalised[np.ix_(rows, rows)], cross[np.ix_(rows, columns)])
            weights[r][np.ix_(rows, columns)] = solved
    return weights


def bordered(penalised: np.ndarray, sums: Sums, ridge: float, read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ridge weights of trained profiles (H M + 1, K) and of a new offer's own (H, K), which predict its purchases.

    The equations of each new offer are those of the trained profiles with a border of its own; the border is
    eliminated (Schur complement), so that the trained part is solved once.
    """
    k = sums.follow.shape[1]
    weights, own_weights = np.zeros(sums.follow.shape), np.zeros(sums.follow_own.shape)
    for rows, columns in distinct(read):
        border = sums.profile.reshape(-1, H, k)[np.ix_(rows, np.arange(H), columns)]
        right = np.concatenate([border.reshape(rows.size, -1), sums.follow[np.ix_(rows, columns)]], axis=1)
        solved = np.linalg.solve(penalised[np.ix_(rows, rows)], right)
        behind, alone = solved[:, : H * columns.size].reshape(rows.size, H, -1), solved[:, H * columns.size :]
        for place, column in enumerate(columns):
            edge = border[:, :, place]
            own = sums.own[:, :, column] + ridge * np.eye(H) - edge.T @ behind[:, :, place]
            own_weights[:, column] = np.linalg.solve(own, sums.follow_own[:, column] - edge.T @ alone[:, place])
            weights[rows, column] = alone[:, place] - behind[:, :, place] @ own_weights[:, column]
    return weights, own_weights


def cosines_with(plain: np.ndarray, square: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosines of trained offers with new ones, each column divided by its sum: (M, K) float32.

    The length of a new offer would cancel, so its square is not needed.
    """
    cosine = np.where(others, plain / np.maximum(np.sqrt(square), 1e-12)[:, None], 0.0)
    total = cosine.sum(axis=0)
    return (cosine / np.where(total > 0, total, 1.0)).astype(np.float32)
