"""Scores of several horizons from a model that was trained for one.

A probability of the trained horizon becomes one of another horizon by a map that is fitted on closed label windows of
that horizon: a slope and an intercept of the log-odds for pairs with and without an earlier purchase, and a shrunk
shift for each offer. Windows begin on the weekday of the cutoff, so that a horizon of a day means that day.

Legend: B customers, M offers, Q horizons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from propensity.baseline.regression import Problem, Ridge, fit_logistic, logistic
from propensity.data.cutoff import Cutoff
from propensity.errors import ConfigurationError
from propensity.serving.new_offers import Level, Market, fit_level, log_odds

WEEK = 7
WINDOWS = 3  # closed label windows that a map is fitted on, at most
CUSTOMERS = 3_000  # of a window
OFFER_SHIFT = 0.2  # standard deviation of the shift of an offer before its purchases are seen
STRENGTH = 1.0  # of the ridge that keeps the map near the identity where there are few purchases


class Answer(NamedTuple):
    """What a model says of B customers and M offers."""

    probability: np.ndarray  # (B, M)
    revenue: np.ndarray  # (B, M)
    past: np.ndarray  # (B, M) bool, whether the customer has bought the offer before


class HorizonMap(NamedTuple):
    """From the trained horizon to another: coefficients of pairs without and with a past, (2, 2), and levels (M,)."""

    coefficient: np.ndarray
    level: Level

    def answer(self, trained: Answer) -> Answer:
        """Probability and revenue of the other horizon."""
        chance = logistic(mapped(self.coefficient, trained) + self.level.shift)
        amount = np.divide(
            trained.revenue, trained.probability, out=np.zeros(chance.shape), where=trained.probability > 0
        )
        return Answer(chance, chance * amount * self.level.factor, trained.past)


def mapped(coefficient: np.ndarray, trained: Answer) -> np.ndarray:
    """Log-odds of the other horizon before the shifts of offers: (B, M)."""
    slope, intercept = (np.where(trained.past, coefficient[1, k], coefficient[0, k]) for k in range(2))
    return np.asarray(slope * log_odds(trained.probability) + intercept)


def check_horizons(horizons: Sequence[int], market: Market) -> list[int]:
    """The horizons in ascending order, once each.

    Raises
    ------
    ConfigurationError
        If there is none, or the log before the cutoff has no closed label window of one.
    """
    if not horizons:
        raise ConfigurationError("horizons=[] names no horizon; give days, such as [7,14,28]")
    for horizon in sorted(horizons):
        if horizon < 1:
            raise ConfigurationError(f"horizons={horizon} is no horizon; give 1 day or more")
        if horizon != market.cutoff.horizon and not starts(market, horizon):
            raise ConfigurationError(
                f"horizons={horizon} cannot be answered at {market.cutoff}: no label window of {horizon} days has "
                "closed in the log before it; give shorter horizons or a later cutoff"
            )
    return sorted(set(horizons))


def starts(market: Market, horizon: int) -> list[int]:
    """First days of the last closed label windows of a horizon, latest first, on the weekday of the cutoff."""
    day, end = market.cutoff.day, min(market.cutoff.day, market.past.last_day + 1)
    weeks = -(-(day - end + horizon) // WEEK)
    latest = [day - WEEK * (weeks + back) for back in range(WINDOWS)]
    return [each for each in latest if each > market.past.first_day and market.past.purchasers(each).size]


def fit_horizon(market: Market, horizon: int, answers: dict[int, tuple[np.ndarray, Answer]]) -> HorizonMap:
    """Fit the map of a horizon on closed label windows.

    Parameters
    ----------
    market : Market
        The log before the cutoff, with M trained offers.
    horizon : int
        Days.
    answers : dict of int to (rows, Answer)
        What the model said at earlier days; filled with those that are computed.

    Returns
    -------
    HorizonMap
        From the trained horizon to this one.
    """
    parts, bought, paid = [], [], []
    for day in starts(market, horizon):
        if day not in answers:
            rows = market.sample(day, CUSTOMERS)
            answers[day] = rows, Answer(*market.trained_scores(Cutoff(day, market.cutoff.horizon), rows))
        rows, answer = answers[day]
        outcomes = market.features.outcomes(Cutoff(day, horizon), rows)
        parts.append(answer)
        bought.append(np.asarray(outcomes.bought) > 0)
        paid.append(np.maximum(np.asarray(outcomes.revenue), 0.0))
    trained = Answer(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    label = np.concatenate(bought)
    coefficient = np.array([_fit_segment(trained, label, trained.past == past) for past in (False, True)])
    chance = logistic(mapped(coefficient, trained))
    amount = np.divide(trained.revenue, trained.probability, out=np.zeros(chance.shape), where=trained.probability > 0)
    return HorizonMap(coefficient, fit_level(chance, chance * amount, label, np.concatenate(paid), OFFER_SHIFT))


def _fit_segment(trained: Answer, bought: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Slope and intercept of the log-odds of some pairs (B, M) bool."""
    odds, y = log_odds(trained.probability[pairs]), bought[pairs].astype(np.float64)
    if not y.size:
        return np.array([1.0, 0.0])
    start = np.array([1.0, 0.0])
    problem = Problem(np.stack([odds, np.ones_like(odds)], axis=1), y, np.ones_like(y))
    return fit_logistic(problem, Ridge(np.full(2, STRENGTH), start), start, bounded=1)


def in_order(answers: Mapping[int, Answer], trained: int) -> dict[int, Answer]:
    """Answers by horizon of which none is below that of a shorter one; that of the trained horizon stays.

    Parameters
    ----------
    answers : mapping of int to Answer
        By horizon, the trained one among them.
    trained : int
        The trained horizon.

    Returns
    -------
    dict of int to Answer
        By horizon, ascending.
    """
    ordered = {trained: answers[trained]}
    for limit, horizons in (
        (np.minimum, sorted(each for each in answers if each < trained)[::-1]),
        (np.maximum, sorted(each for each in answers if each > trained)),
    ):
        former = answers[trained]
        for horizon in horizons:
            each = answers[horizon]
            chance, revenue = limit(each.probability, former.probability), limit(each.revenue, former.revenue)
            ordered[horizon] = former = Answer(chance, revenue, each.past)
    return dict(sorted(ordered.items()))


def score_horizons(
    market: Market, horizons: Sequence[int], answer: Answer, new: bool
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Probability and expected revenue for several horizons.

    Parameters
    ----------
    market : Market
        The log before the cutoff.
    horizons : sequence of int
        Days; see `check_horizons`.
    answer : Answer
        What the model says at the cutoff.
    new : bool
        Whether it says so of other offers than the trained ones, whose maps have no shift of offers.

    Returns
    -------
    dict of int to (ndarray, ndarray)
        By horizon, ascending; each of the shape of `answer`, float32, and none below that of a shorter horizon.
    """
    horizons, earlier = check_horizons(horizons, market), dict[int, tuple[np.ndarray, Answer]]()
    trained, count = market.cutoff.horizon, answer.probability.shape[1]
    answers = {trained: answer}
    for horizon in (each for each in horizons if each != trained):
        fitted = fit_horizon(market, horizon, earlier)
        if new:
            factor = float(np.median(fitted.level.factor))
            fitted = fitted._replace(level=Level(np.zeros(count), np.full(count, factor)))
        answers[horizon] = fitted.answer(answer)
    scores = in_order(answers, trained)
    return {
        horizon: (scores[horizon].probability.astype(np.float32), scores[horizon].revenue.astype(np.float32))
        for horizon in horizons
    }
