"""Personal frequency: a purchase rate for each customer and offer, in which old purchases count less."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from propensity.baseline.candidate import CandidateOutputs, predict_blocks
from propensity.baseline.pair_table import (
    ENOUGH,
    Columns,
    by_hash,
    check_two_classes,
    columns_of,
    outcomes_of,
    training_columns,
    usual_amount_of,
)
from propensity.baseline.regression import Problem, Ridge, fit_logistic, weighted_log_loss
from propensity.baseline.storage import columns_from, damaged, read, read_json, write_json
from propensity.errors import ConfigurationError
from propensity.feature.features import Features
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet, Validation

CUSTOMERS = 2_000  # of a cutoff, at most, that are fitted on: two coefficients and two choices need no more
FILE = "frequency.json"
FLOOR = 1e-6  # expected purchases of an offer that nobody buys


class Rates(NamedTuple):
    """What the rates of N customers and M offers are made from, all of it columns of the inputs.

    Attributes
    ----------
    decayed : np.ndarray
        (N, M) purchase days, a day halved for every half-life of its age.
    rate : np.ndarray
        (M,) purchase days per customer and day of the last 91 days.
    tenure : np.ndarray
        (N,) days since the first purchase.
    """

    decayed: np.ndarray
    rate: np.ndarray
    tenure: np.ndarray


class Labelled(NamedTuple):
    """Inputs of a cutoff's customers, reduced to what this model reads, and their purchases (N M,)."""

    by_half_life: dict[int, Rates]
    bought: np.ndarray


@dataclass
class Frequency:
    """Probability from an exponentially decayed purchase rate, shrunk towards the expected rate of the pair.

    Parameters
    ----------
    half_lives : tuple of int or None
        Candidate half-lives of a purchase, in days, each of them one of `data.feature.half_lives`; None: all of those.
    priors : tuple of int
        Candidate weights of the expected rate, in days of exposure.
    last_cutoffs : int
        Number of the latest training cutoffs that the model is fitted on.
    name : str
        Name in tables and files.

    Attributes
    ----------
    chosen : dict
        `half_life` and `prior` with the lowest log loss on the validation cutoffs, or else on the training cutoffs.
    link : tuple of float
        Slope and intercept from log expected purchases to log-odds.
    activity : float
        Mean over customers of the decayed purchase days, all offers together.

    Notes
    -----
    The expected rate of a pair is the offer's purchases per customer and day times the customer's activity: the decayed
    purchases of the customer over those of the average customer. The exposure of a customer is the decayed number of
    days since the first purchase.
    """

    half_lives: tuple[int, ...] | None = None
    priors: tuple[int, ...] = (10, 30, 60, 120)
    last_cutoffs: int = 2
    name: str = "frequency"
    chosen: dict[str, Any] = field(default_factory=dict, init=False)
    link: tuple[float, float] = field(default=(1.0, 0.0), init=False)
    activity: float = field(default=0.0, init=False)
    columns: Columns = field(default=Columns((), (), ()), init=False)

    def fit(self, training_set: TrainingSet, seed: int, validation: Validation | None = None) -> None:
        """Chooses half-life and prior by log loss, on the validation cutoffs if there are any, and fits the link.

        Raises
        ------
        ConfigurationError
            If nobody or everybody bought in the label windows, or a half-life is not one of the features.
        """
        half_lives = self._candidates(training_set.features)
        train = self._training(training_set, half_lives, seed)
        judged = train if validation is None else _validation(validation, half_lives, seed) or train
        lowest = np.inf
        for half_life, prior in product(half_lives, self.priors):
            activity, link = _fit_link(train, half_life, prior, self.columns.horizon)
            loss = _log_loss(judged, half_life, prior, self.columns.horizon, activity, link)
            if loss < lowest:
                lowest, self.activity, self.link = loss, activity, link
                self.chosen = {"half_life": half_life, "prior": prior}

    def refit(self, training_set: TrainingSet, seed: int) -> None:
        """Fits the link again, for the half-life and the prior that `fit` chose."""
        half_life, prior = self.chosen["half_life"], self.chosen["prior"]
        train = self._training(training_set, (half_life,), seed)
        self.activity, self.link = _fit_link(train, half_life, prior, self.columns.horizon)

    def outputs(self, inputs: Any) -> CandidateOutputs:
        """Log-odds and amounts (B, M); all offers of the market belong to the inputs, as activity is their sum."""
        half_life, prior = self.chosen["half_life"], self.chosen["prior"]
        rates = _rates(inputs, self.columns, half_life)
        x = _log_expected(rates, half_life, prior, self.columns.horizon, self.activity)
        return CandidateOutputs(self.link[0] * x + self.link[1], usual_amount_of(self.columns, inputs))

    def predict(self, cutoff_data: CutoffData) -> Scores:
        """Scores (N, M); the amount is the customer's mean spend, see `pair_table.usual_amount`."""
        return predict_blocks(self, cutoff_data)

    def save(self, folder: str | Path) -> None:
        """Writes `frequency.json`."""
        fitted = {"chosen": self.chosen, "link": list(self.link), "activity": self.activity}
        write_json(Path(folder) / FILE, fitted | {"name": self.name, "columns": self.columns._asdict()})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads `frequency.json`.

        Raises
        ------
        ConfigurationError
            If there is no such file.
        IntegrityError
            If it is damaged.
        """
        path = Path(folder) / FILE
        state = read_json(path)
        return read(path, lambda: cls._from(state, path))

    @classmethod
    def _from(cls, state: dict[str, Any], path: Path) -> Self:
        model = cls(name=str(state["name"]))
        model.chosen = {name: int(state["chosen"][name]) for name in ("half_life", "prior")}
        slope, intercept = map(float, state["link"])
        model.link, model.activity = (slope, intercept), float(state["activity"])
        model.columns = columns_from(state["columns"])
        if not np.isfinite([slope, intercept, model.activity]).all() or min(model.chosen.values()) < 1:
            raise damaged(path, "a coefficient is not finite")
        if f"decayed_{model.chosen['half_life']}" not in model.columns.pair:
            raise damaged(path, "its half-life is no column")
        return model

    def _candidates(self, features: Features) -> tuple[int, ...]:
        """The half-lives to choose from; refuses one that is no column."""
        columns = tuple(features.config.half_lives)
        if missing := [each for each in self.half_lives or () if each not in columns]:
            raise ConfigurationError(
                f"baseline.frequency.half_lives names {missing[0]}, which data.feature.half_lives lacks; "
                f"choose among {', '.join(map(str, columns))}"
            )
        return self.half_lives or columns

    def _training(self, training_set: TrainingSet, half_lives: tuple[int, ...], seed: int) -> list[Labelled]:
        """The last training cutoffs; sets the columns."""
        recent = training_set.cutoffs_data[-self.last_cutoffs :]
        self.columns = training_columns(training_set)
        train = [_labelled(each, each.features, half_lives, seed) for each in recent]
        check_two_classes(np.concatenate([each.bought for each in train]))
        return train


def _validation(validation: Validation, half_lives: tuple[int, ...], seed: int) -> list[Labelled]:
    """The validation cutoffs; empty where they hold too few purchases, or nothing else."""
    pairs = zip(validation.cutoffs_data, validation.complete, strict=True)
    judged = [_labelled(cutoff_data, complete, half_lives, seed) for cutoff_data, complete in pairs]
    bought = np.concatenate([np.zeros(0), *(each.bought for each in judged)])
    return judged if bought.sum() >= ENOUGH and bought.min() == 0 else []


def _labelled(cutoff_data: CutoffData, complete: Features, half_lives: tuple[int, ...], seed: int) -> Labelled:
    """Rates and purchases of the customers of a cutoff, or of a sample of them."""
    row = by_hash(cutoff_data)
    if row.size > CUSTOMERS:
        row = np.sort(np.random.default_rng((seed, cutoff_data.market_stats.cutoff.day)).choice(row, CUSTOMERS, False))
    sample = cutoff_data._replace(row=row)
    columns = columns_of(cutoff_data.features)
    blocks = [{h: _rates(inputs, columns, h) for h in half_lives} for _, inputs in sample.blocks()]
    joined = {
        h: Rates(
            np.concatenate([block[h].decayed for block in blocks]),
            blocks[0][h].rate,
            np.concatenate([block[h].tenure for block in blocks]),
        )
        for h in half_lives
    }
    return Labelled(joined, np.asarray(outcomes_of(cutoff_data, complete, row).bought).ravel())


def _rates(inputs: Any, columns: Columns, half_life: int) -> Rates:
    """The columns of the inputs that this model reads."""
    pair, customer, context = (np.asarray(part) for part in (inputs.pair, inputs.customer_features, inputs.context))
    reach, intensity = (context[:, columns.context.index(name)] for name in ("reach_91", "intensity"))
    return Rates(
        pair[:, :, columns.pair.index(f"decayed_{half_life}")].astype(np.float64),
        np.nan_to_num(np.exp(reach.astype(np.float64)) * intensity) / 91,
        customer[:, columns.customer.index("tenure")].astype(np.float64),
    )


def _log_expected(rates: Rates, half_life: int, prior: int, horizon: int, activity: float) -> np.ndarray:
    """Log of the purchase days expected in the horizon: (N, M)."""
    exposure = half_life / np.log(2) * (1 - 0.5 ** (rates.tenure / half_life))
    relative = (rates.decayed.sum(axis=1) + 1) / (activity + 1)
    rate = (rates.decayed + prior * rates.rate * relative[:, None]) / (exposure[:, None] + prior)
    return np.asarray(np.log(rate * horizon + FLOOR))


def _fit_link(train: list[Labelled], half_life: int, prior: int, horizon: int) -> tuple[float, tuple[float, float]]:
    """Mean activity of the customers, and slope and intercept of the log-odds."""
    rates = [each.by_half_life[half_life] for each in train]
    activity = float(np.concatenate([each.decayed.sum(axis=1) for each in rates]).mean())
    x = np.concatenate([_log_expected(each, half_life, prior, horizon, activity).ravel() for each in rates])
    y = np.concatenate([each.bought for each in train]).astype(np.float64)
    rows = Problem(np.stack([x, np.ones_like(x)], axis=1), y, np.ones_like(x))
    weak = Ridge(np.array([1.0, 1e-6]), np.array([1.0, 0.0]))  # the slope stays near 1 where nothing says otherwise
    slope, intercept = fit_logistic(rows, weak, np.array([1.0, 0.0]))
    return activity, (float(slope), float(intercept))


def _log_loss(
    judged: list[Labelled], half_life: int, prior: int, horizon: int, activity: float, link: tuple[float, float]
) -> float:
    """Sum of the log losses of the pairs."""
    total = 0.0
    for each in judged:
        x = _log_expected(each.by_half_life[half_life], half_life, prior, horizon, activity).ravel()
        total += weighted_log_loss(link[0] * x + link[1], each.bought, np.ones(1))
    return total
