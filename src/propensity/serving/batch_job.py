"""Batch scoring as blocks: what a process needs to score parts of the customers, and the files that it writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.engine.block import BLOCKS, Block, Engine, Say, Write, block_folder
from propensity.errors import DataError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats
from propensity.serving.bundle import open_bundle
from propensity.serving.top_k import TopK
from propensity.trust import use_plugins

if TYPE_CHECKING:
    from propensity.serving.batch import BatchConfig, BatchScorer

MOST_GROUPS = 256  # files of the best customers of each offer, before they are merged


class Recipe(NamedTuple):
    """From which another process makes the scorer of this one, without computing the market statistics again.

    Attributes
    ----------
    bundle, digest : str
        Folder and digest of the bundle.
    log, fingerprint : str
        Folder and fingerprint of the event log.
    is_past : bool
        Whether the log has no event at or after the cutoff.
    cutoff : Cutoff
        Day and horizon.
    offers : Offers
        What is scored.
    market_stats : MarketStats
        The market at the cutoff.
    standardisations : dict of Cutoff to ndarray
        Of `Features`.
    config : BatchConfig
        What to write.
    metadata : dict of str to str or None
        Metadata of the files.
    plugins : list of str
        Packages of the user whose parts the bundle may name.
    """

    bundle: str
    digest: str
    log: str
    fingerprint: str
    is_past: bool
    cutoff: Cutoff
    offers: Offers
    market_stats: MarketStats
    standardisations: dict[Cutoff, np.ndarray]
    config: BatchConfig
    metadata: dict[str, str] | None
    plugins: list[str]

    def scorer(self) -> BatchScorer:
        """The scorer, in a process of one thread.

        Raises
        ------
        DataError
            If the log is not the one of the command.
        """
        from propensity.serving.batch import BatchScorer

        use_plugins(self.plugins)
        bundle = open_bundle(self.bundle, self.digest)
        events = EventLog.open(self.log, verify=False)  # the command has compared it with its checksums
        if events.fingerprint != self.fingerprint:
            raise DataError(
                f"the event log at {self.log} is another one on this worker; give all machines the same log"
            )
        if self.is_past and not self.config.reasons and not bundle.task.feature.own("context"):
            events.read_by_need()  # everything else was computed by the command
        past = events if self.is_past else bundle.task.past(events, self.cutoff.day)
        features = Features(past, self.offers, bundle.vocabulary, bundle.task.feature)
        features.standardisations.update(self.standardisations)
        scorer = BatchScorer(bundle, features, self.market_stats, replace(self.config, threads=1))
        scorer.metadata = self.metadata
        return scorer


def recipe_of(scorer: BatchScorer, log: EventLog) -> Recipe:
    """The recipe of a scorer.

    Parameters
    ----------
    scorer : BatchScorer
        Of this process.
    log : EventLog
        The log that is scored, as it was opened.
    """
    features, bundle = scorer.features, scorer.bundle
    return Recipe(
        bundle=str(bundle.folder.absolute()),
        digest=bundle.digest,
        log=str(Path(str(log.folder)).absolute()),
        fingerprint=log.fingerprint,
        is_past=features.log is log,
        cutoff=scorer.cutoff,
        offers=features.offers,
        market_stats=scorer.market_stats,
        standardisations=features.standardisations,
        config=scorer.config,
        metadata=scorer.metadata,
        plugins=use_plugins(),
    )


@dataclass(frozen=True)
class ScorerJob:
    """A job of a scorer: that of this process, which stays here, or one from its recipe elsewhere."""

    recipe: Recipe
    own: BatchScorer | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"recipe": self.recipe, "own": None}

    def scorer(self) -> BatchScorer:
        """The scorer of this process."""
        return self.recipe.scorer() if self.own is None else self.own


class PartJob(ScorerJob):
    """Writes the scores of a part of the customers."""

    def open(self) -> Write:
        """See `propensity.engine.block.Job`."""
        scorer = self.scorer()
        return lambda block, draft: scorer.write_part(block.number, draft)


@dataclass(frozen=True)
class TopJob(ScorerJob):
    """Writes the best customers of each offer among some parts of the customers.

    Attributes
    ----------
    size : int
        Parts of a block.
    """

    size: int = 1

    def open(self) -> Write:
        """See `propensity.engine.block.Job`."""
        scorer, best = self.scorer(), None

        def write(block: Block, draft: Path) -> None:
            nonlocal best
            best = scorer.empty_top() if best is None else best
            best.clear()
            for part in scorer.parts[block.number * self.size : (block.number + 1) * self.size]:
                scorer.add_part(best, part)
            with draft.open("wb") as file:
                best.write(file)

        return write


def top_in_blocks(scorer: BatchScorer, recipe: Recipe, out: Path, engine: Engine, say: Say) -> TopK:
    """Select the best customers of each offer in blocks that are merged.

    Parameters
    ----------
    scorer : BatchScorer
        Of this process.
    recipe : Recipe
        Of the scorer.
    out : Path
        Folder of the scores, in which the files of the blocks lie until the result is complete.
    engine : Engine
        Where the blocks are computed.
    say : callable
        Receives messages about progress.

    Returns
    -------
    TopK
        The same selection as from one stream, since the order of the customers is total.
    """
    size = -(-len(scorer.parts) // MOST_GROUPS) or 1
    folder = block_folder(out / BLOCKS, {"request": (out / "request.json").read_text(), "size": size})
    count = -(-len(scorer.parts) // size)
    blocks = [Block(index, folder / f"top-{index:05d}.npz") for index in range(count)]
    engine.write(TopJob(recipe, scorer, size), blocks, say)
    best, more = scorer.empty_top(), scorer.empty_top()
    for block in blocks:
        more.load(block.path)
        best.merge(more)
    return best
