"""Batches of customers at several cutoffs, whose histories a causal encoder reads once.

Legend: B customers, Q cutoffs, L events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from propensity.data.batch import HISTORY, Batch, Inputs
from propensity.feature.calendar import season
from propensity.feature.history_mask import HistoryMask
from propensity.kernel.history import visible_events
from propensity.task import CutoffData

if TYPE_CHECKING:
    from propensity.training.data_module import TrainingBatches

BETWEEN = 1_024  # events between the first and the last cutoff of a batch that are read of one customer, at most
EVERY_EVENT = 2**62


class SharedBatch(NamedTuple):
    """The same customers at Q cutoffs. A customer is at a cutoff if he is trained on there."""

    history: Inputs  # B histories before the newest cutoff, and its season; the other fields are empty
    query: Tensor  # (B, Q) float32, days from each cutoff to the newest
    hidden: Tensor  # (B, Q) float32, days before each cutoff that the history mask hides
    rows: tuple[Tensor, ...]  # of each cutoff, the places of its customers among the B
    batches: tuple[Batch, ...]  # of each cutoff


class SharedIndex(NamedTuple):
    """Which customers of which group of cutoffs make a batch."""

    group: int
    rows: np.ndarray  # (B,) rows of the log
    seed: int


def groups_of(cutoffs: int, per_batch: int) -> list[np.ndarray]:
    """Places of the cutoffs in groups of neighbours, of nearly equal sizes and at most so many.

    >>> [group.tolist() for group in groups_of(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    return np.array_split(np.arange(cutoffs), -(-cutoffs // per_batch))


class SharedSampler(Sampler[SharedIndex]):
    """Shuffles the customers of each group of cutoffs, and the batches of all groups.

    Parameters
    ----------
    cutoffs_data : list of CutoffData
        Training cutoffs, ascending.
    per_batch : int
        Cutoffs of a batch at most.
    batch_size : int
        Customers times cutoffs of a batch.
    seed, rank, world : int
        As in `CutoffSampler`.
    length_bucketing : bool
        Whether a batch holds customers with histories of similar length.
    """

    def __init__(
        self,
        cutoffs_data: list[CutoffData],
        per_batch: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        length_bucketing: bool = False,
    ) -> None:
        self.groups = groups_of(len(cutoffs_data), per_batch)
        self.seed, self.rank, self.world, self.epoch = seed, rank, world, 0
        features = cutoffs_data[0].features
        id_hash = features.log.id_hash()
        self.customers, self.sizes = [], []
        self.lengths: list[np.ndarray] = []
        for group in self.groups:
            rows = np.unique(np.concatenate([cutoffs_data[place].row for place in group]))
            rows = rows[np.argsort(id_hash[rows])]  # whatever the type of ids
            self.customers.append(rows)
            self.sizes.append(max(batch_size // len(group), 1))
            if length_bucketing:
                self.lengths.append(features.lengths(cutoffs_data[group[-1]].market_stats.cutoff, rows))

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch, so that a resumed run draws what an uninterrupted one would."""
        self.epoch = epoch

    @property
    def batches(self) -> int:
        """Batches of an epoch, of all processes."""
        return sum(-(-rows.size // size) for rows, size in zip(self.customers, self.sizes, strict=True))

    def __len__(self) -> int:
        return self.batches // self.world

    def __iter__(self) -> Iterator[SharedIndex]:
        rng = np.random.default_rng((self.seed, self.epoch))
        drawn = []
        for group, (rows, size) in enumerate(zip(self.customers, self.sizes, strict=True)):
            order = rng.permutation(rows.size)
            if self.lengths:
                order = order[np.argsort(self.lengths[group][order], kind="stable")]
            parts = np.array_split(rows[order], -(-rows.size // size))
            drawn += [SharedIndex(group, part, int(rng.integers(2**31))) for part in parts]
        order = rng.permutation(len(drawn))[self.rank :: self.world][: len(self)]
        yield from (drawn[k] for k in order)


class SharedBatches(Dataset[SharedBatch]):
    """From a `SharedIndex` to the batch.

    Parameters
    ----------
    batches : TrainingBatches
        Batches of one cutoff each.
    per_batch : int
        Cutoffs of a batch at most.

    Notes
    -----
    Each query sees the last `data.feature.history` events before its cutoff, and those before them that the queries of
    earlier cutoffs need; of a customer with more than `BETWEEN` events between the cutoffs the oldest are not read.
    The offer that a history mask hides is one for all cutoffs of a customer; the hidden days are drawn for each.
    """

    def __init__(self, batches: TrainingBatches, per_batch: int) -> None:
        self.batches = batches
        self.groups = groups_of(len(batches.training_set.cutoffs_data), per_batch)

    def __getitem__(self, index: SharedIndex) -> SharedBatch:
        places = self.groups[index.group].tolist()
        cutoffs_data = [self.batches.training_set.cutoffs_data[place] for place in places]
        masks = self._masks(index, len(places))
        history = history_of(cutoffs_data, index.rows, masks[0])
        newest = cutoffs_data[-1].market_stats.cutoff.day
        days = np.array([newest - each.market_stats.cutoff.day for each in cutoffs_data], np.float32)
        rows, batches = [], []
        for place, each, mask in zip(places, cutoffs_data, masks, strict=True):
            here = np.flatnonzero(np.isin(index.rows, each.row))
            if not here.size:
                continue
            own = HistoryMask(mask.days[here], mask.offer[here], mask.launched)
            at = np.searchsorted(each.row, index.rows[here])
            rows.append((place, torch.from_numpy(here)))
            batches.append(self.batches.batch(place, at, index.seed + place, own))
        present = [places.index(place) for place, _ in rows]
        query = torch.from_numpy(np.tile(days[present], (index.rows.size, 1)))
        hidden = np.stack([masks[k].days for k in present], axis=1).astype(np.float32)
        return SharedBatch(history, query, torch.from_numpy(hidden), tuple(row for _, row in rows), tuple(batches))

    def _masks(self, index: SharedIndex, cutoffs: int) -> list[HistoryMask]:
        """A mask for each cutoff, with the same hidden offer and launched offers."""
        task, offers = self.batches.task, len(self.batches.training_set.features.offers)
        rng = np.random.default_rng(index.seed)
        masks = [task.history_mask.draw(rng, index.rows.size, offers) for _ in range(cutoffs)]
        return [HistoryMask(mask.days, masks[0].offer, masks[0].launched) for mask in masks]


def history_of(cutoffs_data: list[CutoffData], rows: np.ndarray, mask: HistoryMask) -> Inputs:
    """The events that the queries of all cutoffs see, as inputs of the newest; without the masked offers."""
    features, newest = cutoffs_data[-1].features, cutoffs_data[-1].market_stats.cutoff
    before = [
        visible_events(features.events, rows, day, EVERY_EVENT)
        for day in (cutoffs_data[0].market_stats.cutoff.day, newest.day)
    ]
    most = features.config.history
    needed = np.minimum(before[1] - before[0], BETWEEN) + np.minimum(before[0], most)
    width = max(int(needed.max(initial=0)), 1)
    nothing = HistoryMask(np.zeros_like(mask.days), mask.offer, mask.launched)
    arrays = features.histories(newest, rows, nothing, width)
    fields = {name: torch.from_numpy(array) for name, array in zip((*HISTORY, "length"), arrays, strict=True)}
    empty = {name: torch.zeros(0) for name in Inputs._fields if name not in fields}
    terms = torch.from_numpy(season(newest.day, newest.horizon))
    return Inputs(**(fields | empty | {"season": terms}))
