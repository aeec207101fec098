"""The task of a run: source, offers, horizon, training cutoffs and features, built from `conf/data`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from propensity.data.batch import Empty, Inputs
from propensity.data.catalogue import CatalogueConfig
from propensity.data.cutoff import Cutoff, TrainingCutoffs
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.offer import OfferConfig, active_offers, offers_before
from propensity.data.offer.column import ColumnOffers
from propensity.data.registrant import known_before, registrants, with_registration
from propensity.data.vocabulary import Vocabulary
from propensity.engine.block import Engine
from propensity.errors import ConfigurationError
from propensity.feature.contract import require
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import NoHistoryMask
from propensity.feature.market_stats import MarketStats, MarketStatsBuilder, MarketStatsConfig
from propensity.feature.weight import Even
from propensity.ingest.append import append
from propensity.ingest.build import build_log, prepare, protect_personal_data, translate_read_errors
from propensity.ingest.compact import MAX_SEGMENTS
from propensity.ingest.key_chain import key_chain, stored_meta
from propensity.ingest.privacy import read_key
from propensity.ingest.retention import check_keep, check_kept
from propensity.ingest.source import Source
from propensity.ingest.source.workbook import workbook_file
from propensity.secret import without_secrets

BLOCK = 512  # customers whose inputs are in memory at a time
Track = Callable[[Iterable[Any], str], Iterable[Any]]


def untracked(items: Iterable[Any], label: str) -> Iterable[Any]:
    """Return the items without a progress bar.

    Parameters
    ----------
    items : iterable
        Items to iterate over.
    label : str
        Not used.

    Returns
    -------
    iterable
        The same items.
    """
    return items


class CutoffData(NamedTuple):
    """Everything needed to compute inputs and outcomes at one cutoff."""

    features: Features  # of the active offers
    market_stats: MarketStats  # at the cutoff
    row: np.ndarray  # (N,) int64, rows of features.log, one for each customer

    @property
    def customer_id(self) -> np.ndarray:
        """Original ids (N,)."""
        return self.features.log.customer_id[self.row]

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[slice, Inputs]]:
        """Compute the inputs of all customers block by block.

        Parameters
        ----------
        size : int
            Maximum number of customers in a block.

        Yields
        ------
        slice
            Positions of the block in (N,).
        Inputs
            Its inputs, as NumPy arrays.
        """
        for start in range(0, self.row.size, size):
            block = slice(start, min(start + size, self.row.size))
            yield block, self.features.inputs(self.market_stats, self.row[block])


class TrainingSet(NamedTuple):
    """Training cutoffs that share one list of M offers, oldest first."""

    cutoffs_data: list[CutoffData]
    weights: list[np.ndarray]  # (M,) for each cutoff
    vocabulary: Vocabulary

    @property
    def features(self) -> Features:
        """Features of the shared offers."""
        return self.cutoffs_data[0].features

    def in_memory_of(self, empty: Empty) -> TrainingSet:
        """The same cutoffs, whose features take the memory of large arrays from a function such as `numpy.empty`."""
        twins = {id(each.features): each.features.in_memory_of(empty) for each in self.cutoffs_data}
        cutoffs_data = [each._replace(features=twins[id(each.features)]) for each in self.cutoffs_data]
        return self._replace(cutoffs_data=cutoffs_data)


class Validation(NamedTuple):
    """Cutoffs to validate at: what is known of a sample of customers, and features of the log with its outcomes."""

    cutoffs_data: list[CutoffData]
    complete: list[Features]


@dataclass
class Task:
    """Source, offers, horizon, training cutoffs and features of a run.

    Parameters
    ----------
    offer : OfferConfig
        Definition of the offers.
    source : Source, optional
        Raw tables; not needed where `log` exists.
    log : str, optional
        Folder of the event log; default `data/<source>`.
    pseudonym : str, optional
        Location of the key under which customer ids are stored, `file:<path>` or `env:<name>`; by default ids are
        stored as delivered.
    keep : int, optional
        Days of purchases that the log keeps; older events leave it and are counted. By default all are kept.
    horizon : int
        Days in which a purchase counts.
    end : str, optional
        ISO date that no training label reaches; default the day after the last purchase.
    cutoff : TrainingCutoffs
        Training cutoffs.
    weight : callable
        Weight of an offer at a training cutoff, from the cutoff's age in days and the offers' interpurchase times.
    history_mask : object
        Random masks of customer history during training.
    feature : FeatureConfig
        Windows and half-lives of the features.
    market_stats : MarketStatsConfig
        Settings of the market statistics.
    verify : bool
        Whether `open` compares the log with its checksums.
    requests : str, optional
        Table of training requests, customer_id and cutoff, in place of the cutoffs; see `propensity.catalogue`.
    catalogue : CatalogueConfig
        Settings of a training on requests.
    registrants : bool, optional
        Whether customers without a purchase, whom the log knows by a registration or an event, are trained on and
        scored. None: see `for_log`; before it is called, they are not.
    max_segments : int
        Appended deliveries that a log keeps as segments; with more it is compacted.

    Raises
    ------
    ConfigurationError
        If the horizon or the retention is below 1.
    """

    offer: OfferConfig
    source: Source | None = None
    log: str | None = None
    pseudonym: str | None = None
    keep: int | None = None
    horizon: int = 14
    end: str | None = None
    cutoff: TrainingCutoffs = field(default_factory=TrainingCutoffs)
    weight: Any = field(default_factory=Even)
    history_mask: Any = field(default_factory=NoHistoryMask)
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    market_stats: MarketStatsConfig = field(default_factory=MarketStatsConfig)
    verify: bool = True
    requests: str | None = None
    catalogue: CatalogueConfig = field(default_factory=CatalogueConfig)
    registrants: bool | None = None
    max_segments: int = MAX_SEGMENTS

    def __post_init__(self) -> None:
        if not isinstance(self.feature, FeatureConfig):
            raise ConfigurationError(f"data.feature={self.feature} is no set of columns; leave it out for the default")
        if self.feature.registrants != bool(self.registrants):
            self.feature = self.feature.with_registrants(bool(self.registrants))
        check_keep(self.keep)
        if self.horizon < 1:
            raise ConfigurationError(f"data.horizon={self.horizon} is too short; use 1 day or more")

    def open(self) -> EventLog:
        """Open the event log, and prepare it first if `log` is not set and it is missing or out of date.

        Returns
        -------
        EventLog
            The log, memory-mapped.

        Raises
        ------
        ConfigurationError
            If `log` has events that `keep` excludes.
        """
        if self.log is not None:
            log = EventLog.open(self.log, self.verify)
            check_kept(log, self.keep, self.log)
            return log
        folder = Path(self.default_log)
        if (folder / "origin.json").is_file() and (folder / "origin.json").read_text() == self.origin:
            return EventLog.open(folder, self.verify)
        return self.prepare(folder)

    def open_or(self, log: str | Path | None, verify: bool) -> EventLog:
        """Open another event log, or the own one.

        Parameters
        ----------
        log : str or Path, optional
            Folder of the other log; None for the own one.
        verify : bool
            Whether to compare the log with its checksums.

        Returns
        -------
        EventLog
            The log, memory-mapped.
        """
        return dataclasses.replace(self, verify=verify).open() if log is None else EventLog.open(log, verify)

    def prepare(self, out: str | Path, shards: int | None = None, engine: Engine | None = None) -> EventLog:
        """Read the source and write its log, with a record of the source's settings and files.

        Parameters
        ----------
        out : str or Path
            Folder of the log.
        shards : int, optional
            Shards of the log, see `propensity.data.shard`; by default it has none.
        engine : Engine, optional
            Where ranges of customers are sorted and encoded, with the same result; None for this process.

        Returns
        -------
        EventLog
            The log, memory-mapped.
        """
        return prepare(self.tables, out, {"origin.json": self.origin}, self.key, self.keep, shards, engine)

    def check(self) -> EventLog:
        """Build the log of `prepare` in memory without writing it.

        Returns
        -------
        EventLog
            The log.
        """
        place = self.log or self.default_log
        with translate_read_errors():
            tables = protect_personal_data(self.tables.load(), place, key_chain(stored_meta(place), self.key))
        return build_log(tables, keep=self.keep)

    def append(self, out: str | Path) -> EventLog:
        """Append the source's events, which must be later than those of the log.

        Parameters
        ----------
        out : str or Path
            Folder of an existing log.

        Returns
        -------
        EventLog
            The extended log, memory-mapped.
        """
        return append(self.tables, out, self.key, self.keep, self.max_segments)

    @property
    def tables(self) -> Source:
        """The source of raw tables; ConfigurationError if none was named."""
        if self.source is None:
            raise ConfigurationError("no data was named; give data.log=<folder of an event log>, or data/source=<kind>")
        return self.source

    @property
    def origin(self) -> str:
        """What the log is made from, see `origin`; with the retention where one is set."""
        made_from = origin(self.tables)
        return made_from if self.keep is None else json.dumps({**json.loads(made_from), "keep": self.keep}, indent=1)

    @property
    def key(self) -> bytes | None:
        """Key of the pseudonyms, read from its location; None if ids are stored as delivered."""
        return None if self.pseudonym is None else read_key(self.pseudonym)

    @property
    def default_log(self) -> str:
        """`data/<source>`, with a hash of the source's settings if they differ from the defaults."""
        name = type(self.tables).__module__.rsplit(".", 1)[-1]
        settings = _settings(self.tables, changed_only=True)
        return f"data/{name}" + (f"-{_digest(settings)}" if settings else "")

    def end_day(self, log: EventLog) -> int:
        """Compute the first day that no training label may reach.

        Parameters
        ----------
        log : EventLog
            The log.

        Returns
        -------
        int
            Days since 1970-01-01.
        """
        return log.last_day + 1 if self.end is None else to_day(self.end)

    def for_log(self, log: EventLog) -> Task:
        """The task with `registrants` decided by a log, where they are not set.

        Parameters
        ----------
        log : EventLog
            The log. Nothing of `end` or later is read.

        Returns
        -------
        Task
            With registrants if a customer without a purchase before `end` has a date of registration before it.
        """
        if self.registrants is not None:
            return self
        return dataclasses.replace(self, registrants=with_registration(log, self.end_day(log)))

    def past(self, log: EventLog, day: int) -> EventLog:
        """The events before a day, and the customers whom the task may score then.

        Parameters
        ----------
        log : EventLog
            The log.
        day : int
            Days since 1970-01-01, exclusive.

        Returns
        -------
        EventLog
            See `EventLog.before`; with the registrants where the task has them.
        """
        return log.before(day, known_before(log, day) if self.registrants else None)

    def scored_rows(self, log: EventLog, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """List the customers who are scored at a cutoff.

        Parameters
        ----------
        log : EventLog
            The log.
        day : int
            Days since 1970-01-01, exclusive.
        start, stop : int
            Only rows in [start, stop) are read; `stop=None` means the end of the log.

        Returns
        -------
        numpy.ndarray of int
            Ascending rows: the purchasers, and the registrants where the task has them.
        """
        rows = log.purchasers(day, start, stop)
        return np.union1d(rows, registrants(log, day, start, stop)) if self.registrants else rows

    def training_rows(self, log: EventLog, day: int) -> np.ndarray:
        """List the customers who are trained on at a cutoff.

        Parameters
        ----------
        log : EventLog
            The log.
        day : int
            Days since 1970-01-01, exclusive.

        Returns
        -------
        numpy.ndarray of int
            Ascending rows: those of `scored_rows`, with at most as many registrants as purchasers. These are drawn by
            a hash of id and day. The draw is independent of what they buy, so probabilities stay calibrated.
        """
        rows = log.purchasers(day)
        if not self.registrants:
            return rows
        others = registrants(log, day)
        if others.size > rows.size:
            lot = (log.id_hash()[others] ^ np.uint64(day & 0xFFFF)) * np.uint64(0x9E3779B97F4A7C15)
            others = others[np.argsort(lot, kind="stable")[: rows.size]]
        return np.union1d(rows, others)

    def training_set(
        self, log: EventLog, track: Track = untracked, vocabulary: Vocabulary | None = None
    ) -> TrainingSet:
        """Prepare training from events before `end` and label windows that close by then.

        Parameters
        ----------
        log : EventLog
            The log.
        track : callable
            Wraps the cutoffs in a progress bar.
        vocabulary : Vocabulary, optional
            Of an earlier training, whose offers are trained again. None: that of the log.

        Returns
        -------
        TrainingSet
            Training cutoffs with market statistics, weights and vocabulary.

        Raises
        ------
        ConfigurationError
            If no offer has enough buyers or no training cutoff fits.
        """
        end = self.end_day(log)
        cutoffs = self.cutoff.before(log, end, self.horizon)
        past = self.past(log, end)
        vocabulary = vocabulary or Vocabulary.fit(past, self.offer, end, self.feature.used_text)
        if not vocabulary.offers:
            raise ConfigurationError(
                f"no offer has {max(self.offer.min_buyers, 1)} buyers before {to_date(end)}; "
                "lower data.offer.min_buyers or change the data.offer settings"
            )
        all_offers = offers_before(past, self.offer, end)
        offers = all_offers.take(np.flatnonzero(np.isin(all_offers.name, vocabulary.offers)))
        features = Features(past, offers, vocabulary, self.feature)
        builder = MarketStatsBuilder(past, offers, self.horizon, self.market_stats, *self.feature.market_groups)
        builder.prefetch([cutoff.day for cutoff in cutoffs])
        cutoffs_data = [
            CutoffData(features, builder.at(cutoff), self.training_rows(past, cutoff.day))
            for cutoff in track(cutoffs, "market statistics")
        ]
        newest = cutoffs_data[-1].market_stats
        require(features, newest, cutoffs_data[-1].row)
        interpurchase_time, day = newest.interpurchase_time, newest.cutoff.day
        weights = [self.weight(day - each.market_stats.cutoff.day, interpurchase_time) for each in cutoffs_data]
        return TrainingSet(cutoffs_data, weights, vocabulary)

    def cutoff_data(self, log: EventLog, cutoff: Cutoff, vocabulary: Vocabulary) -> CutoffData:
        """Prepare a cutoff for scoring from events before it.

        Parameters
        ----------
        log : EventLog
            The log.
        cutoff : Cutoff
            The cutoff.
        vocabulary : Vocabulary
            Vocabulary of the model.

        Returns
        -------
        CutoffData
            All customers with a purchase before the cutoff, with the registrants where the task has them, and all
            active offers.

        Raises
        ------
        ConfigurationError
            If there is no purchase before the cutoff.
        """
        past = self.past(log, cutoff.day)
        offers = active_offers(past, self.offer, cutoff)
        row = past.purchasers(cutoff.day)
        if row.size == 0:
            left_out = past.guests(cutoff.day).size
            reason = f" ({left_out} are guests or object to profiling)" if left_out else ""
            raise ConfigurationError(f"no customer has a purchase before {cutoff}{reason}; use a later cutoff")
        builder = MarketStatsBuilder(past, offers, self.horizon, self.market_stats, *self.feature.market_groups)
        market_stats = builder.at(cutoff)
        rows = self.scored_rows(past, cutoff.day)
        return CutoffData(Features(past, offers, vocabulary, self.feature), market_stats, rows)


def resolved(data: Mapping[str, Any], task: Task, log: EventLog) -> dict[str, Any]:
    """The settings of a task, with what it takes from the log written out: the offer column, and the registrants."""
    offer = data["offer"]
    if isinstance(task.offer, ColumnOffers) and offer.get("column") is None:
        offer = {**offer, "column": task.offer.column_of(log.items)}
    return {**data, "offer": offer} | ({} if task.registrants is None else {"registrants": task.registrants})


def origin(source: Source) -> str:
    """Describe what a log is made from, to detect that it is out of date.

    Parameters
    ----------
    source : Source
        The source.

    Returns
    -------
    str
        JSON of the source's class and settings, and the size and modification time of its files.
    """
    files: list[Path] = getattr(source, "files", list)()
    stats = {str(path): workbook_file(path).stat() for path in files if workbook_file(path).is_file()}
    stamps = {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}
    settings = without_secrets(_settings(source))
    return json.dumps({"source": type(source).__qualname__, "settings": settings, "files": stamps}, indent=1)


def _settings(source: Any, changed_only: bool = False) -> dict[str, str]:
    """The source's fields as text, without those that are excluded from comparison."""
    values = {f.name: (getattr(source, f.name), f.default) for f in dataclasses.fields(source) if f.compare}
    return {name: str(value) for name, (value, default) in values.items() if not changed_only or value != default}


def _digest(settings: dict[str, str]) -> str:
    """Eight hexadecimal digits of the settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
