"""Batch scoring with a bundle, part by part: memory does not grow with the number of customers, and an interrupted run
continues.

B customers of a block, M offers.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from hydra.utils import instantiate
from threadpoolctl import threadpool_limits

from propensity.atomic import whole_file
from propensity.audit import append_beside
from propensity.checksum import is_sealed, seal_folder
from propensity.config import ScoreConfig
from propensity.data.consent import words_at
from propensity.data.cutoff import scoring_warnings
from propensity.data.event_log import EventLog
from propensity.data.score_file import COMPLETE, TASK
from propensity.data.unsubscribe import customers_with_words
from propensity.disk import make_folder
from propensity.engine.block import BLOCKS, Block, Engine, remove_blocks
from propensity.engine.local import LocalEngine
from propensity.errors import ConfigurationError
from propensity.explain.opened import OpenedCutoff
from propensity.explain.reasons import Explainer
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats
from propensity.scores import Scores, metadata_of
from propensity.serving.batch_job import PartJob, Recipe, recipe_of, top_in_blocks
from propensity.serving.bundle import Bundle, open_bundle
from propensity.serving.explain import bundle_log_odds
from propensity.serving.not_scored import write_not_scored
from propensity.serving.top_k import TopK

REQUEST, PROGRESS = "request.json", "progress.npz"
BLOCK_PAIRS = 24_576  # pairs of a block, so that its arrays fit into the cache of a core
SAVE_EVERY = 8  # parts between two saves of the top-k state
Say = Callable[[str], None]


@dataclass(frozen=True)
class BatchConfig:
    """What batch scoring writes.

    Attributes
    ----------
    top : int, optional
        Write only the best `top` customers of each offer.
    top_per_customer : int, optional
        Write only the best `top_per_customer` offers of each customer.
    reasons : int, optional
        Reasons per score; needs `top` or `top_per_customer`. An explanation takes tens of milliseconds.
    part : int
        Customers in a file.
    threads : int
        Blocks that are computed in parallel.

    Raises
    ------
    ConfigurationError
        If both selections are set, `reasons` has no selection, or a number is below 1.
    """

    top: int | None = None
    top_per_customer: int | None = None
    reasons: int | None = None
    part: int = 16_384
    threads: int = 2

    def __post_init__(self) -> None:
        if self.top is not None and self.top_per_customer is not None:
            raise ConfigurationError("top and top_per_customer exclude each other; give one of them")
        if self.reasons and not (self.top or self.top_per_customer):
            raise ConfigurationError("reasons for all pairs take too long; add top or top_per_customer")
        for name, value in asdict(self).items():
            if value is not None and value < 1:
                raise ConfigurationError(f"{name}={value} is below 1; give 1 or more")


class BatchResult(NamedTuple):
    """Summary of a completed run.

    Attributes
    ----------
    customers, offers : int
        Customers and offers that were scored.
    rows, files : int
        Rows and files that were written.
    cutoff : str
        YYYY-MM-DD.
    """

    customers: int
    offers: int
    rows: int
    files: int
    cutoff: str


def score_from_config(cfg: ScoreConfig, out: str, say: Say) -> BatchResult:
    """`score_bundle` with the settings of conf/score.yaml.

    Parameters
    ----------
    cfg : ScoreConfig
        Composed configuration.
    out : str
        Folder to write.
    say : callable
        Receives messages about progress.

    Returns
    -------
    BatchResult
        Summary of the run.
    """
    assert cfg.bundle is not None and cfg.cutoff is not None  # uses_bundle has seen to it
    config = BatchConfig(cfg.top, cfg.top_per_customer, cfg.reasons, cfg.part, cfg.threads)
    engine = instantiate(cfg.engine)
    return score_bundle(cfg.bundle, cfg.log, cfg.cutoff, out, config, say, cfg.digest, cfg.data.verify, engine)


def score_bundle(
    folder: str | Path,
    log: str | None,
    cutoff: str,
    out: str | Path,
    config: BatchConfig,
    say: Say,
    digest: str | None = None,
    verify: bool = True,
    engine: Engine | None = None,
) -> BatchResult:
    """Score every customer with a purchase before a cutoff and write `part-*.parquet`.

    Parameters
    ----------
    folder : str or Path
        Folder of the bundle.
    log : str, optional
        Folder of the event log; None for the log of the training run.
    cutoff : str
        First day of the horizon, YYYY-MM-DD.
    out : str or Path
        Folder to write.
    config : BatchConfig
        What to write.
    say : callable
        Receives messages about progress, and warnings about a stale log or an in-sample cutoff.
    digest : str, optional
        Required digest of the bundle.
    verify : bool
        Whether to compare the log with its checksums.
    engine : Engine, optional
        Where parts are computed, with the same bytes; None for this process.

    Returns
    -------
    BatchResult
        Summary of the run.

    Raises
    ------
    ConfigurationError
        If the cutoff is before the data or after the bundle's validity, or `out` is in use.
    IntegrityError
        If the bundle was changed.
    DataError
        If the log is damaged.

    Notes
    -----
    The same request again writes only the missing parts, with identical bytes.
    """
    bundle = open_bundle(folder, digest)
    events = bundle.task.open_or(log, verify)
    date = bundle.cutoff(events, cutoff)
    for caution in scoring_warnings(events, date, bundle.manifest["last_label"]):
        say(caution)
    out = open_output(Path(out), bundle, events, str(date), config)
    say("computing market statistics")
    scorer = BatchScorer(bundle, *bundle.features_at(events, date), config)
    scorer.metadata = metadata_of(events.folder, folder)
    write_sources(out, bundle, scorer.files)
    recipe, engine = recipe_of(scorer, events), engine or LocalEngine()
    result = scorer.write_top(out, recipe, engine, say) if config.top else scorer.write_parts(out, recipe, engine, say)
    if sentence := write_not_scored(events, date.day, bool(bundle.task.registrants), out):
        say(sentence)
    entry = {"model": str(folder), "digest": bundle.digest, "log": str(events.folder)}
    entry |= {"fingerprint": events.fingerprint, "cutoff": str(date)}
    append_beside(Path(folder).resolve().parent, out, "score", entry)
    return result


def open_output(out: Path, bundle: Bundle, log: EventLog, cutoff: str, config: BatchConfig) -> Path:
    """Create the folder of a request, or continue with one of the same request.

    Parameters
    ----------
    out : Path
        Folder to write.
    bundle : Bundle
        The bundle; its digest is part of the request.
    log : EventLog
        The log; its fingerprint is part of the request.
    cutoff : str
        YYYY-MM-DD.
    config : BatchConfig
        What to write. `threads` is not part of the request, as it does not change the result.

    Returns
    -------
    Path
        The folder, with request.json.

    Raises
    ------
    ConfigurationError
        If the folder has other files or scores of another request.
    """
    settings = {name: value for name, value in asdict(config).items() if name != "threads"}
    request = {"bundle": bundle.digest, "log": log.fingerprint, "cutoff": cutoff, **settings}
    text, path = json.dumps(request, indent=1) + "\n", out / REQUEST
    if out.is_file() or (out.is_dir() and not path.is_file() and any(out.iterdir())):
        raise ConfigurationError(f"{out} contains something other than scores; give another folder as out")
    if path.is_file() and path.read_text() != text:
        raise ConfigurationError(f"{out} contains scores of another request ({REQUEST}); give another folder as out")
    make_folder(out)
    if not is_sealed(out):
        seal_folder(out)
    with whole_file(path) as draft:
        draft.write_text(text)
    return out


def write_sources(out: Path, bundle: Bundle, files: int) -> None:
    """Write what a decision needs beside the parts.

    Parameters
    ----------
    out : Path
        Folder of the scores.
    bundle : Bundle
        Its settings of offers and horizon are copied, so that the purchase history can be read without the bundle.
    files : int
        Number of parts of the whole result, so that an interrupted one is recognised.
    """
    for name, text in ((TASK, (bundle.folder / TASK).read_text()), (COMPLETE, json.dumps({"files": files}))):
        with whole_file(out / name) as draft:
            draft.write_text(text)


def _completed(top_k: TopK, progress: Path, say: Say) -> int:
    """Restore a saved selection; its number of parts, 0 without one or if it is damaged."""
    if not progress.is_file():
        return 0
    try:
        return top_k.load(progress)
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        say(f"{progress} is damaged; the selection starts again")
        top_k.clear()
        return 0


class BatchScorer:
    """Scores all customers of a log at a cutoff.

    Parameters
    ----------
    bundle : Bundle
        The bundle.
    features : Features
        Features of the log before the cutoff.
    market_stats : MarketStats
        Market statistics of the cutoff.
    config : BatchConfig
        What to write.

    Attributes
    ----------
    metadata : dict of str to str or None
        Metadata of the files; see `propensity.scores.metadata_of`.
    """

    metadata: dict[str, str] | None = None

    def __init__(self, bundle: Bundle, features: Features, market_stats: MarketStats, config: BatchConfig) -> None:
        self.features, self.market_stats = features, market_stats
        features.standardisation(market_stats)  # once, before several threads ask for it
        self.config, self.log = config, self.features.log
        self.offers, self.cutoff = self.features.offers.name, self.market_stats.cutoff
        self.pair_scorer, self.bundle = bundle.pair_scorer(), bundle
        if config.reasons:
            log_odds, others = bundle_log_odds(bundle.session()), "frequency" in bundle.candidates
            explainer = Explainer(log_odds, features, market_stats, others, features.log.meta.get("currency"))
            self.opened = OpenedCutoff(explainer, bundle.task.scored_rows(features.log, self.cutoff.day))
        self.block = max(BLOCK_PAIRS // len(self.offers), 1)
        self.parts = range(-(-len(self.log) // config.part))

    @property
    def files(self) -> int:
        """Number of files of the whole result."""
        return len(self.parts) if self.config.top is None else -(-len(self.offers) // self._offers_per_file())

    def _offers_per_file(self) -> int:
        """Offers in a file of the best customers of each offer."""
        assert self.config.top is not None
        kept = min(self.config.top, len(self.log))
        return max(self.config.part * len(self.offers) // max(kept, 1) // 4, 1)

    @cached_property
    def consents(self) -> pl.DataFrame | None:
        """What the log says on the consents of all its customers; None where it holds none."""
        return words_at(customers_with_words(self.log), str(self.cutoff))

    def write_parts(self, out: Path, recipe: Recipe, engine: Engine, say: Say) -> BatchResult:
        """Write one file per part, with all offers or the best offers of each customer.

        Parameters
        ----------
        out : Path
            Folder to write; parts that exist are skipped.
        recipe : Recipe
            Of this scorer.
        engine : Engine
            Where the parts are computed.
        say : callable
            Receives messages about progress.

        Returns
        -------
        BatchResult
            Summary of all parts.
        """
        blocks = [Block(part, out / f"part-{part:05d}.parquet") for part in self.parts]
        engine.write(PartJob(recipe, self), blocks, say)
        rows = sum(pl.scan_parquet(block.path).select(pl.len()).collect().item() for block in blocks)
        return BatchResult(self._customers(), len(self.offers), rows, len(self.parts), str(self.cutoff))

    def write_part(self, part: int, path: Path) -> None:
        """Write the scores of a part.

        Parameters
        ----------
        part : int
            Index of the part.
        path : Path
            File to write.
        """
        frame = self._part_frame(part)
        frame.write_parquet(path, compression="zstd", compression_level=1, metadata=self.metadata)

    def _customers(self) -> int:
        """Number of customers who are scored."""
        return sum(self.purchasers(part).size for part in self.parts)

    def write_top(self, out: Path, recipe: Recipe, engine: Engine, say: Say) -> BatchResult:
        """Write the best customers of each offer, in files of several offers.

        Parameters
        ----------
        out : Path
            Folder to write; a saved state is continued.
        recipe : Recipe
            Of this scorer.
        engine : Engine
            Where the customers are scored.
        say : callable
            Receives messages about progress.

        Returns
        -------
        BatchResult
            Summary of the run.
        """
        top_k = top_in_blocks(self, recipe, out, engine, say) if engine.distributed else self._top_here(out, say)
        files = self._write_top_files(out, top_k)
        (out / PROGRESS).unlink(missing_ok=True)
        remove_blocks(out / BLOCKS)
        pairs = int(np.minimum(top_k.count, top_k.k).sum())
        return BatchResult(self._customers(), len(self.offers), pairs, files, str(self.cutoff))

    def empty_top(self) -> TopK:
        """A selection without candidates."""
        assert self.config.top is not None
        tie_break = self.log.customers["customer"].cast(pl.String).hash(seed=0).to_numpy()
        return TopK(len(self.offers), min(self.config.top, len(self.log)), tie_break)

    def add_part(self, top_k: TopK, part: int) -> None:
        """Add the customers of a part to a selection."""
        for rows, score, revenue in self.score_blocks(part):
            top_k.add(rows, score, revenue)

    def _top_here(self, out: Path, say: Say) -> TopK:
        """The selection from one stream of all customers, whose state is saved."""
        top_k, progress = self.empty_top(), out / PROGRESS
        for part in self.parts[_completed(top_k, progress, say) :]:
            self.add_part(top_k, part)
            say(f"part {part + 1} of {len(self.parts)}")
            if (part + 1) % SAVE_EVERY == 0:
                top_k.save(progress, part + 1)
        return top_k

    def _write_top_files(self, out: Path, top_k: TopK) -> int:
        """Write the selection in files of similar size; their number."""
        step = self._offers_per_file()
        starts = range(0, len(self.offers), step)
        for file, start in enumerate(starts):
            tops = [top_k.top(offer) for offer in range(start, min(start + step, len(self.offers)))]
            offer = np.repeat(np.arange(start, start + len(tops)), [rows.size for rows, _, _ in tops])
            rows, score, revenue = (np.concatenate(columns) for columns in zip(*tops, strict=True))
            with whole_file(out / f"part-{file:05d}.parquet") as draft:
                frame = self._pair_frame(rows, offer, score, revenue)
                frame.write_parquet(draft, compression="zstd", metadata=self.metadata)
        return len(starts)

    def _part_frame(self, part: int) -> pl.DataFrame:
        """The rows of a part."""
        blocks = list(self.score_blocks(part))
        if not blocks:
            none = np.zeros(0, np.int64)
            return self._pair_frame(none, none, none.astype(np.float32), none.astype(np.float32))
        rows, score, revenue = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
        if self.config.top_per_customer is None:
            ids = self.log.customer_id[rows]
            consents = None if self.consents is None else self.consents[rows]
            return Scores(
                ids, self.offers, score, revenue, str(self.cutoff), self.bundle.champion, consents=consents
            ).frame()
        order = np.argsort(-score, axis=1, kind="stable")[:, : self.config.top_per_customer]
        best = (np.take_along_axis(values, order, 1).ravel() for values in (score, revenue))
        return self._pair_frame(np.repeat(rows, order.shape[1]), order.ravel(), *best)

    def _pair_frame(self, rows: np.ndarray, offer: np.ndarray, score: np.ndarray, revenue: np.ndarray) -> pl.DataFrame:
        """One row per pair, with reasons if they are configured."""
        frame = pl.DataFrame(
            {
                "customer_id": self.log.customers["customer"].gather(rows),
                "offer_id": pl.Series(list(self.offers), dtype=pl.String).gather(offer),
                "score": score,
                "expected_revenue": revenue,
            }
        ).select(pl.lit(str(self.cutoff)).str.to_date().alias("cutoff"), pl.all())
        if self.consents is not None:
            frame = frame.hstack(self.consents[rows])
        return frame.hstack(self.opened.explain_table(frame, self.config.reasons)) if self.config.reasons else frame

    def purchasers(self, part: int) -> np.ndarray:
        """Customers of a part who are scored at the cutoff; see `propensity.task.Task.scored_rows`.

        Parameters
        ----------
        part : int
            Index of the part.

        Returns
        -------
        ndarray of int
            Rows of the customers in the log.
        """
        first = part * self.config.part
        self.log.need(first, first + self.config.part)
        return self.bundle.task.scored_rows(self.log, self.cutoff.day, first, first + self.config.part)

    def score_blocks(self, part: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Score the customers of a part.

        Parameters
        ----------
        part : int
            Index of the part.

        Yields
        ------
        rows : ndarray of shape (B,)
            Rows of the customers in the log, ascending.
        probability, expected_revenue : ndarray of shape (B, M), float32
            Revenue is in the log's currency.
        """
        rows = self.purchasers(part)
        blocks = [rows[start : start + self.block] for start in range(0, rows.size, self.block)]
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(self.config.threads) as pool:
            yield from pool.map(self._score_block, blocks)

    def _score_block(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, probability and expected revenue of a block."""
        return rows, *self.pair_scorer(self.features.inputs(self.market_stats, rows)._asdict())
