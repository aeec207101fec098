"""Personal frequency: how often the customer buys the offer, old purchases fading; what many shops run on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from propensity.baseline import scores_of
from propensity.baseline.pair_table import refuse_one_sided, usual_amount
from propensity.feature.history_mask import HistoryMask
from propensity.kernel.pair import pair_columns, pair_windows
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet


@dataclass
class Frequency:
    """Expected purchases in the horizon from a decayed personal rate, drawn to the customer's activity x the market's.

    half_lives, priors: the candidates (days; days of exposure), chosen by log loss on the last `dates` training dates,
    as are the two numbers that turn log expected purchases into log-odds.
    """

    half_lives: tuple[int, ...] = (14, 30, 60, 90, 120, 180)
    priors: tuple[int, ...] = (10, 30, 90)
    dates: int = 2
    name: str = "frequency"

    def fit(self, training_set: TrainingSet, seed: int) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss

        # Two numbers and two choices need no more than every fourth customer.
        recent = [o._replace(customer=o.customer[::4]) for o in training_set.cutoffs_data[-self.dates :]]
        bought = np.concatenate(
            [np.asarray(o.features.outcomes(o.market_stats.cutoff, o.customer).bought).ravel() for o in recent]
        )
        refuse_one_sided(bought)
        best = np.inf
        for half_life in self.half_lives:
            decayed = [_decayed(o, half_life) for o in recent]
            for prior in self.priors:
                x = np.concatenate(
                    [_log_expected(o, d, half_life, prior).ravel() for o, d in zip(recent, decayed, strict=True)]
                )[:, None]
                link = LogisticRegression(C=1e6).fit(x, bought)
                loss = log_loss(bought, link.predict_proba(x)[:, 1])
                if loss < best:
                    best = loss
                    self.chosen = (half_life, prior)
                    self.link = (float(link.coef_[0, 0]), float(link.intercept_[0]))

    def predict(self, cutoff_data: CutoffData) -> Scores:
        half_life, prior = self.chosen
        x = _log_expected(cutoff_data, _decayed(cutoff_data, half_life), half_life, prior)
        probability = 1 / (1 + np.exp(-(self.link[0] * x + self.link[1])))
        amount = np.concatenate([usual_amount(cutoff_data, inputs) for _, inputs in cutoff_data.blocks()])
        return scores_of(cutoff_data, self.name, probability, amount)


def _decayed(cutoff_data: CutoffData, half_life: int) -> np.ndarray:
    """Purchase days of each pair, halved every `half_life` days: (N, M)."""
    features, market_stats, customer = cutoff_data
    names = pair_columns((1,), (half_life,))
    out = np.empty((customer.size, len(features.offers), len(names)), np.float32)
    mask = HistoryMask.nothing(customer.size)
    pair_windows(
        *(features.events, features.sets, customer, market_stats.cutoff.day, mask.days, mask.offer),
        *(np.array([1]), np.array([half_life]), out),
    )
    return out[:, :, names.index(f"decayed_{half_life}")].copy()


def _log_expected(cutoff_data: CutoffData, decayed: np.ndarray, half_life: int, prior: int) -> np.ndarray:
    """Log of the purchases expected in the horizon: (N, M)."""
    market_stats, log = cutoff_data.market_stats, cutoff_data.features.log
    seen = min(market_stats.cutoff.day - log.first_day, 8 * half_life)
    exposure = half_life / np.log(2) * (1 - 0.5 ** (seen / half_life))
    activity = (decayed.sum(1) + 1) / (decayed.sum(1).mean() + 1)
    rate = (decayed + prior * market_stats.rate * activity[:, None]) / (exposure + prior)
    return np.log(rate * market_stats.cutoff.horizon + 1e-6)
