"""How raw tables become examples: one object that names every choice made on the way, built from `conf/data`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff, TrainingCutoffs
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.offer import OfferConfig, offers_before, on_sale
from propensity.data.offer.column import ColumnOffers
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import NoHistoryMask
from propensity.feature.market_stats import MarketStats, MarketStatsBuilder, MarketStatsConfig
from propensity.feature.weight import Even
from propensity.ingest.append import append
from propensity.ingest.build import build_log, prepare, protected, readable
from propensity.ingest.privacy import secret
from propensity.ingest.source import Source

BLOCK = 512  # customers whose inputs are held at a time
Track = Callable[[Iterable[Any], str], Iterable[Any]]


def untracked(items: Iterable[Any], label: str) -> Iterable[Any]:
    """No progress bar."""
    return items


class CutoffData(NamedTuple):
    """One send date, ready to be asked: features of the offers on the list, the snapshot, and the customers (N,)."""

    features: Features
    market_stats: MarketStats
    customer: np.ndarray  # rows of features.log

    @property
    def customer_id(self) -> np.ndarray:
        return self.features.log.customer_id[self.customer]

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[slice, Inputs]]:
        """Slices of at most `size` customers that cover all (N,), each with its inputs as arrays."""
        for start in range(0, self.customer.size, size):
            block = slice(start, min(start + size, self.customer.size))
            yield block, self.features.inputs(self.market_stats, self.customer[block])


class TrainingSet(NamedTuple):
    """Training occasions that share one list of offers, oldest first, with a weight (M,) for each."""

    cutoffs_data: list[CutoffData]
    weights: list[np.ndarray]
    vocabulary: Vocabulary

    @property
    def features(self) -> Features:
        return self.cutoffs_data[0].features


@dataclass
class Task:
    """Source, offers, horizon, training dates and features.

    source: where raw tables come from; log: folder of the event log (None: `data/<source>`);
    pseudonym: the place of a key, `file:<path>` or `env:<name>`, under which ids are stored; horizon in days; offer,
    split, weight, history_mask, feature, market_stats: settings of the same names; end: no training label reaches this
    date (None: the end of the log).
    """

    offer: OfferConfig
    source: Source | None = None
    log: str | None = None
    pseudonym: str | None = None
    horizon: int = 14
    end: str | None = None
    split: TrainingCutoffs = field(default_factory=TrainingCutoffs)
    weight: Any = field(default_factory=Even)
    history_mask: Any = field(default_factory=NoHistoryMask)
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    market_stats: MarketStatsConfig = field(default_factory=MarketStatsConfig)

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ConfigurationError(f"a horizon of {self.horizon} days predicts nothing; give data.horizon=1 or more")

    def open(self) -> EventLog:
        """The event log: as given by `log`, or prepared from the source where that was not done or is out of date."""
        if self.log is not None:
            return EventLog.open(self.log)
        folder = Path(self.default_log)
        if (folder / "origin.json").is_file() and (folder / "origin.json").read_text() == origin(self.tables):
            return EventLog.open(folder)
        return self.prepare(folder)

    def prepare(self, out: str | Path) -> EventLog:
        """Reads the source and leaves its log at `out`, with a note of what it was made from."""
        return prepare(self.tables, out, {"origin.json": origin(self.tables)}, self.key)

    def check(self) -> EventLog:
        """The log that `prepare` would leave, in memory."""
        with readable():
            tables = protected(self.tables.load(), self.log or self.default_log, self.key)
        return build_log(tables)

    def append(self, out: str | Path) -> EventLog:
        """Adds the source's events, all later ones, to the log at `out`."""
        return append(self.tables, out, self.key)

    @property
    def tables(self) -> Source:
        """The source of raw tables; ConfigurationError where none was named."""
        if self.source is None:
            raise ConfigurationError("no data was named; give data.log=<folder of an event log>, or data/source=<kind>")
        return self.source

    @property
    def key(self) -> bytes | None:
        """The key that ids are stored under, read from its place; None where they are stored as delivered."""
        return None if self.pseudonym is None else secret(self.pseudonym)

    @property
    def default_log(self) -> str:
        """`data/<source>`, with a digest of the source's settings where they are not its defaults."""
        name = type(self.tables).__module__.rsplit(".", 1)[-1]
        settings = _settings(self.tables, changed_only=True)
        return f"data/{name}" + (f"-{_digest(settings)}" if settings else "")

    def end_day(self, log: EventLog) -> int:
        """The day by which training labels must have closed (exclusive)."""
        return log.last_day + 1 if self.end is None else to_day(self.end)

    def training_set(self, log: EventLog, track: Track = untracked) -> TrainingSet:
        """Everything training may see: only events before `end`, only label windows that closed by then."""
        end = self.end_day(log)
        cutoffs = self.split.before(log, end, self.horizon)
        past = log.before(end)
        vocabulary = Vocabulary.fit(past, self.offer, end)
        if not vocabulary.offers:
            raise ConfigurationError(
                f"no offer has the buyers it needs before {to_date(end)} ({max(self.offer.min_buyers, 1)}); "
                "lower data.offer.min_buyers or give other data.offer settings"
            )
        every = offers_before(past, self.offer, end)
        offers = every.take(np.flatnonzero(np.isin(every.name, vocabulary.offers)))
        features = Features(past, offers, vocabulary, self.feature)
        builder = MarketStatsBuilder(past, offers, self.horizon, self.market_stats)
        builder.foresee([cutoff.day for cutoff in cutoffs])
        cutoffs_data = [
            CutoffData(features, builder.at(cutoff), past.purchasers(cutoff.day))
            for cutoff in track(cutoffs, "snapshots")
        ]
        newest = cutoffs_data[-1].market_stats
        weights = [self.weight(newest.cutoff.day - o.market_stats.cutoff.day, newest.gap) for o in cutoffs_data]
        return TrainingSet(cutoffs_data, weights, vocabulary)

    def cutoff_data(self, log: EventLog, cutoff: Cutoff, vocabulary: Vocabulary) -> CutoffData:
        """A send date to score: everybody with a purchase before it, every offer on the list, nothing later than it."""
        past = log.before(cutoff.day)
        offers = on_sale(past, self.offer, cutoff)
        customer = past.purchasers(cutoff.day)
        if customer.size == 0:
            raise ConfigurationError(f"nobody bought anything before {cutoff}; give a later cutoff")
        market_stats = MarketStatsBuilder(past, offers, self.horizon, self.market_stats).at(cutoff)
        return CutoffData(Features(past, offers, vocabulary, self.feature), market_stats, customer)


def resolved(data: Mapping[str, Any], task: Task, log: EventLog) -> dict[str, Any]:
    """The settings of a task, with the offer column that its default takes from the log written out."""
    offer = data["offer"]
    if isinstance(task.offer, ColumnOffers) and offer.get("column") is None:
        offer = {**offer, "column": task.offer.column_of(log.items)}
    return {**data, "offer": offer}


def origin(source: Source) -> str:
    """What a log was made from: the source's class and settings, and size and time of the files it reads."""
    files: list[Path] = getattr(source, "files", list)()
    stamps = {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in files if path.is_file()}
    return json.dumps({"source": type(source).__qualname__, "settings": _settings(source), "files": stamps}, indent=1)


def _settings(source: Any, changed_only: bool = False) -> dict[str, str]:
    """The source's fields as text; those that do not compare are no settings."""
    found = {f.name: (getattr(source, f.name), f.default) for f in dataclasses.fields(source) if f.compare}
    return {name: str(value) for name, (value, default) in found.items() if not changed_only or value != default}


def _digest(settings: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
