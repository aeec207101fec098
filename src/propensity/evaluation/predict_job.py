"""Predictions of a run's models at cutoffs as blocks of customers.

N customers, M offers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from propensity.champion.champion import PAIRS, Champion
from propensity.checksum import crc32
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.engine.block import Block, Engine, Say, Write, block_folder, remove_blocks
from propensity.errors import DataError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats
from propensity.ingest.source.unfold import check_arrays
from propensity.scores import ChannelShares, Scores
from propensity.task import CutoffData, Task
from propensity.training.checkpoint import FILE, load_trained
from propensity.trust import use_plugins

SIZE = 2_000_000  # customer x offer pairs in a block, about a second of scoring
SHARE = "share"
Predicted = tuple[dict[str, Scores], ChannelShares | None]


class Place(NamedTuple):
    """Customers of a block: `start` to `stop` of those at a cutoff, who lie in rows [first, last) of the log."""

    cutoff: int
    start: int
    stop: int
    first: int
    last: int


class CutoffRecipe(NamedTuple):
    """From which another process makes a CutoffData, without computing the market statistics again."""

    offers: Offers
    market_stats: MarketStats
    standardisations: dict[Any, np.ndarray]
    is_past: bool  # whether the log has no event at or after the cutoff

    def cutoff_data(self, task: Task, log: EventLog, vocabulary: Any) -> CutoffData:
        """The CutoffData without customers."""
        past = log if self.is_past else task.past(log, self.market_stats.cutoff.day)
        features = Features(past, self.offers, vocabulary, task.feature)
        features.standardisations.update(self.standardisations)
        return CutoffData(features, self.market_stats, np.zeros(0, np.int64))


def recipe_of(cutoff_data: CutoffData, log: EventLog) -> CutoffRecipe:
    """The recipe of a CutoffData of a log."""
    features, market_stats, _ = cutoff_data
    features.standardisation(market_stats)
    return CutoffRecipe(features.offers, market_stats, features.standardisations, features.log is log)


@dataclass(frozen=True)
class PredictJob:
    """Writes the predictions of all models of a run for some customers at a cutoff.

    Attributes
    ----------
    run, log, fingerprint : str
        Folder of the run, folder of the event log, and fingerprint of the log.
    cutoffs : list of CutoffRecipe
        The cutoffs.
    places : list of Place
        Customers of each block.
    plugins : list of str
        Packages of the user whose parts the run may name.
    """

    run: str
    log: str
    fingerprint: str
    cutoffs: list[CutoffRecipe]
    places: list[Place]
    plugins: list[str] = field(default_factory=list)

    def open(self) -> Write:
        """See `propensity.engine.block.Job`."""
        use_plugins(self.plugins)
        trained = load_trained(self.run)
        champion = Champion.load(self.run, trained.model)
        log = EventLog.open(self.log, verify=False)  # the command has compared it with its checksums
        if log.fingerprint != self.fingerprint:
            raise DataError(
                f"the event log at {self.log} is another one on this worker; give all machines the same log"
            )
        if all(each.is_past for each in self.cutoffs) and not trained.task.feature.own("context"):
            log.read_by_need()  # everything else was computed by the command
        opened: dict[int, CutoffData] = {}

        def write(block: Block, draft: Path) -> None:
            place = self.places[block.number]
            if place.cutoff not in opened:
                opened.clear()  # the events before one cutoff may be a copy
                opened[place.cutoff] = self.cutoffs[place.cutoff].cutoff_data(trained.task, log, trained.vocabulary)
            features, market_stats, _ = opened[place.cutoff]
            features.log.need(place.first, place.last)
            row = trained.task.scored_rows(features.log, market_stats.cutoff.day, place.first, place.last)
            arrays = arrays_of(champion.predict_both(CutoffData(features, market_stats, row)))
            with draft.open("wb") as file:
                np.savez(file, **arrays)

        return write


def arrays_of(predicted: Predicted) -> dict[str, Any]:
    """The numbers of predictions as arrays by name."""
    models, shares = predicted
    arrays: dict[str, Any] = {f"probability/{name}": each.probability for name, each in models.items()}
    arrays |= {f"revenue/{name}": each.revenue for name, each in models.items()}
    return arrays if shares is None else arrays | {SHARE: shares.share}


def predicted_of(arrays: dict[str, np.ndarray], cutoff_data: CutoffData) -> Predicted:
    """The predictions whose numbers are given, see `arrays_of`."""
    ids, cutoff = cutoff_data.customer_id, str(cutoff_data.market_stats.cutoff)
    offers = cutoff_data.features.offers.name
    names = [name.partition("/")[2] for name in arrays if name.startswith("probability/")]
    models = {
        name: Scores(ids, offers, arrays[f"probability/{name}"], arrays[f"revenue/{name}"], cutoff, name)
        for name in names
    }
    channels = cutoff_data.features.vocabulary.sold_through
    return models, ChannelShares(ids, channels, arrays[SHARE], cutoff) if SHARE in arrays else None


def places_of(cutoffs_data: Sequence[CutoffData]) -> Iterator[Place]:
    """Divide the customers of each cutoff into blocks of about `SIZE` pairs."""
    for number, each in enumerate(cutoffs_data):
        step = max(PAIRS // max(len(each.features.offers), 1), 1)  # customers that a model computes together
        step *= max(SIZE // PAIRS, 1)
        for start in range(0, max(each.row.size, 1), step):
            row = each.row[start : start + step]
            first, last = (int(row[0]), int(row[-1]) + 1) if row.size else (0, 0)
            yield Place(number, start, start + row.size, first, last)


def predict_in_blocks(
    run: str | Path, champion: Champion, log: EventLog, cutoffs_data: Sequence[CutoffData], engine: Engine,
    place: Path, say: Say,
) -> list[Predicted]:  # fmt: skip
    """Predict with all models of a run at cutoffs.

    Parameters
    ----------
    run : str or Path
        Folder of the run.
    champion : Champion
        Its models, for an engine that computes in this process.
    log : EventLog
        The log that `cutoffs_data` were made from.
    cutoffs_data : sequence of CutoffData
        N customers and M offers each.
    engine : Engine
        Where the predictions are computed.
    place : Path
        Folder of the files of the blocks, which is removed when all are read; its name begins with a dot.
    say : callable
        Receives messages about progress.

    Returns
    -------
    list of tuple
        What `Champion.predict_both` returns, for each cutoff. The numbers do not depend on the engine.
    """
    if not engine.distributed:
        return [champion.predict_both(each) for each in cutoffs_data]
    places = list(places_of(cutoffs_data))
    request = {
        "run": crc32(Path(run) / FILE),
        "champion": champion.record(),
        "log": log.fingerprint,
        "cutoffs": [str(each.market_stats.cutoff) for each in cutoffs_data],
        "places": places,
    }
    folder = block_folder(place, request)
    blocks = [Block(number, folder / f"predicted-{number:05d}.npz") for number in range(len(places))]
    recipes = [recipe_of(each, log) for each in cutoffs_data]
    paths = str(Path(run).absolute()), str(Path(str(log.folder)).absolute())
    engine.write(PredictJob(*paths, log.fingerprint, recipes, places, use_plugins()), blocks, say)
    parts: list[list[dict[str, np.ndarray]]] = [[] for _ in cutoffs_data]
    for block, place_of_block in zip(blocks, places, strict=True):
        parts[place_of_block.cutoff].append(read_arrays(block.path))
    joined = [{name: np.concatenate([part[name] for part in each]) for name in each[0]} for each in parts]
    remove_blocks(place)
    return [predicted_of(arrays, each) for arrays, each in zip(joined, cutoffs_data, strict=True)]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a block."""
    check_arrays(path)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
