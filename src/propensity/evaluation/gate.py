"""Release checks of a run: finite values, determinism, no leakage, calibrated totals, and level with every baseline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from propensity.config import GateConfig
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog, to_day
from propensity.data.offer import offers_before
from propensity.errors import ConfigurationError
from propensity.evaluation.canary import add_canary
from propensity.evaluation.evaluate import NETWORK, cutoff_data_of
from propensity.evaluation.labels import outcomes_in
from propensity.evaluation.leakage import CUSTOMERS, changed_inputs, high_auc_columns
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStatsBuilder
from propensity.metric.headline import served_model
from propensity.metric.warning import better_baselines, interval_of, meets
from propensity.scores import Scores, load_scores
from propensity.task import CutoffData
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.predict import predict

TOLERANCE = 1e-5  # of scores of one network on machines that add in another order


class CheckResult(NamedTuple):
    """Result of one check, with a sentence that explains it."""

    check: str
    passed: bool
    message: str


class GateContext(NamedTuple):
    """The run under test.

    Parameters
    ----------
    cfg : GateConfig
        Settings of the checks.
    trained : Trained
        The network with its task.
    log : EventLog
        The log.
    day : str
        ISO date of the first evaluated cutoff; of the end of the training labels if the run was not evaluated.
    metrics : dict or None
        The content of metrics.json; None if the run was not evaluated.
    """

    cfg: GateConfig
    trained: Trained
    log: EventLog
    day: str
    metrics: dict[str, Any] | None


def gate(cfg: GateConfig) -> list[CheckResult]:
    """Check a run.

    Parameters
    ----------
    cfg : GateConfig
        Run, checks and their settings.

    Returns
    -------
    list of CheckResult
        In the order of `cfg.checks`.

    Raises
    ------
    ConfigurationError
        For a check that does not exist, limits that are no pair, or a run that was not evaluated where a check needs
        its metrics.
    """
    if unknown := [name for name in cfg.checks if name not in CHECKS]:
        raise ConfigurationError(f"no check {unknown[0]!r}; checks holds {', '.join(CHECKS)}")
    limits = list(cfg.calibration)
    if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
        raise ConfigurationError(f"calibration={limits} is no pair of limits; give two such as [0.8,1.25]")
    trained = load_trained(cfg.run)
    log = trained.task.open()
    file = Path(cfg.run) / "metrics.json"
    metrics = json.loads(file.read_text()) if file.is_file() else None
    day = min(metrics["counts"]) if metrics else trained.about["last_label"]
    context = GateContext(cfg, trained, log, day, metrics)
    return [CheckResult(name, *CHECKS[name](context)) for name in cfg.checks]


def finite(context: GateContext) -> tuple[bool, str]:
    """Check that weights, scores and metrics are finite, probabilities lie in [0, 1], and no revenue is negative."""
    bad = [name for name, value in context.trained.model.state_dict().items() if not _finite(value)]
    if bad:
        return False, f"weight {bad[0]} holds values that are not finite"
    scores = rescore(context)
    for name, values, highest in (("probability", scores.probability, 1.0), ("revenue", scores.revenue, np.inf)):
        if not (np.isfinite(values).all() and (values >= 0).all() and (values <= highest).all()):
            return False, f"{name} at {context.day} reaches from {values.min()} to {values.max()}"
    if path := _not_finite(context.metrics):
        return False, f"metrics.json holds a value that is not finite at {path}"
    return True, f"weights, {scores.probability.size:,} scores at {context.day} and metrics are finite"


def deterministic(context: GateContext) -> tuple[bool, str]:
    """Check that the network's scores are equal in a second pass, in blocks of another size, and to the stored ones."""
    first, second = rescore(context), rescore(context)
    if not np.array_equal(first.probability, second.probability) or not np.array_equal(first.revenue, second.revenue):
        return False, f"two passes at {context.day} differ by {_difference(first, second):.2g}"
    if (difference := _difference(first, rescore(context, pairs=8192))) > TOLERANCE:
        return False, f"scores at {context.day} depend on the block they are computed in, by {difference:.2g}"
    served = served_model(context.metrics) if context.metrics else NETWORK
    file = Path(context.cfg.run) / ("scores.parquet" if served == NETWORK else f"{NETWORK}.parquet")
    stored = [scores for scores in load_scores(file) if scores.cutoff == context.day] if file.is_file() else []
    if stored and (difference := _difference(first, stored[0])) > TOLERANCE:
        return False, f"{file} at {context.day} differs from the network's scores by {difference:.2g}"
    return True, f"the same scores at {context.day} every time" + (f" and in {file.name}" if stored else "")


def no_leak(context: GateContext) -> tuple[bool, str]:
    """Check that no input changes with events at or after the cutoff, and no single column has a very high AUC."""
    trained, log, day = context.trained, context.log, to_day(context.day)
    early = [each for each in (context.metrics or {}).get("counts", {}) if each < trained.about["last_label"]]
    if early:
        return (
            False,
            f"the run was evaluated at {early[0]}, before its last training label ({trained.about['last_label']})",
        )

    def scoring(other_log: EventLog) -> CutoffData:
        return cutoff_data_of(trained, other_log, context.day)

    training, training_day = training_cutoff(trained, log)
    scoring_canary = _with_canary(scoring, context.cfg)
    for prepare, cutoff, where in (
        (scoring_canary, day, "in scoring"),
        (_with_canary(training, context.cfg), training_day, "in training"),
    ):
        if changed := changed_inputs(prepare, log, cutoff, context.cfg.seed):
            return False, f"{', '.join(changed)} changed with events at or after the cutoff, {where}"
    cutoff_data = scoring_canary(log)
    customers = cutoff_data.row.size
    rows = np.unique(np.linspace(0, customers - 1, min(CUSTOMERS, customers)).astype(int))
    if suspect := high_auc_columns(cutoff_data, _bought(log, cutoff_data, rows), rows, context.cfg.highest_auc):
        name, value = next(iter(suspect.items()))
        return False, f"{name} alone ranks the buyers of {context.day} with AUC {value:.3f}, above highest_auc"
    return True, f"no input of {context.day} or of training changes when the future is shuffled or removed"


def beats_baseline(context: GateContext) -> tuple[bool, str]:
    """Check that the served model's metric is better than the baseline's by the whole interval of the difference."""
    cfg, metrics = context.cfg, _evaluated(context)
    if cfg.against not in metrics["differences"]:
        names = ", ".join(metrics["differences"]) or "none"
        raise ConfigurationError(
            f"against={cfg.against} was not evaluated in {cfg.run} (baselines: {names}); name one of them"
        )
    cells = metrics["differences"][cfg.against]["mean"]["all"]
    if cfg.metric not in cells:
        raise ConfigurationError(
            f"metric={cfg.metric} is not in {cfg.run}/metrics.json; give one of {', '.join(cells)}"
        )
    cell = cells[cfg.metric]
    if cell["verdict"] is None:
        return False, f"no verdict on {cfg.metric} against {cfg.against}: {cell.get('reason')}"
    interval = f"{cell['value']:+.4f} [{cell['low']:+.4f}, {cell['high']:+.4f}]"
    return cell["verdict"] == "win", f"{cfg.metric} minus {cfg.against}'s is {interval}: a {cell['verdict']}"


def calibrated(context: GateContext) -> tuple[bool, str]:
    """Check that expected over observed purchases and revenue of the served model meet the limits `cfg.calibration`.

    An interval outside the limits is evidence of an error; one that reaches into them is not. A total without revenue,
    or of a model that predicts none, cannot be checked and passes.
    """
    low, high = context.cfg.calibration
    metrics = _evaluated(context)
    if "expected_over_observed" not in metrics:
        run = context.cfg.run
        raise ConfigurationError(f"{run}/metrics.json has no expected_over_observed; run propensity evaluate run={run}")
    totals = metrics["expected_over_observed"][served_model(metrics)]
    if totals["purchases"]["value"] is None:
        return False, f"expected over observed purchases are undefined: {totals['purchases']['reason']}"
    passed = all(meets(totals[name], low, high) for name in ("purchases", "revenue"))
    words = [
        f"{name} {interval_of(cell) if cell['value'] is not None else 'undefined (' + cell['reason'] + ')'}"
        for name, cell in totals.items()
    ]
    return passed, f"expected over observed: {', '.join(words)}; limits {low:g} to {high:g}"


def no_better_baseline(context: GateContext) -> tuple[bool, str]:
    """Check that no model is better than the served one by the whole 95 % interval in any of `cfg.not_behind`."""
    metrics, names = _evaluated(context), list(context.cfg.not_behind)
    served = served_model(metrics)
    if not metrics["differences"]:
        return False, "no baseline was evaluated; name some with baselines=[...]"
    known = metrics["models"][served]["mean"]["all"]
    if unknown := [name for name in names if name not in known]:
        run = context.cfg.run
        raise ConfigurationError(
            f"not_behind={unknown[0]} is not in {run}/metrics.json; give some of {', '.join(known)}"
        )
    if better := better_baselines(metrics["models"], metrics["differences"], served, names):
        words = [f"{name} is better in {', '.join(lost)}" for name, lost in better.items()]
        return False, f"{'; '.join(words)} than {served}"
    return True, f"no model is better than {served} in {', '.join(names)}: {', '.join(metrics['differences'])}"


CHECKS: dict[str, Callable[[GateContext], tuple[bool, str]]] = {
    "finite": finite,
    "deterministic": deterministic,
    "no_leak": no_leak,
    "beats_baseline": beats_baseline,
    "calibrated": calibrated,
    "no_better_baseline": no_better_baseline,
}


def rescore(context: GateContext, pairs: int = 131_072) -> Scores:
    """Score the evaluated cutoff again from the log, at most `pairs` pairs at a time."""
    return predict(context.trained.model, cutoff_data_of(context.trained, context.log, context.day), pairs=pairs)


def training_cutoff(trained: Trained, log: EventLog) -> tuple[Callable[[EventLog], CutoffData], int]:
    """Describe the last training cutoff for the leakage check.

    Parameters
    ----------
    trained : Trained
        The network with its task.
    log : EventLog
        A log that covers the label window.

    Returns
    -------
    prepare : callable
        Prepares the training cutoff from a log.
    day : int
        Days since 1970-01-01 of the cutoff.

    Notes
    -----
    In training the log holds the label window, and only the comparison `day < cutoff` of the kernels excludes it from
    the inputs.
    """
    task, end = trained.task, to_day(trained.about["end"])
    cutoff = parse_cutoff(log, trained.about["cutoffs"][-1], task.horizon)
    all_offers = offers_before(log, task.offer, end)
    offers = all_offers.take(np.flatnonzero(np.isin(all_offers.name, trained.vocabulary.offers)))

    def prepare(other_log: EventLog) -> CutoffData:
        features = Features(other_log, offers, trained.vocabulary, task.feature)
        settings = task.market_stats, *task.feature.market_groups
        market_stats = MarketStatsBuilder(other_log, offers, task.horizon, *settings).at(cutoff)
        return CutoffData(features, market_stats, task.scored_rows(other_log, cutoff.day))

    return prepare, cutoff.day


def _evaluated(context: GateContext) -> dict[str, Any]:
    """The content of metrics.json."""
    if context.metrics is None:
        run = context.cfg.run
        raise ConfigurationError(f"{run} was not evaluated; run propensity evaluate run={run}")
    return context.metrics


def _with_canary(prepare: Callable[[EventLog], CutoffData], cfg: GateConfig) -> Callable[[EventLog], CutoffData]:
    """The cutoff with the canary that `cfg.evaluate` asks for, if any."""
    settings = cfg.evaluate
    if not settings.canary:
        return prepare
    kind = "pair" if settings.canary is True else str(settings.canary)
    return lambda log: add_canary(prepare(log), log, kind, settings.name)


def _bought(log: EventLog, cutoff_data: CutoffData, rows: np.ndarray) -> np.ndarray:
    """Purchases in the horizon (B, M) of the customers at positions `rows` (B,)."""
    return np.asarray(outcomes_in(log, cutoff_data, cutoff_data.row[rows]).bought) > 0


def _difference(a: Scores, b: Scores) -> float:
    """Largest absolute difference of probabilities; infinite for other shapes."""
    if a.probability.shape != b.probability.shape:
        return float("inf")
    return float(np.abs(a.probability.astype(np.float64) - b.probability).max())


def _finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _not_finite(node: Any, path: str = "") -> str | None:
    """Path of the first float in nested containers that is not finite; None if all are."""
    if isinstance(node, float) and not np.isfinite(node):
        return path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return next((place for key, child in children if (place := _not_finite(child, f"{path}/{key}"))), None)
