"""Drift of inputs, scores and calibration between the training window and a later cutoff."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.config import DriftConfig
from propensity.data.cutoff import Cutoff, require_labels
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, GateError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats
from propensity.metric.drift import binned, edges_of, stability_index
from propensity.serving import verify
from propensity.serving.bundle import open_bundle
from propensity.task import CutoffData

FILE = "window.npz"  # in a bundle: histograms of the training window
MAX_PAIRS = 200_000  # pairs whose columns are counted
BLOCK = 256
Model = Callable[[Mapping[str, Any]], Mapping[str, np.ndarray]]
Say = Callable[[str], None]


class DriftSample(NamedTuple):
    """Inputs and scores of a sample of customers at a cutoff.

    Attributes
    ----------
    columns : dict of str to ndarray of shape (n, K)
        Inputs by group: pair, customer, context. Each group has its own number of rows and columns.
    score : ndarray of shape (n,)
        Probabilities of the sampled pairs.
    expected : float
        Sum of the probabilities of all pairs of the sampled customers.
    observed : float
        Number of those pairs with a purchase in the horizon; 0 without labels.
    """

    columns: dict[str, np.ndarray]
    score: np.ndarray
    expected: float
    observed: float

    @property
    def calibration(self) -> float:
        """Expected over observed purchases."""
        return self.expected / max(self.observed, 1e-9)


@dataclass(frozen=True)
class DriftReport:
    """Comparison of a cutoff with the training window.

    Attributes
    ----------
    cutoff : str
        Cutoff that is compared, YYYY-MM-DD.
    window : str
        Cutoff of the training window, YYYY-MM-DD.
    stability_index : dict of str to float
        Population stability index of each input column; 0 is no change.
    score_index : float
        Population stability index of the scores.
    training_calibration, current_calibration : float
        Expected over observed purchases, in the training window and in the last complete label window before the
        cutoff.
    thresholds : dict of str to float
        `inputs`: index above which a column has drifted; `share`: of columns that may drift; `scores`: index of the
        scores; `calibration`: factor by which calibration may change in either direction.
    """

    cutoff: str
    window: str
    stability_index: dict[str, float]
    score_index: float
    training_calibration: float
    current_calibration: float
    thresholds: dict[str, float]

    @property
    def drifted(self) -> list[str]:
        """Columns above the threshold, by descending index."""
        names = [name for name, value in self.stability_index.items() if value > self.thresholds["inputs"]]
        return sorted(names, key=lambda name: -self.stability_index[name])

    @property
    def calibration_factor(self) -> float:
        """Factor by which calibration has changed, at least 1."""
        calibrations = self.training_calibration, self.current_calibration
        return max(calibrations) / min(calibrations) if min(calibrations) > 0 else float("inf")

    @property
    def alarms(self) -> list[str]:
        """One message for each threshold that is exceeded."""
        messages = []
        if len(self.drifted) > self.thresholds["share"] * len(self.stability_index):
            largest = f"{self.drifted[0]}, {self.stability_index[self.drifted[0]]:.2f}"
            messages.append(f"{len(self.drifted)} of {len(self.stability_index)} inputs drifted (largest: {largest})")
        if self.score_index > self.thresholds["scores"]:
            messages.append(f"the scores drifted ({self.score_index:.2f})")
        if self.calibration_factor > self.thresholds["calibration"]:
            change = f"from {self.training_calibration:.2f} to {self.current_calibration:.2f}"
            messages.append(f"expected over observed purchases changed {change}")
        return messages

    def require(self) -> None:
        """Fail if a threshold is exceeded.

        Raises
        ------
        GateError
            With all alarms.
        """
        if self.alarms:
            raise GateError(f"drift at {self.cutoff}: {'; '.join(self.alarms)}; train again")


def drift(cfg: DriftConfig, say: Say) -> DriftReport:
    """Compare a cutoff with the training window of a bundle.

    Parameters
    ----------
    cfg : DriftConfig
        Composed configuration of conf/drift.yaml.
    say : callable
        Receives messages about progress.

    Returns
    -------
    DriftReport
        Indices, calibration and thresholds.

    Raises
    ------
    ConfigurationError
        If no label window is complete before the cutoff, or the bundle is not valid at it.
    IntegrityError
        If the bundle was changed.
    """
    bundle = open_bundle(cfg.bundle)
    log = bundle.task.open() if cfg.log is None else EventLog.open(cfg.log)
    cutoff = bundle.cutoff(log, cfg.cutoff)
    closed = require_labels(log, Cutoff(min(cutoff.day, log.last_day + 1) - cutoff.horizon, cutoff.horizon))
    if closed.day <= log.first_day:
        raise ConfigurationError(
            f"no label window of {cutoff.horizon} days is complete before {cutoff}; give a later cutoff"
        )
    session = bundle.session()

    def model(inputs: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
        return verify.run_session(session, inputs)

    training = verify.load_arrays(bundle.folder / FILE)
    say(f"inputs and scores at {cutoff}")
    current = draw_sample(*bundle.features_at(log, cutoff), model, cfg.customers)
    say(f"calibration at {closed}")
    labelled_sample = draw_sample(*bundle.features_at(log, closed), model, cfg.customers, log)
    index: dict[str, float] = {}
    for name, values in current.columns.items():
        group = stability_index(training[f"{name}_counts"], binned(values, training[f"{name}_edges"]))
        names = bundle.manifest["features"].get(name) or bundle.manifest["window"][name]
        index |= {f"{name}.{column}": float(value) for column, value in zip(names, group, strict=True)}
    scores = stability_index(training["score_counts"], binned(current.score[:, None], training["score_edges"]))
    return DriftReport(
        cutoff=str(cutoff),
        window=bundle.manifest["window"]["cutoff"],
        stability_index=index,
        score_index=float(scores[0]),
        training_calibration=float(training["calibration"]),
        current_calibration=labelled_sample.calibration,
        thresholds={name: float(getattr(cfg, name)) for name in ("inputs", "share", "scores", "calibration")},
    )


def draw_sample(
    features: Features, market_stats: MarketStats, model: Model, customers: int, labels: EventLog | None = None
) -> DriftSample:
    """Inputs and scores of customers with a purchase, selected by a hash of the id.

    Parameters
    ----------
    features : Features
        Features of the log before the cutoff.
    market_stats : MarketStats
        Market statistics of the cutoff.
    model : callable
        Maps inputs by name to outputs by name.
    customers : int
        Maximum number of customers.
    labels : EventLog, optional
        Log with the label window; without it, no purchases are counted.

    Returns
    -------
    DriftSample
        With at most about `MAX_PAIRS` pairs.
    """
    rows = features.log.purchasers(market_stats.cutoff.day)
    ids = features.log.customers["customer"].cast(pl.String)
    tie_break = ids.hash(seed=1).to_numpy()[rows]
    rows = np.sort(rows[np.argsort(tie_break, kind="stable")[:customers]])
    step = max(rows.size * len(features.offers) // MAX_PAIRS, 1)
    parts: list[tuple[np.ndarray, ...]] = []
    expected = 0.0
    for start in range(0, rows.size, BLOCK):
        inputs: Any = features.inputs(market_stats, rows[start : start + BLOCK])
        score = model(inputs._asdict())["probability"]
        expected += float(score.sum(dtype=np.float64))
        pair = inputs.pair.reshape(-1, inputs.pair.shape[-1])
        parts.append((pair[::step], inputs.customer_features, score.reshape(-1)[::step]))
    pairs, customer_columns, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    columns = {"pair": pairs, "customer": customer_columns, "context": np.asarray(market_stats.context)}
    observed = 0.0 if labels is None else count_purchases(features, market_stats.cutoff, rows, labels)
    return DriftSample(columns, scores, expected, observed)


def count_purchases(features: Features, cutoff: Cutoff, rows: np.ndarray, labels: EventLog) -> float:
    """Number of pairs with a purchase in the horizon.

    Parameters
    ----------
    features : Features
        Features of the log before the cutoff.
    cutoff : Cutoff
        Day and horizon.
    rows : ndarray of int
        Rows of the customers in the log of `features`.
    labels : EventLog
        Log with the label window.

    Returns
    -------
    float
        Pairs with a purchase, over all offers.
    """
    full = type(features)(labels, features.offers, features.vocabulary, features.config)
    row_of = {customer: row for row, customer in enumerate(labels.customers["customer"].to_list())}
    label_rows = np.array([row_of[each] for each in features.log.customers["customer"].gather(rows).to_list()])
    observed = 0.0
    for start in range(0, rows.size, BLOCK):
        observed += float(full.outcomes(cutoff, label_rows[start : start + BLOCK]).bought.sum())
    return observed


def training_window(cutoff_data: CutoffData, model: Model, customers: int, labels: EventLog) -> dict[str, np.ndarray]:
    """Histograms and calibration of the training window, for `FILE`.

    Parameters
    ----------
    cutoff_data : CutoffData
        Features and market statistics of the last training cutoff.
    model : callable
        Maps inputs by name to outputs by name.
    customers : int
        Maximum number of customers.
    labels : EventLog
        Log with the label window.

    Returns
    -------
    dict of str to ndarray
        Bin edges and counts of each group of columns and of the scores, and `calibration`.
    """
    sample = draw_sample(cutoff_data.features, cutoff_data.market_stats, model, customers, labels)
    arrays: dict[str, np.ndarray] = {}
    for name, values in (sample.columns | {"score": sample.score[:, None]}).items():
        edges = edges_of(values)
        arrays |= {f"{name}_edges": edges, f"{name}_counts": binned(values, edges)}
    return arrays | {"calibration": np.array(sample.calibration)}
