"""Evaluation on requests: ranking, retrieval and calibration of the pairs of customers at cutoffs of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.audit import append_beside
from propensity.catalogue.model import TrainedCatalogue, catalogue_offers, is_catalogue, load_catalogue
from propensity.catalogue.outcome import Outcomes, outcomes_of
from propensity.catalogue.requests import Requests, all_purchasers, read_requests, resolve
from propensity.catalogue.score import Rows, request_warnings, rows_of_requests
from propensity.catalogue.train import require_closed
from propensity.config import EvaluateConfig
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog
from propensity.engine.block import require_local
from propensity.errors import ConfigurationError
from propensity.metric.calibration import equal_mass_bin, log_loss, reliability
from propensity.metric.interval import bootstrap_interval, resample_weights
from propensity.metric.ranking import auc
from propensity.training.checkpoint import load_trained

FILE = "request_metrics.json"
CUTS = (10, 20)  # lengths of the lists whose recall is measured
BINS = 15


def on_requests(cfg: EvaluateConfig) -> bool:
    """Whether an evaluation is of requests: of a table of them, or of a run that was trained on one."""
    return cfg.requests is not None or is_catalogue(cfg.run)


def evaluate_on_requests(cfg: EvaluateConfig, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Evaluate a run on requests whose label windows have closed.

    Parameters
    ----------
    cfg : EvaluateConfig
        `run`, and either `requests` or `cutoffs`; `resamples` and `seed` of the bootstrap over customers.
    say : callable
        Receives warnings.

    Returns
    -------
    dict
        The content of request_metrics.json: `metrics` of pairs and of lists, each with an interval, the `reliability`
        table, `counts` and `warnings`.

    Raises
    ------
    ConfigurationError
        If neither or both of `requests` and `cutoffs` are given, a label window is not complete, or nobody or
        everybody bought.
    DataError
        If the table of requests cannot be used.
    """
    if (cfg.requests is None) == (cfg.cutoffs is None):
        which = "not both" if cfg.requests is not None else f"{cfg.run} was trained on a table of requests"
        raise ConfigurationError(
            f"give requests=<table> to evaluate on requests, or cutoffs=[YYYY-MM-DD] for everybody at them ({which})"
        )
    require_local(instantiate(cfg.engine), "evaluations on requests")
    if cfg.also or cfg.metrics:
        raise ConfigurationError("also and metrics compare runs at common cutoffs; leave them out with requests")
    trained = load_catalogue(cfg.run) if is_catalogue(cfg.run) else load_trained(cfg.run)
    table = None if cfg.requests is None else read_requests(cfg.requests)
    log, warnings = trained.task.open(), list[str]()
    offers = catalogue_offers(log, trained.task)
    if table is not None:
        requests = resolve(table, log, offers.name, str(cfg.requests), warnings.append)
    else:
        requests = everybody(log, [str(day) for day in cfg.cutoffs or ()], trained.task.horizon)
    require_closed(requests, log, log.last_day + 1, trained.task.horizon, "evaluation requests")
    warnings += request_warnings(log, requests, trained.task.horizon, trained.about["last_label"])
    rows = rows_of_requests(trained, Path(cfg.run), log, offers, requests, None, warnings)
    outcomes = outcomes_of(log, offers, requests, trained.task.horizon)
    result = measured(log, requests, rows, outcomes, cfg)
    result["warnings"] = warnings
    kind = "requests" if isinstance(trained, TrainedCatalogue) else "common cutoffs"
    result["run"] = {"folder": cfg.run, "trained_on": kind, "data": log.fingerprint, "horizon": trained.task.horizon}
    result["run"] |= {"requests": cfg.requests, "cutoffs": cfg.cutoffs, "resamples": cfg.resamples, "seed": cfg.seed}
    for warning in warnings:
        say(warning)
    with whole_file(Path(cfg.run) / FILE) as draft:
        draft.write_text(json.dumps(result, indent=1))
    entry = {"model": cfg.run, "log": str(log.folder), "fingerprint": log.fingerprint, "cutoff": "requests"}
    append_beside(Path(cfg.run).parent, Path(cfg.run) / FILE, "evaluate", entry)
    return result


def everybody(log: EventLog, cutoffs: list[str], horizon: int) -> Requests:
    """A request for each customer with a purchase before each of the cutoffs."""
    if not cutoffs:
        raise ConfigurationError("no cutoff to evaluate; give cutoffs=[YYYY-MM-DD,...]")
    days = sorted({parse_cutoff(log, day, horizon).day for day in cutoffs})
    parts = [all_purchasers(log, day) for day in days]
    return Requests(np.concatenate([part.customer for part in parts]), np.concatenate([part.day for part in parts]))


def measured(
    log: EventLog, requests: Requests, rows: Rows, outcomes: Outcomes, cfg: EvaluateConfig
) -> dict[str, Any]:  # fmt: skip
    """Metrics of scored pairs, by the purchases of their requests.

    Parameters
    ----------
    log : EventLog
        The log.
    requests : Requests
        R requests.
    rows : Rows
        P scored pairs.
    outcomes : Outcomes
        Purchases of the requests, of offers that were scored and of others.
    cfg : EvaluateConfig
        `resamples` and `seed`.
    """
    request = positions_of(requests, rows)
    scored = Pairing(request * outcomes.offers + rows.offer)
    place = scored.find(outcomes.request * outcomes.offers + outcomes.offer)  # pair of each purchase, -1 without one
    bought, revenue = np.zeros(request.size, bool), np.zeros(request.size)
    bought[place[place >= 0]], revenue[place[place >= 0]] = True, outcomes.revenue[place >= 0]
    if not bought.any() or bought.all():
        who = "nobody" if not bought.any() else "everybody"
        raise ConfigurationError(f"{who} bought what was scored; give requests with purchases to evaluate")
    owner = requests.customer[request]
    customers, number = np.unique(owner, return_inverse=True)
    weight = resample_weights([log.customer_id[customers]], cfg.resamples, cfg.seed)[0].astype(np.float64)

    def ratio(over: np.ndarray, under: np.ndarray, where: np.ndarray | None = None) -> dict[str, float | None]:
        """Interval of a ratio of sums over pairs."""
        own = number if where is None else number[where]
        sums = [np.bincount(own, weights=values, minlength=customers.size) @ weight for values in (over, under)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return _interval(sums[0] / sums[1])

    new = np.isin(scored.key, outcomes.past, invert=True)
    metrics = {
        "auc": _interval(_auc(rows.score, bought, weight, number)),
        "calibration_error": _interval(_calibration_errors(rows.score, bought, number, weight)),
        "expected_over_observed": ratio(rows.score, bought.astype(float)),
        "expected_over_observed_repeat": ratio(rows.score[~new], bought[~new].astype(float), ~new),
        "expected_over_observed_never_bought": ratio(rows.score[new], bought[new].astype(float), new),
        "revenue_expected_over_observed": ratio(rows.revenue, revenue),
    }
    metrics |= list_metrics(requests, outcomes, rank_of(request, rows), place, customers, weight)
    table = reliability(np.clip(rows.score, 0, 1), bought, BINS)
    return {
        "metrics": metrics,
        "log_loss": log_loss(np.clip(rows.score, 0, 1), bought),
        "reliability": [
            {"predicted": float(p), "observed": float(o), "pairs": int(n)} for p, o, n in zip(*table, strict=True)
        ],
        "counts": {
            "requests": requests.number,
            "scored_requests": int(np.unique(request).size),
            "customers": int(customers.size),
            "pairs": int(request.size),
            "purchases": int(outcomes.request.size),
            "purchases_scored": int((place >= 0).sum()),
        },
    }


class Pairing:
    """Numbers of pairs, and where each stands."""

    def __init__(self, key: np.ndarray) -> None:
        self.key, self.order = key, np.argsort(key)

    def find(self, key: np.ndarray) -> np.ndarray:
        """Places (K,) of keys (K,), -1 for those that are not there."""
        if self.key.size == 0:
            return np.full(key.size, -1)
        place = self.order[np.minimum(np.searchsorted(self.key, key, sorter=self.order), self.key.size - 1)]
        return np.where(self.key[place] == key, place, -1)


def positions_of(requests: Requests, rows: Rows) -> np.ndarray:
    """Position of the request of each scored pair (P,)."""
    fields = zip((requests.day, requests.clocks, requests.customer), (rows.day, rows.clock, rows.customer), strict=True)
    code, known = np.zeros(rows.day.size, np.int64), np.zeros(requests.number, np.int64)
    for own, asked in fields:
        values = np.unique(own)
        known = known * (values.size + 1) + np.searchsorted(values, own)
        code = code * (values.size + 1) + np.searchsorted(values, asked)
    return Pairing(known).find(code)


def rank_of(request: np.ndarray, rows: Rows) -> np.ndarray:
    """Rank from 0 of each scored pair (P,) among those of its request."""
    order = np.lexsort((rows.offer, -rows.score, request))
    sorted_request = request[order]
    rank = np.empty(request.size, np.int64)
    rank[order] = np.arange(request.size) - np.searchsorted(sorted_request, sorted_request)
    return rank


def list_metrics(
    requests: Requests, outcomes: Outcomes, rank: np.ndarray, place: np.ndarray, customers: np.ndarray,
    weight: np.ndarray,
) -> dict[str, dict[str, float | None]]:  # fmt: skip
    """Recall, NDCG and share of requests with a hit of the best offers: means over requests that buy.

    Notes
    -----
    As in Li et al., A Next Basket Recommendation Reality Check, TOIS 2023: `repeat` and `never_bought` are means over
    the requests that buy such an offer. `recall_scored` is the recall of all offers that are scored.
    """
    known = np.isin(requests.customer[outcomes.request], customers)
    request, repeat, place = outcomes.request[known], outcomes.repeat[known], place[known]
    rank = np.where(place >= 0, rank[np.maximum(place, 0)], np.iinfo(np.int64).max)
    own = np.searchsorted(customers, requests.customer)
    basket = np.bincount(request, minlength=requests.number)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, basket.max(initial=0) + 2)))])

    def mean(values: np.ndarray, where: np.ndarray) -> dict[str, float | None]:
        chosen = np.flatnonzero(where)
        sums = [
            np.bincount(own[chosen], weights=each[chosen], minlength=customers.size) @ weight
            for each in (values, np.ones(values.size))
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            return _interval(sums[0] / sums[1])

    def recall(hit: np.ndarray, of: np.ndarray) -> dict[str, float | None]:
        total = np.bincount(request, weights=of, minlength=requests.number)
        hits = np.bincount(request, weights=of & hit, minlength=requests.number)
        return mean(hits / np.maximum(total, 1), total > 0)

    every = np.ones(request.size, bool)
    result = {"recall_scored": recall(place >= 0, every)}
    for cut in CUTS:
        hit = rank < cut
        gain = np.bincount(request, weights=np.where(hit, 1 / np.log2(np.minimum(rank, cut) + 2), 0.0),
                           minlength=requests.number)  # fmt: skip
        any_hit = np.bincount(request, weights=hit, minlength=requests.number) > 0
        result |= {
            f"recall@{cut}": recall(hit, every),
            f"ndcg@{cut}": mean(gain / np.maximum(ideal[basket], 1e-9), basket > 0),
            f"phr@{cut}": mean(any_hit.astype(float), basket > 0),
            f"recall@{cut}_repeat": recall(hit, repeat),
            f"recall@{cut}_never_bought": recall(hit, ~repeat),
        }
    return result


def _auc(score: np.ndarray, bought: np.ndarray, weight: np.ndarray, number: np.ndarray) -> np.ndarray:
    """AUC of all pairs for every weight column: (W,)."""
    order = np.argsort(score, kind="stable")
    values, hits, own = score[order], bought[order], number[order]
    first = np.flatnonzero(np.append(True, np.diff(values) > 0))  # of each group of equal scores
    areas = np.empty(weight.shape[1])
    areas[0] = auc(score, bought)
    for column in range(1, weight.shape[1]):
        w = weight[own, column]
        positive, negative = (np.add.reduceat(w * which, first) for which in (hits, ~hits))
        below = np.cumsum(negative) - negative / 2
        total = positive.sum() * negative.sum()
        areas[column] = (positive * below).sum() / total if total > 0 else np.nan
    return areas


def _calibration_errors(score: np.ndarray, bought: np.ndarray, number: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Calibration error of all pairs for every weight column, with the bins of the full sample: (W,)."""
    cell = number * BINS + equal_mass_bin(score, BINS)
    size = weight.shape[0] * BINS
    excess = np.bincount(cell, weights=score - bought, minlength=size).reshape(-1, BINS)
    pairs = np.bincount(number, minlength=weight.shape[0])
    error: np.ndarray = np.abs(weight.T @ excess).sum(axis=1) / np.maximum(pairs @ weight, 1)
    return error


def _interval(values: np.ndarray) -> dict[str, float | None]:
    """Value, low and high; None for what is not defined."""
    interval = bootstrap_interval(values)
    return {name: value if np.isfinite(value) else None for name, value in interval._asdict().items()}
