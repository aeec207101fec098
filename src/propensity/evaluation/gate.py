"""What a run must pass before anybody relies on it: one sentence for each check, and no run passes by half."""

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
from propensity.evaluation.canary import planted
from propensity.evaluation.evaluate import cutoff_data_of
from propensity.evaluation.leakage import CUSTOMERS, informed, suspects
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStatsBuilder
from propensity.scores import Scores, load_scores
from propensity.task import CutoffData
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.predict import predict

TOLERANCE = 1e-5  # between scores of one network on machines that add in another order


class Finding(NamedTuple):
    """What a check came to, in words."""

    check: str
    passed: bool
    sentence: str


class Candidate(NamedTuple):
    """The run under test, at the first send date it was judged at."""

    cfg: GateConfig
    trained: Trained
    log: EventLog
    day: str
    metrics: dict[str, Any] | None


def gate(cfg: GateConfig) -> list[Finding]:
    """Puts `cfg.run` through `cfg.checks`, in their order.

    Raises: ConfigurationError for a check that does not exist, or a run that was not judged where a check asks for it.
    """
    if unknown := [name for name in cfg.checks if name not in CHECKS]:
        raise ConfigurationError(f"no check {unknown[0]!r}; checks holds {', '.join(CHECKS)}")
    trained = load_trained(cfg.run)
    log = trained.task.open()
    judged = Path(cfg.run) / "metrics.json"
    metrics = json.loads(judged.read_text()) if judged.is_file() else None
    day = min(metrics["counts"]) if metrics else trained.about["end"]
    candidate = Candidate(cfg, trained, log, day, metrics)
    return [Finding(name, *CHECKS[name](candidate)) for name in cfg.checks]


def finite(candidate: Candidate) -> tuple[bool, str]:
    """Weights, scores and metrics are numbers, probabilities lie in [0, 1], and no revenue is negative."""
    bad = [name for name, value in candidate.trained.model.state_dict().items() if not _finite(value)]
    if bad:
        return False, f"weight {bad[0]} holds values that are not finite"
    scores = fresh(candidate)
    for name, grid, highest in (("probability", scores.probability, 1.0), ("revenue", scores.revenue, np.inf)):
        if not (np.isfinite(grid).all() and (grid >= 0).all() and (grid <= highest).all()):
            return False, f"{name} at {candidate.day} reaches from {grid.min()} to {grid.max()}"
    if lost := _not_finite(candidate.metrics):
        return False, f"metrics.json holds a value that is not finite at {lost}"
    return True, f"weights, {scores.probability.size:,} scores at {candidate.day} and metrics are finite"


def deterministic(candidate: Candidate) -> tuple[bool, str]:
    """The network says the same twice, in blocks of any size, and what its table of scores says."""
    first, again = fresh(candidate), fresh(candidate)
    if not np.array_equal(first.probability, again.probability) or not np.array_equal(first.revenue, again.revenue):
        return False, f"two answers at {candidate.day} differ by {_gap(first, again):.2g}"
    if (gap := _gap(first, fresh(candidate, pairs=8192))) > TOLERANCE:
        return False, f"scores at {candidate.day} depend on the block they are computed in, by {gap:.2g}"
    stored = Path(candidate.cfg.run) / "scores.parquet"
    kept = [s for s in load_scores(stored) if s.cutoff == candidate.day] if stored.is_file() else []
    if kept and (gap := _gap(first, kept[0])) > TOLERANCE:
        return False, f"{stored} at {candidate.day} differs from what the network says now by {gap:.2g}"
    return True, f"the same scores at {candidate.day} every time" + (" and in scores.parquet" if kept else "")


def no_leak(candidate: Candidate) -> tuple[bool, str]:
    """No input, and no score, changes with what happens at or after the cutoff; no column alone knows too much."""
    trained, log, day = candidate.trained, candidate.log, to_day(candidate.day)
    early = [each for each in (candidate.metrics or {}).get("counts", {}) if each < trained.about["end"]]
    if early:
        return False, f"the run was judged at {early[0]}, before its last training label ({trained.about['end']})"
    settings = candidate.cfg.evaluate

    def sent(world: EventLog) -> CutoffData:
        return cutoff_data_of(trained, world, candidate.day)

    def bird(make: Callable[[EventLog], CutoffData]) -> Callable[[EventLog], CutoffData]:
        if not settings.canary:
            return make
        kind = "pair" if settings.canary is True else str(settings.canary)
        return lambda world: planted(make(world), world, kind, settings.name)

    learned, first = learner(trained, log)
    for make, cutoff, place in ((bird(sent), day, "at a send date"), (bird(learned), first, "in training")):
        if found := informed(make, log, cutoff, candidate.cfg.seed):
            return False, f"{', '.join(found)} changed with what happened after the cutoff, {place}"
    cutoff_data = bird(sent)(log)
    rows = np.unique(
        np.linspace(0, cutoff_data.row.size - 1, min(CUSTOMERS, cutoff_data.row.size)).astype(int)
    )
    if strong := suspects(cutoff_data, _bought(log, cutoff_data, rows), rows, candidate.cfg.highest_auc):
        name, value = next(iter(strong.items()))
        return False, f"{name} alone ranks the buyers of {candidate.day} with AUC {value:.3f}: it knows too much"
    return True, f"no input of {candidate.day} or of training changes when the future is rewritten or deleted"


def beats_baseline(candidate: Candidate) -> tuple[bool, str]:
    """The network's metric is better than the baseline's, with the whole interval of the difference."""
    cfg, metrics = candidate.cfg, candidate.metrics
    if metrics is None:
        raise ConfigurationError(f"{cfg.run} was not judged; run propensity evaluate run={cfg.run}")
    if cfg.against not in metrics["differences"]:
        found = ", ".join(metrics["differences"]) or "none"
        raise ConfigurationError(
            f"against={cfg.against} was not judged in {cfg.run} (rivals: {found}); name one of them"
        )
    cells = metrics["differences"][cfg.against]["mean"]["all"]
    if cfg.metric not in cells:
        raise ConfigurationError(
            f"metric={cfg.metric} is not in {cfg.run}/metrics.json; give one of {', '.join(cells)}"
        )
    cell = cells[cfg.metric]
    if cell["verdict"] is None:
        return False, f"no verdict on {cfg.metric} against {cfg.against}: {cell.get('reason')}"
    bootstrap_interval = f"{cell['value']:+.4f} [{cell['low']:+.4f}, {cell['high']:+.4f}]"
    return cell["verdict"] == "win", f"{cfg.metric} minus {cfg.against}'s is {bootstrap_interval}: a {cell['verdict']}"


CHECKS: dict[str, Callable[[Candidate], tuple[bool, str]]] = {
    "finite": finite,
    "deterministic": deterministic,
    "no_leak": no_leak,
    "beats_baseline": beats_baseline,
}


def fresh(candidate: Candidate, pairs: int = 131_072) -> Scores:
    """What the network says at the candidate's date, from the log."""
    return predict(
        candidate.trained.model, cutoff_data_of(candidate.trained, candidate.log, candidate.day), pairs=pairs
    )


def learner(trained: Trained, log: EventLog) -> tuple[Callable[[EventLog], CutoffData], int]:
    """How the last training date is prepared, from a log that reaches past it; and the day it stands for.

    In training the log holds the label window: only the kernels' own inequality keeps it out of the inputs.
    """
    task, end = trained.task, to_day(trained.about["end"])
    cutoff = parse_cutoff(log, trained.about["cutoffs"][-1], task.horizon)
    every = offers_before(log, task.offer, end)
    offers = every.take(np.flatnonzero(np.isin(every.name, trained.vocabulary.offers)))

    def make(world: EventLog) -> CutoffData:
        features = Features(world, offers, trained.vocabulary, task.feature)
        market_stats = MarketStatsBuilder(world, offers, task.horizon, task.market_stats).at(cutoff)
        return CutoffData(features, market_stats, world.purchasers(cutoff.day))

    return make, cutoff.day


def _bought(log: EventLog, cutoff_data: CutoffData, rows: np.ndarray) -> np.ndarray:
    features = cutoff_data.features
    found = np.searchsorted(log.customer_id, cutoff_data.customer_id[rows])
    later = Features(log, features.offers, features.vocabulary, features.config)
    return np.asarray(later.outcomes(cutoff_data.market_stats.cutoff, found).bought) > 0


def _gap(a: Scores, b: Scores) -> float:
    if a.probability.shape != b.probability.shape:
        return float("inf")
    return float(np.abs(a.probability.astype(np.float64) - b.probability).max())


def _finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _not_finite(node: Any, path: str = "") -> str | None:
    """Where in nested containers the first float lies that is none."""
    if isinstance(node, float) and not np.isfinite(node):
        return path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return next((found for key, child in children if (found := _not_finite(child, f"{path}/{key}"))), None)
