"""Whether the world still looks as it did in training: inputs, scores, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.cutoff import Cutoff, labelled
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, GateError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats
from propensity.metric.drift import binned, edges_of, stability_index
from propensity.serving import verify
from propensity.serving.bundle import open_bundle
from propensity.task import CutoffData

FILE = "window.npz"  # of a bundle: the training window in counts
PAIRS = 200_000  # pairs at most whose columns are looked at
BLOCK = 256
Answers = Callable[[Any], Any]
Say = Callable[[str], None]


class Sample(NamedTuple):
    """Some customers at a date: names (K,), columns (n, K) of pairs or customers by group, scores (n,), and sums of
    expected and observed purchases; the latter 0 where labels are not closed."""

    columns: dict[str, np.ndarray]
    score: np.ndarray
    expected: float
    observed: float


@dataclass(frozen=True)
class DriftReport:
    """index: population stability index by column; scores: the same of the scores; expected over observed purchases in
    the training window (`then`) and in the last closed window before the cutoff (`now`); limits as asked."""

    cutoff: str
    window: str
    index: dict[str, float]
    scores: float
    then: float
    now: float
    limits: dict[str, float]

    @property
    def moved(self) -> list[str]:
        """Columns past the limit, furthest first."""
        past = [name for name, value in self.index.items() if value > self.limits["inputs"]]
        return sorted(past, key=lambda name: -self.index[name])

    @property
    def factor(self) -> float:
        """By how much calibration has changed, 1 or more."""
        ratio = self.now / self.then if self.then > 0 and self.now > 0 else float("inf")
        return max(ratio, 1 / ratio) if ratio > 0 else float("inf")

    @property
    def alarms(self) -> list[str]:
        """A sentence for each limit that was passed."""
        found = []
        if len(self.moved) > self.limits["share"] * len(self.index):
            worst = f"{self.moved[0]} most, {self.index[self.moved[0]]:.2f}"
            found.append(f"{len(self.moved)} of {len(self.index)} inputs moved ({worst})")
        if self.scores > self.limits["scores"]:
            found.append(f"scores moved by {self.scores:.2f}")
        if self.factor > self.limits["calibration"]:
            found.append(f"expected over observed purchases went from {self.then:.2f} to {self.now:.2f}")
        return found

    def require(self) -> None:
        """GateError where a limit was passed."""
        if self.alarms:
            raise GateError(f"drift at {self.cutoff}: {'; '.join(self.alarms)}; train again")


def drift(cfg: Any, say: Say) -> DriftReport:
    """Compares `cfg.cutoff` with the training window of `cfg.bundle`; see conf/drift.yaml for the limits."""
    bundle = open_bundle(cfg.bundle)
    log = bundle.task.open() if cfg.log is None else EventLog.open(cfg.log)
    date = bundle.date(log, cfg.cutoff)
    closed = labelled(log, Cutoff(min(date.day, log.last_day + 1) - date.horizon, date.horizon))
    if closed.day <= log.first_day:
        raise ConfigurationError(f"no horizon of {date.horizon} days closed before {date}; give a later cutoff")
    running = bundle.session()
    then = verify.arrays(bundle.folder / FILE)
    say(f"inputs and scores at {date}")
    now = sample(*bundle.at(log, date), lambda asked: verify.answer(running, asked), cfg.customers)
    say(f"calibration at {closed}")
    known = sample(*bundle.at(log, closed), lambda asked: verify.answer(running, asked), cfg.customers, log)
    index: dict[str, float] = {}
    for name, values in now.columns.items():
        found = stability_index(then[f"{name}_counts"], binned(values, then[f"{name}_edges"]))
        names = bundle.about["rule"].get(name) or bundle.about["window"][name]
        index |= {f"{name}.{column}": float(value) for column, value in zip(names, found, strict=True)}
    scores = stability_index(then["score_counts"], binned(now.score[:, None], then["score_edges"]))
    return DriftReport(
        cutoff=str(date),
        window=bundle.about["window"]["cutoff"],
        index=index,
        scores=float(scores[0]),
        then=float(then["calibration"]),
        now=known.expected / max(known.observed, 1e-9),
        limits={name: float(cfg[name]) for name in ("inputs", "share", "scores", "calibration")},
    )


def sample(
    features: Features, market_stats: MarketStats, answers: Answers, customers: int, labels: EventLog | None = None
) -> Sample:
    """At most `customers` purchasers, chosen by a hash of the id; what they bought in the horizon is counted where
    `labels`, a log that holds it, is given."""
    rows = features.log.purchasers(market_stats.cutoff.day)
    ids = features.log.customers["customer"].cast(pl.String)
    tie_break = ids.hash(seed=1).to_numpy()[rows]
    rows = np.sort(rows[np.argsort(tie_break, kind="stable")[:customers]])
    step = max(rows.size * len(features.offers) // PAIRS, 1)
    parts: list[tuple[np.ndarray, ...]] = []
    expected, observed = 0.0, 0.0
    for start in range(0, rows.size, BLOCK):
        block = rows[start : start + BLOCK]
        inputs: Any = features.inputs(market_stats, block)
        score = answers(inputs._asdict())["probability"]
        expected += float(score.sum(dtype=np.float64))
        pair = inputs.pair.reshape(-1, inputs.pair.shape[-1])
        parts.append((pair[::step], inputs.customer, score.reshape(-1)[::step]))
    if labels is not None:
        full = type(features)(labels, features.offers, features.vocabulary, features.config)
        place = {each: row for row, each in enumerate(labels.customers["customer"].to_list())}
        known = np.array([place[each] for each in features.log.customers["customer"].gather(rows).to_list()])
        for start in range(0, rows.size, BLOCK):
            observed += float(full.outcomes(market_stats.cutoff, known[start : start + BLOCK]).bought.sum())
    pairs, people, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    columns = {"pair": pairs, "customer": people, "context": np.asarray(market_stats.context)}
    return Sample(columns, scores, expected, observed)


def window(cutoff_data: CutoffData, answers: Answers, customers: int, labels: EventLog) -> dict[str, np.ndarray]:
    """The training window in counts, for `FILE`."""
    found = sample(cutoff_data.features, cutoff_data.market_stats, answers, customers, labels)
    made: dict[str, np.ndarray] = {}
    for name, values in (found.columns | {"score": found.score[:, None]}).items():
        edges = edges_of(values)
        made |= {f"{name}_edges": edges, f"{name}_counts": binned(values, edges)}
    return made | {"calibration": np.array(found.expected / max(found.observed, 1e-9))}
