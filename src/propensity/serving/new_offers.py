"""Scores of offers that a model was not trained on, from a run or a bundle.

Columns are computed for them as for trained offers (`propensity.feature.new_offer`); in place of what a network learned
by the name of an offer it takes what it learned for offers without a name. Their level is corrected by their purchases
in the last label window that has closed.

Legend: N customers, K new offers, B customers of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from propensity.baseline.amount import shrunk_factor
from propensity.baseline.regression import logistic
from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers, active_offers, build_offers, offers_before
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats, MarketStatsBuilder
from propensity.feature.new_offer import NewOfferFeatures
from propensity.feature.new_offer_stats import NewOfferStatsBuilder
from propensity.feature.registrant import Registry
from propensity.kernel.event import Events
from propensity.kernel.market import purchase_state
from propensity.task import Task

TOGETHER = 128  # offers whose tables are in memory at a time
BLOCK_PAIRS, BLOCKS = 24_576, (64, 1024)  # pairs of a block of customers, and the bounds of its customers
SAMPLE = 20_000  # customers that the statistics of new offers are computed from
LEVEL_CUSTOMERS = 5_000  # whose purchases say what the level of an offer is
MOST_PAIRS = 200_000_000  # of a table of scores
SHIFT = 0.5  # standard deviation of the level of an offer's log-odds before its purchases are seen
STEPS = 25  # of Newton's method
Say = Callable[[str], None]


class OfferModel(NamedTuple):
    """What scores offers: a task, a vocabulary, and a function of the inputs.

    `explained` gives the log-odds of the scores as a function of the inputs, and whether that adds up purchases over
    all offers; it is called where reasons are asked for.

    Parameters
    ----------
    task : Task
        Offers, horizon and settings of the features.
    vocabulary : Vocabulary
        Vocabulary of the network.
    scorer : callable
        Maps inputs by name to probability and expected revenue, each (B, K).
    name : str
        Name of the model in the scores.
    """

    task: Task
    vocabulary: Vocabulary
    scorer: Callable[[dict[str, Any]], tuple[np.ndarray, np.ndarray]]
    name: str
    explained: Callable[[], tuple[Callable[[Any], np.ndarray], bool]] | None = None


def score_new_offers(market: Market, offers: Offers) -> tuple[np.ndarray, np.ndarray]:
    """Score every customer with a purchase before a cutoff for offers that the model need not know.

    Parameters
    ----------
    market : Market
        Model, log and cutoff.
    offers : Offers
        K offers over the items of the log.

    Returns
    -------
    probability, expected_revenue : ndarray of shape (N, K), float32
        An offer with the items of a trained one has its scores.

    Raises
    ------
    ConfigurationError
        If an offer has the name of a trained one and other items, or there are more than `MOST_PAIRS` pairs.
    """
    row = market.rows
    if row.size * len(offers) > MOST_PAIRS:
        raise ConfigurationError(
            f"{len(offers):,} offers for {row.size:,} customers are more than {MOST_PAIRS:,} pairs; give at most "
            f"{MOST_PAIRS // row.size:,} offers at a time"
        )
    probability, revenue = (np.empty((row.size, len(offers)), np.float32) for _ in range(2))
    for start in range(0, len(offers), TOGETHER):
        part = slice(start, min(start + TOGETHER, len(offers)))
        chosen = offers.take(np.arange(part.start, part.stop))
        probability[:, part], revenue[:, part] = market.score(chosen)
    return probability, revenue


class Market:
    """The trained offers of a log as of a cutoff, and what is computed for new ones from them.

    Parameters
    ----------
    model : OfferModel
        A trained run or a bundle.
    past : EventLog
        The events before the cutoff.
    cutoff : Cutoff
        Day and horizon.
    sample : int, optional
        Customers at most that statistics are computed from, if they are fewer than in training.

    Raises
    ------
    ConfigurationError
        If there is no purchase before the cutoff.
    """

    def __init__(self, model: OfferModel, past: EventLog, cutoff: Cutoff, sample: int | None = None) -> None:
        self.model, self.past, self.cutoff, task = model, past, cutoff, model.task
        self.trained = active_offers(past, task.offer, cutoff)
        most = task.market_stats.sample
        settings = replace(task.market_stats, sample=most if sample is None else min(most, sample))
        self.builder = MarketStatsBuilder(past, self.trained, cutoff.horizon, settings, *task.feature.market_groups)
        self.features = Features(past, self.trained, model.vocabulary, task.feature)
        self.rows = task.scored_rows(past, cutoff.day)
        if not past.purchasers(cutoff.day).size:
            raise ConfigurationError(f"no customer has a purchase before {cutoff}; use a later cutoff")
        self.stats: dict[Cutoff, MarketStats] = {}
        self.prepared: tuple[Offers, PreparedOffers] | None = None  # the last ones

    def stats_at(self, cutoff: Cutoff) -> MarketStats:
        """Statistics of the trained offers, computed once for a cutoff."""
        if cutoff not in self.stats:
            self.stats[cutoff] = self.builder.at(cutoff)
        return self.stats[cutoff]

    def score(self, offers: Offers) -> tuple[np.ndarray, np.ndarray]:
        """Probability and expected revenue (N, K) of all customers for new offers."""
        prepared = self.prepare(offers)
        return prepared.level.correct(*self._blocks(prepared.features, prepared.stats, self.rows, len(offers))[:2])

    def prepare(self, offers: Offers) -> PreparedOffers:
        """What scores of new offers need besides a customer's history; that of the last offers is kept."""
        if self.prepared is not None and same_offers(self.prepared[0], offers):
            return self.prepared[1]
        codes, builder = self.codes(offers), NewOfferStatsBuilder(self.builder, offers)
        features = self._features(builder, offers, codes, self.cutoff)
        prepared = PreparedOffers(self.model, features, features.tables.market_stats, self._level(builder, codes))
        self.prepared = offers, prepared
        return prepared

    def codes(self, offers: Offers) -> np.ndarray:
        """Codes in the network: those of trained offers with the same items, 0 for other offers.

        Raises
        ------
        ConfigurationError
            If an offer has the name of a trained one and other items.
        """
        every = offers_before(self.past, self.model.task.offer, self.cutoff.day)
        code = dict(zip(every.name, self.model.vocabulary.offer_codes(every).tolist(), strict=True))
        same = {items: name for name, items in zip(every.name, item_sets(every), strict=True) if code[name]}
        names = [same.get(items) for items in item_sets(offers)]
        for own, name in zip(offers.name, names, strict=True):
            if own in self.model.vocabulary.offers and own != name:
                raise ConfigurationError(
                    f"offer {own!r} has the name of an offer that the model was trained with, but other items; give it "
                    "another name"
                )
        return np.array([0 if name is None else code[name] for name in names], np.int64)

    def _level(self, builder: NewOfferStatsBuilder, codes: np.ndarray) -> Level:
        """What the last closed label window says of the level of each offer; nothing where there is none.

        Nor does it say anything of an offer with the items of a trained one, whose level the training has fitted.
        """
        nothing = Level(np.zeros(codes.size), np.ones(codes.size))
        end = min(self.cutoff.day, self.past.last_day + 1)
        window = Cutoff(end - self.cutoff.horizon, self.cutoff.horizon)
        rows = self.sample(window.day, LEVEL_CUSTOMERS) if window.day > self.past.first_day else np.zeros(0, np.int64)
        if not rows.size:
            return nothing
        known = known_before(self.past, builder.offers, window.day)
        features = self._features(builder, known, codes, window)
        probability, revenue, _ = self._blocks(features, features.tables.market_stats, rows, len(known))
        outcomes = Features(self.past, known, self.model.vocabulary, self.model.task.feature).outcomes(window, rows)
        bought, paid = np.asarray(outcomes.bought) > 0, np.maximum(np.asarray(outcomes.revenue), 0.0)
        level = fit_level(probability, revenue, bought, paid)
        return Level(*(np.where(codes > 0, *each) for each in zip(nothing, level, strict=True)))

    def sample(self, day: int, most: int) -> np.ndarray:
        """At most so many customers with a purchase before a day, by a hash of their ids."""
        rows = self.past.purchasers(day)
        if rows.size > most:
            rows = np.sort(rows[np.argsort(self.builder.id_hash[rows], kind="stable")[:most]])
        return rows

    def trained_scores(self, cutoff: Cutoff, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probability, expected revenue and whether there is an earlier purchase of the trained offers: (B, M) each."""
        return self._blocks(self.features, self.stats_at(cutoff), rows, len(self.trained))

    def past_of(self, offers: Offers) -> np.ndarray:
        """Whether each customer bought each offer before the cutoff: (N, K) bool."""
        shape = self.rows.size, len(offers)
        decayed, recency, days = (np.empty(shape, np.float32) for _ in range(3))
        purchase_state(
            *(self.builder.events, offers.sets, self.rows, self.cutoff.day, np.array([1]), decayed, recency, days)
        )
        return days > 0

    def _features(
        self, builder: NewOfferStatsBuilder, offers: Offers, codes: np.ndarray, cutoff: Cutoff
    ) -> NewOfferFeatures:
        """Features of the builder's offers with the items that were known at a cutoff."""
        market = self.stats_at(cutoff)
        return NewOfferFeatures(self.features, market, offers, builder.at(market), codes)

    def _blocks(
        self, features: Features, stats: MarketStats, rows: np.ndarray, offers: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probability, expected revenue and whether there is an earlier purchase, block by block."""
        probability, revenue = (np.empty((rows.size, offers), np.float32) for _ in range(2))
        past, place = np.empty((rows.size, offers), bool), features.config.pair.index("purchase_days")
        step = int(np.clip(BLOCK_PAIRS // (offers + 1), *BLOCKS))
        for start in range(0, rows.size, step):
            part = slice(start, start + step)
            inputs = features.inputs(stats, rows[part])
            past[part] = np.asarray(inputs.pair)[:, :offers, place] > 0
            probability[part], revenue[part] = model_scores(self.model, inputs, offers)
        return probability, revenue, past


def model_scores(model: OfferModel, inputs: Inputs, offers: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability and expected revenue (B, K) of the first offers of the inputs, as the model gives them."""
    with np.errstate(invalid="ignore"):  # of the offer that stands for all others, which has no score
        scores = model.scorer(inputs._asdict())
    probability, revenue = (each[:, :offers] for each in scores)
    return probability, revenue


class Level(NamedTuple):
    """Corrections of K offers: a shift of the log-odds and a factor of the amounts, each (K,)."""

    shift: np.ndarray
    factor: np.ndarray

    def correct(self, probability: np.ndarray, revenue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability and expected revenue (B, K), float32, with the corrections; offers without one stay as they are.

        Parameters
        ----------
        probability, revenue : ndarray of shape (B, K), float32
            As the model gives them.
        """
        chance = logistic(log_odds(probability) + self.shift)
        amount = np.divide(revenue, probability, out=np.zeros(revenue.shape, np.float32), where=probability > 0)
        same = (self.shift == 0) & (self.factor == 1)
        return (
            np.where(same, probability, chance).astype(np.float32),
            np.where(same, revenue, chance * amount * self.factor).astype(np.float32),
        )


class PreparedOffers(NamedTuple):
    """K new offers at a cutoff, ready to be scored for customers of the log or of any other events.

    Parameters
    ----------
    model : OfferModel
        A trained run or a bundle.
    features : NewOfferFeatures
        Of the offers.
    stats : MarketStats
        Their statistics.
    level : Level
        Corrections of what the model gives.
    """

    model: OfferModel
    features: NewOfferFeatures
    stats: MarketStats
    level: Level

    def of_events(
        self, events: Events, attributes: np.ndarray, registry: Registry, groups: np.ndarray
    ) -> PreparedOffers:
        """The same for B customers who are given by their events.

        Parameters
        ----------
        events : Events
            Of B customers, with the items and channels of the log.
        attributes : ndarray of shape (B, A)
            Numbers of their attributes.
        registry : Registry
            Their registrations and engagement.
        groups : ndarray of shape (B, K)
            Groups that they are in, see `Features.groups_of`.
        """
        groups_by_day = {self.stats.cutoff.day: (self.stats.group_label, groups)}
        return self._replace(features=self.features.with_customers(events, attributes, registry, groups_by_day))

    def scores(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Probability and expected revenue (B, K), float32, from the inputs of B customers."""
        return self.level.correct(*model_scores(self.model, inputs, len(self.features.offers)))


def fit_level(
    probability: np.ndarray, revenue: np.ndarray, bought: np.ndarray, paid: np.ndarray, deviation: float = SHIFT
) -> Level:
    """The corrections with which what was expected of a label window is what happened in it.

    Parameters
    ----------
    probability, revenue : (B, K) float
        What was expected.
    bought : (B, K) bool
        Who bought.
    paid : (B, K) float
        Revenue of the buyers.
    deviation : float
        Standard deviation of the shift and of the log factor before purchases are seen.

    Returns
    -------
    Level
        Both shrunk: the shift is the mode under a normal prior, and for few purchases near 0.

    Examples
    --------
    >>> chance, bought = np.full((400, 1), 0.1), np.arange(400)[:, None] < 80
    >>> level = fit_level(chance, chance * 5, bought, bought * 10.0)
    >>> [round(float(each[0]), 2) for each in level]
    [0.76, 2.0]
    """
    odds, total = log_odds(probability), bought.sum(axis=0)
    shift = np.zeros(odds.shape[1])
    for _ in range(STEPS):
        chance = logistic(odds + shift)
        slope = (chance * (1 - chance)).sum(axis=0) + deviation**-2
        step = (chance.sum(axis=0) - total + shift * deviation**-2) / slope
        shift -= np.clip(step, -1.0, 1.0)
    amount = np.divide(revenue, probability, out=np.zeros(revenue.shape), where=probability > 0)
    pairs = [(paid[buyers, k], amount[buyers, k]) for k, buyers in enumerate(bought.T)]
    usable = [each[0].sum() > 0 and each[1].sum() > 0 for each in pairs]
    factors = [
        shrunk_factor(*each, np.ones(each[0].size), deviation) if fits else 1.0
        for each, fits in zip(pairs, usable, strict=True)
    ]
    return Level(shift, np.array(factors))


def log_odds(probability: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of probabilities, away from 0 and 1: float64."""
    chance = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(chance) - np.log1p(-chance)


def item_sets(offers: Offers) -> list[bytes]:
    """The items of each offer, as bytes that are equal for equal sets."""
    order = np.argsort(offers.item_offer, kind="stable")
    ends = np.cumsum(np.bincount(offers.item_offer, minlength=len(offers)))
    return [each.tobytes() for each in np.split(offers.item[order].astype(np.int64), ends[:-1])]


def same_offers(one: Offers, other: Offers) -> bool:
    """Whether two lists have the same names and items."""
    return one.name == other.name and item_sets(one) == item_sets(other)


def known_before(log: EventLog, offers: Offers, day: int) -> Offers:
    """The offers with the items that are known before a day, which may be none."""
    known = (log.item_known < day)[offers.item]
    item, offer = offers.item[known], offers.item_offer[known]
    return build_offers(offers.name, item, offer, log.item_known.size, offers.parent)
