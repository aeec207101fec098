"""Personal frequency: a purchase rate for each customer and offer, in which old purchases count less."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from propensity.baseline import scores_of
from propensity.baseline.pair_table import check_two_classes, usual_amount
from propensity.feature.history_mask import HistoryMask
from propensity.kernel.pair import pair_columns, pair_windows
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet

EVERY = 4  # one customer in so many is fitted on: two coefficients and two choices need no more


@dataclass
class Frequency:
    """Probability from an exponentially decayed purchase rate, shrunk towards the expected rate of the pair.

    Parameters
    ----------
    half_lives : tuple of int
        Candidate half-lives of a purchase, in days.
    priors : tuple of int
        Candidate weights of the expected rate, in days of exposure.
    last_cutoffs : int
        Number of the latest training cutoffs that the model is fitted on.
    name : str
        Name in tables and files.

    Attributes
    ----------
    chosen : tuple of int
        Half-life and prior with the lowest log loss on the training cutoffs.
    link : tuple of float
        Slope and intercept from log expected purchases to log-odds.

    Notes
    -----
    The expected rate of a pair is the offer's purchases per customer and day times the customer's activity: the decayed
    purchases of the customer over those of the average customer.
    """

    half_lives: tuple[int, ...] = (14, 30, 60, 90, 120, 180)
    priors: tuple[int, ...] = (10, 30, 90)
    last_cutoffs: int = 2
    name: str = "frequency"

    def fit(self, training_set: TrainingSet, seed: int) -> None:
        """Chooses half-life, prior and link by log loss on every fourth customer of the last cutoffs.

        Raises
        ------
        ConfigurationError
            If nobody or everybody bought in those label windows.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss

        recent = [
            cutoff_data._replace(row=cutoff_data.row[::EVERY])
            for cutoff_data in training_set.cutoffs_data[-self.last_cutoffs :]
        ]
        bought = np.concatenate([_bought(cutoff_data) for cutoff_data in recent])
        check_two_classes(bought)
        lowest = np.inf
        for half_life in self.half_lives:
            decayed = [_decayed(cutoff_data, half_life) for cutoff_data in recent]
            for prior in self.priors:
                x = np.concatenate(
                    [_log_expected(o, d, half_life, prior).ravel() for o, d in zip(recent, decayed, strict=True)]
                )[:, None]
                link = LogisticRegression(C=1e6).fit(x, bought)
                loss = log_loss(bought, link.predict_proba(x)[:, 1])
                if loss < lowest:
                    lowest = loss
                    self.chosen = (half_life, prior)
                    self.link = (float(link.coef_[0, 0]), float(link.intercept_[0]))

    def predict(self, cutoff_data: CutoffData) -> Scores:
        """Scores (N, M); the amount is the customer's mean spend, see `pair_table.usual_amount`."""
        half_life, prior = self.chosen
        x = _log_expected(cutoff_data, _decayed(cutoff_data, half_life), half_life, prior)
        probability = 1 / (1 + np.exp(-(self.link[0] * x + self.link[1])))
        amount = np.concatenate([usual_amount(cutoff_data, inputs) for _, inputs in cutoff_data.blocks()])
        return scores_of(cutoff_data, self.name, probability, amount)


def _bought(cutoff_data: CutoffData) -> np.ndarray:
    """Whether each pair has a purchase in the label window: (N M,)."""
    outcomes = cutoff_data.features.outcomes(cutoff_data.market_stats.cutoff, cutoff_data.row)
    return np.asarray(outcomes.bought).ravel()


def _decayed(cutoff_data: CutoffData, half_life: int) -> np.ndarray:
    """Purchase days of each pair, a day halved for every `half_life` days of its age: (N, M)."""
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
    """Log of the purchase days expected in the horizon: (N, M)."""
    market_stats, log = cutoff_data.market_stats, cutoff_data.features.log
    history_days = min(market_stats.cutoff.day - log.first_day, 8 * half_life)
    exposure = half_life / np.log(2) * (1 - 0.5 ** (history_days / half_life))
    activity = (decayed.sum(1) + 1) / (decayed.sum(1).mean() + 1)
    rate = (decayed + prior * market_stats.rate * activity[:, None]) / (exposure + prior)
    return np.log(rate * market_stats.cutoff.horizon + 1e-6)
