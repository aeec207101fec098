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


class Prediction(NamedTuple):
    """What a model says of B customers and M offers."""

    probability: np.ndarray  # (B, M)
    revenue: np.ndarray  # (B, M)
    past: np.ndarray  # (B, M) bool, whether the customer has bought the offer before


class HorizonMap(NamedTuple):
    """From the trained horizon to another: coefficients of pairs without and with a past, (2, 2), and levels (M,)."""

    coefficient: np.ndarray
    level: Level

    def predict(self, trained: Prediction) -> Prediction:
        """Probability and revenue of the other horizon."""
        chance = logistic(mapped(self.coefficient, trained) + self.level.shift)
        amount = np.divide(
            trained.revenue, trained.probability, out=np.zeros(chance.shape), where=trained.probability > 0
        )
        return Prediction(chance, chance * amount * self.level.factor, trained.past)


def mapped(coefficient: np.ndarray, trained: Prediction) -> np.ndarray:
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


def fit_horizon(market: Market, horizon: int, predictions: dict[int, tuple[np.ndarray, Prediction]]) -> HorizonMap:
    """Fit the map of a horizon on closed label windows.

    Parameters
    ----------
    market : Market
        The log before the cutoff, with M trained offers.
    horizon : int
        Days.
    predictions : dict of int to (rows, Prediction)
        What the model said at earlier days; filled with those that are computed.

    Returns
    -------
    HorizonMap
        From the trained horizon to this one.
    """
    parts, bought, paid = [], [], []
    for day in starts(market, horizon):
        if day not in predictions:
            rows = market.sample(day, CUSTOMERS)
            predictions[day] = rows, Prediction(*market.trained_scores(Cutoff(day, market.cutoff.horizon), rows))
        rows, prediction = predictions[day]
        outcomes = market.features.outcomes(Cutoff(day, horizon), rows)
        parts.append(prediction)
        bought.append(np.asarray(outcomes.bought) > 0)
        paid.append(np.maximum(np.asarray(outcomes.revenue), 0.0))
    trained = Prediction(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    label = np.concatenate(bought)
    coefficient = np.array([_fit_segment(trained, label, trained.past == past) for past in (False, True)])
    chance = logistic(mapped(coefficient, trained))
    amount = np.divide(trained.revenue, trained.probability, out=np.zeros(chance.shape), where=trained.probability > 0)
    return HorizonMap(coefficient, fit_level(chance, chance * amount, label, np.concatenate(paid), OFFER_SHIFT))


def _fit_segment(trained: Prediction, bought: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Slope and intercept of the log-odds of some pairs (B, M) bool."""
    odds, y = log_odds(trained.probability[pairs]), bought[pairs].astype(np.float64)
    if not y.size:
        return np.array([1.0, 0.0])
    start = np.array([1.0, 0.0])
    problem = Problem(np.stack([odds, np.ones_like(odds)], axis=1), y, np.ones_like(y))
    return fit_logistic(problem, Ridge(np.full(2, STRENGTH), start), start, bounded=1)


def in_order(predictions: Mapping[int, Prediction], trained: int) -> dict[int, Prediction]:
    """Answers by horizon of which none is below that of a shorter one; that of the trained horizon stays.

    Parameters
    ----------
    predictions : mapping of int to Prediction
        By horizon, the trained one among them.
    trained : int
        The trained horizon.

    Returns
    -------
    dict of int to Prediction
        By horizon, ascending.
    """
    ordered = {trained: predictions[trained]}
    for limit, horizons in (
        (np.minimum, sorted(each for each in predictions if each < trained)[::-1]),
        (np.maximum, sorted(each for each in predictions if each > trained)),
    ):
        former = predictions[trained]
        for horizon in horizons:
            each = predictions[horizon]
            chance, revenue = limit(each.probability, former.probability), limit(each.revenue, former.revenue)
            ordered[horizon] = former = Prediction(chance, revenue, each.past)
    return dict(sorted(ordered.items()))


def score_horizons(
    market: Market, horizons: Sequence[int], prediction: Prediction, new: bool
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Probability and expected revenue for several horizons.

    Parameters
    ----------
    market : Market
        The log before the cutoff.
    horizons : sequence of int
        Days; see `check_horizons`.
    prediction : Prediction
        What the model says at the cutoff.
    new : bool
        Whether it says so of other offers than the trained ones, whose maps have no shift of offers.

    Returns
    -------
    dict of int to (ndarray, ndarray)
        By horizon, ascending; each of the shape of `prediction`, float32, and none below that of a shorter horizon.
    """
    horizons, earlier = check_horizons(horizons, market), dict[int, tuple[np.ndarray, Prediction]]()
    trained, count = market.cutoff.horizon, prediction.probability.shape[1]
    predictions = {trained: prediction}
    for horizon in (each for each in horizons if each != trained):
        fitted = fit_horizon(market, horizon, earlier)
        if new:
            factor = float(np.median(fitted.level.factor))
            fitted = fitted._replace(level=Level(np.zeros(count), np.full(count, factor)))
        predictions[horizon] = fitted.predict(prediction)
    scores = in_order(predictions, trained)
    return {
        horizon: (scores[horizon].probability.astype(np.float32), scores[horizon].revenue.astype(np.float32))
        for horizon in horizons
    }
