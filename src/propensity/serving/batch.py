"""Scoring from a bundle, part by part: flat in memory, and an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from propensity.atomic import whole_file
from propensity.data.batch import Inputs
from propensity.data.cutoff import cautions
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats
from propensity.scores import Scores
from propensity.serving.bundle import Bundle, open_bundle
from propensity.serving.point_in_time import nobody
from propensity.serving.reason import labels, reasons
from propensity.serving.top_k import TopK

REQUEST, PROGRESS = "request.json", "progress.npz"
REST = "everything else"
TOLD = pl.List(pl.Struct({"about": pl.String, "contribution": pl.Float64}))
PAIRS = 24_576  # of a block: what it holds should fit a core's own cache
Say = Callable[[str], None]


@dataclass(frozen=True)
class Stream:
    """What is written. top: only the best so many customers of each offer; top_per_customer: only the best so many
    offers of each customer; reasons: how many of what carried each score of such a cut, at a thousand times the
    work of a score; part: customers in a file; threads: blocks computed side by side."""

    top: int | None = None
    top_per_customer: int | None = None
    reasons: int | None = None
    part: int = 16_384
    threads: int = 2

    def __post_init__(self) -> None:
        if self.top is not None and self.top_per_customer is not None:
            raise ConfigurationError("top and top_per_customer are two cuts of the same scores; give one of them")
        if self.reasons and not (self.top or self.top_per_customer):
            raise ConfigurationError("reasons of every pair would take years; give top or top_per_customer too")
        for name, value in asdict(self).items():
            if value is not None and value < 1:
                raise ConfigurationError(f"{name}={value} scores nothing; give 1 or more")


class Scored(NamedTuple):
    """What a stream left: customers scored, offers, rows written, files."""

    customers: int
    offers: int
    rows: int
    files: int
    cutoff: str


def score_as(cfg: Any, out: str, say: Say) -> Scored:
    """`score_bundle` as configured by conf/score.yaml."""
    how = Stream(cfg.top, cfg.top_per_customer, cfg.reasons, cfg.part, cfg.threads)
    return score_bundle(cfg.bundle, cfg.log, cfg.cutoff, out, how, say, cfg.digest)


def score_bundle(
    folder: str | Path, log: str | None, cutoff: str, out: str | Path, how: Stream, say: Say, digest: str | None = None
) -> Scored:
    """Writes to the folder `out` the scores of everybody with a purchase before `cutoff`, as `part-*.parquet`.

    A second run of the same request writes what is not there yet, and the same bytes. Raises: ConfigurationError for a
    cutoff before the data or past the bundle's validity, or an `out` in use; IntegrityError for a bundle that was
    changed; DataError for a damaged log.
    """
    bundle = open_bundle(folder, digest)
    events = bundle.task.open() if log is None else EventLog.open(log)
    date = bundle.date(events, cutoff)
    for caution in cautions(events, date, bundle.about["end"]):
        say(caution)
    out = begun(Path(out), bundle, events, str(date), how)
    say("tables of the date")
    scoring = Scoring(bundle, *bundle.at(events, date), how)
    return scoring.best(out, say) if how.top else scoring.everything(out, say)


def begun(out: Path, bundle: Bundle, log: EventLog, cutoff: str, how: Stream) -> Path:
    """The folder of a request, new or begun before; ConfigurationError if it holds anything else."""
    cut = {name: value for name, value in asdict(how).items() if name != "threads"}
    request = {"bundle": bundle.digest, "log": log.fingerprint, "cutoff": cutoff, **cut}
    text, note = json.dumps(request, indent=1) + "\n", out / REQUEST
    if out.is_file() or (out.is_dir() and not note.is_file() and any(out.iterdir())):
        raise ConfigurationError(f"{out} holds something else than scores; give another folder as out")
    if note.is_file() and note.read_text() != text:
        raise ConfigurationError(f"{out} holds scores of another request ({REQUEST}); give another folder as out")
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(note) as draft:
        draft.write_text(text)
    return out


class Scoring:
    """A bundle asked about everybody at a send date."""

    def __init__(self, bundle: Bundle, features: Features, market_stats: MarketStats, how: Stream) -> None:
        self.features, self.market_stats = features, market_stats
        self.how, self.log = how, self.features.log
        self.offers, self.cutoff = self.features.offers.name, self.market_stats.cutoff
        self.pairs = bundle.pairs()
        if how.reasons:
            self.session, self.unknown = bundle.session(), nobody(self.features, self.market_stats)
        self.block = max(PAIRS // len(self.offers), 1)
        self.parts = range(-(-len(self.log) // how.part))

    def everything(self, out: Path, say: Say) -> Scored:
        """A file for each part, with all offers or the best of each customer."""
        customers, rows = 0, 0
        for part in self.parts:
            path = out / f"part-{part:05d}.parquet"
            if not path.is_file():
                frame = self._frame(part)
                with whole_file(path) as draft:
                    frame.write_parquet(draft, compression="zstd", compression_level=1)
                say(f"part {part + 1} of {len(self.parts)}")
            rows += pl.scan_parquet(path).select(pl.len()).collect().item()
            customers += self.purchasers(part).size
        return Scored(customers, len(self.offers), rows, len(self.parts), str(self.cutoff))

    def best(self, out: Path, say: Say) -> Scored:
        """The best customers of each offer, a file for as many offers as make a part."""
        assert self.how.top is not None
        tie_break = self.log.customers["customer"].cast(pl.String).hash(seed=0).to_numpy()
        best = TopK(len(self.offers), min(self.how.top, len(self.log)), tie_break)
        progress = out / PROGRESS
        done = best.load(progress) if progress.is_file() else 0
        for part in self.parts[done:]:
            for rows, score, revenue in self.answers(part):
                best.add(rows, score, revenue)
            say(f"part {part + 1} of {len(self.parts)}")
            if (part + 1) % 8 == 0:
                best.save(progress, part + 1)
        files = self._write_best(out, best)
        progress.unlink(missing_ok=True)
        customers = sum(self.purchasers(part).size for part in self.parts)
        kept = int(np.minimum(best.count, best.kept).sum())
        return Scored(customers, len(self.offers), kept, files, str(self.cutoff))

    def _write_best(self, out: Path, best: TopK) -> int:
        step = max(self.how.part * len(self.offers) // max(best.kept, 1) // 4, 1)
        starts = range(0, len(self.offers), step)
        for file, start in enumerate(starts):
            found = [best.of(offer) for offer in range(start, min(start + step, len(self.offers)))]
            offer = np.repeat(np.arange(start, start + len(found)), [rows.size for rows, _, _ in found])
            columns = [np.concatenate(parts) for parts in zip(*found, strict=True)]
            with whole_file(out / f"part-{file:05d}.parquet") as draft:
                self._pairs(columns[0], offer, columns[1], columns[2]).write_parquet(draft, compression="zstd")
        return len(starts)

    def _frame(self, part: int) -> pl.DataFrame:
        answers = list(self.answers(part))
        if not answers:
            none = np.zeros(0, np.int64)
            return self._pairs(none, none, none.astype(np.float32), none.astype(np.float32))
        rows, score, revenue = (np.concatenate(arrays) for arrays in zip(*answers, strict=True))
        if self.how.top_per_customer is None:
            ids = self.log.customer_id[rows]
            scores = Scores(ids, self.offers, score, revenue, str(self.cutoff), "network")
            return scores.frame()
        order = np.argsort(-score, axis=1, kind="stable")[:, : self.how.top_per_customer]
        kept = (np.take_along_axis(values, order, 1).ravel() for values in (score, revenue))
        return self._pairs(np.repeat(rows, order.shape[1]), order.ravel(), *kept)

    def _pairs(self, rows: np.ndarray, offer: np.ndarray, score: np.ndarray, revenue: np.ndarray) -> pl.DataFrame:
        """A row for each pair."""
        frame = pl.DataFrame(
            {
                "customer_id": self.log.customers["customer"].gather(rows),
                "offer_id": pl.Series(list(self.offers), dtype=pl.String).gather(offer),
                "score": score,
                "expected_revenue": revenue,
            }
        ).select(pl.lit(str(self.cutoff)).str.to_date().alias("cutoff"), pl.all())
        return frame.hstack(self._told(rows, offer)) if self.how.reasons else frame

    def _told(self, rows: np.ndarray, offer: np.ndarray) -> pl.DataFrame:
        """What each score begins with, and what carried it from there; the last of the list is everything else."""
        told, base, known = [], [], {int(row): self._known(int(row)) for row in np.unique(rows)}
        for row, m in zip(rows.tolist(), offer.tolist(), strict=True):
            inputs, words = known[row]
            found = reasons(self.session, inputs, self.unknown, 0, m, self.features.config, words)
            parts = found.largest(self.how.reasons or 0)
            rest = found.total - sum(value for _, value in parts)
            told.append([{"about": about, "contribution": value} for about, value in [*parts, (REST, rest)]])
            base.append(found.base)
        return pl.DataFrame({"base": pl.Series(base, dtype=pl.Float64), "reasons": pl.Series(told, dtype=TOLD)})

    def _known(self, row: int) -> tuple[Inputs, list[str]]:
        """A customer's inputs and visible events in words."""
        own = np.arange(self.log.offsets[row], self.log.offsets[row + 1])
        own = own[self.log.day[own] < self.cutoff.day]
        ids = self.log.items["item"]
        names = [str(ids[int(k)]) if k >= 0 else None for k in self.log.item[own]]
        inputs = self.features.inputs(self.market_stats, np.array([row]))
        return inputs, labels(self.log.day[own], self.log.kind[own], names)

    def purchasers(self, part: int) -> np.ndarray:
        """Rows of the customers of a part with a purchase before the cutoff."""
        return self.log.purchasers(self.cutoff.day, part * self.how.part, (part + 1) * self.how.part)

    def answers(self, part: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Blocks of rows (B,), probabilities and expected revenue (B, M), in order."""
        rows = self.purchasers(part)
        blocks = [rows[start : start + self.block] for start in range(0, rows.size, self.block)]
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(self.how.threads) as pool:
            yield from pool.map(self._answer, blocks)

    def _answer(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return rows, *self.pairs(self.features.inputs(self.market_stats, rows)._asdict())
