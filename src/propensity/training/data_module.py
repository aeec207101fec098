"""Batches straight from the log: a draw of customers at one send date, computed by kernels when asked for.

Notable: no per-sample Python, nothing cached on disk, and what an epoch sees follows from (seed, epoch) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from propensity.data.batch import Batch, Inputs, Outcomes
from propensity.errors import ConfigurationError
from propensity.feature.history_mask import HistoryMask
from propensity.task import Task, TrainingSet
from propensity.training.device_log import DeviceLog, Pointers

Fields = TypeVar("Fields", Inputs, Outcomes)
HISTORY = ("token", "kind", "channel", "age", "amount")


def to_tensors(fields: Fields) -> Fields:
    """The same fields as tensors that share memory with the arrays."""
    return type(fields)(*(torch.from_numpy(np.ascontiguousarray(array)) for array in fields))


def trimmed(inputs: Inputs) -> Inputs:
    """The same histories without the slots that are empty for every customer of the batch."""
    width = max(int(inputs.length.max()), 1) if len(inputs.length) else 1
    return inputs._replace(**{name: getattr(inputs, name)[:, :width] for name in HISTORY})


def thinned(batch: Batch, past: torch.Tensor, share: float, seed: int) -> Batch:
    """A batch of all pairs (B, M) with only `share` of those that have neither a past nor a purchase: K pairs.

    past (B, M) bool: which pairs have one. Weights (K,) are such that the mean over the pairs kept is, expected over
    draws, the mean over all. A batch of which nothing would be kept stays whole.
    """
    inputs, outcomes = batch.inputs, batch.outcomes
    known = past | (outcomes.bought > 0)
    drawn = np.random.default_rng((seed, 1)).random(tuple(known.shape), np.float32) < share
    place = (known | torch.from_numpy(drawn)).flatten().nonzero().squeeze(1)
    if place.numel() == 0:
        return batch
    weight = torch.where(known, 1.0, 1.0 / share) * batch.weight * (place.numel() / known.numel())

    def of(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(0, 1)[place]

    outcomes = outcomes._replace(bought=of(outcomes.bought), revenue=of(outcomes.revenue))
    return Batch(inputs._replace(pair=of(inputs.pair)), outcomes, of(weight), place)


class Draw(NamedTuple):
    """Which customers of which training date, and the seed of their history mask."""

    date: int
    rows: np.ndarray
    seed: int


class ExampleBatches(Dataset[Batch]):
    """Draw -> Batch; with `trim`, histories are as wide as the longest of the batch.

    unbought: share that is kept of the pairs with neither a past nor a purchase; 1: the batch holds all pairs.
    """

    def __init__(self, training_set: TrainingSet, task: Task, trim: bool = False, negative_rate: float = 1.0) -> None:
        self.training_set, self.task, self.trim, self.negative_rate = training_set, task, trim, negative_rate

    def __getitem__(self, draw: Draw) -> Batch:
        features, market_stats, customer = self.training_set.cutoffs_data[draw.date]
        rows = customer[draw.rows]
        inputs = to_tensors(features.inputs(market_stats, rows, self.mask(draw)))
        inputs = trimmed(inputs) if self.trim else inputs
        outcomes = to_tensors(features.outcomes(market_stats.cutoff, rows))
        batch = Batch(inputs, outcomes, torch.from_numpy(self.training_set.weights[draw.date]))
        if self.negative_rate == 1.0:
            return batch
        past = inputs.pair[..., self.task.feature.pair.index("purchase_days")] > 0
        return thinned(batch, past, self.negative_rate, draw.seed)

    def mask(self, draw: Draw) -> HistoryMask:
        """The history mask of the draw's customers, the same at every call."""
        offers = len(self.training_set.features.offers)
        return self.task.history_mask.draw(np.random.default_rng(draw.seed), draw.rows.size, offers)


class PointerBatches(Dataset[Pointers]):
    """Draw -> the batch of `ExampleBatches`, with positions of events in place of histories."""

    def __init__(self, batches: ExampleBatches) -> None:
        self.batches = batches

    def __getitem__(self, draw: Draw) -> Pointers:
        batch = self.batches[draw]
        features, market_stats, customer = self.batches.training_set.cutoffs_data[draw.date]
        position = features.positions(market_stats.cutoff, customer[draw.rows], self.batches.mask(draw))
        position = np.ascontiguousarray(position[:, : batch.inputs.kind.shape[1]])
        bare = batch.inputs._replace(**{name: getattr(batch.inputs, name)[:, :0] for name in HISTORY})
        day = torch.tensor(market_stats.cutoff.day)
        return Pointers(batch._replace(inputs=bare), torch.from_numpy(position), day)


class DateSampler(Sampler[Draw]):
    """Shuffles customers within each date and batches over all dates; every process gets as many batches as the others.

    Args: sizes, customers at each date; batch, customers per draw; rank and world of a distributed run; lengths, of the
    history of every customer at each date: given, a batch holds customers with histories of like length.
    """

    def __init__(
        self,
        sizes: list[int],
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        lengths: list[np.ndarray] | None = None,
    ) -> None:
        self.lengths = lengths
        self.sizes, self.batch, self.seed, self.rank, self.world = sizes, batch, seed, rank, world
        if (batches := sum(-(-size // batch) for size in sizes)) < world:
            raise ConfigurationError(
                f"{batches} batches cannot be shared by {world} processes; lower training.pairs_per_batch"
            )
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, so a resumed run draws what an uninterrupted one would have."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(-(-size // self.batch) for size in self.sizes) // self.world

    def __iter__(self) -> Iterator[Draw]:
        # A generator: a resumed run learns its epoch after the loader asked for an iterator, before its first draw.
        rng = np.random.default_rng((self.seed, self.epoch))
        draws = []
        for date, size in enumerate(self.sizes):
            rows = rng.permutation(size)
            if self.lengths is not None:
                rows = rows[np.argsort(self.lengths[date][rows], kind="stable")]
            parts = np.array_split(rows, -(-size // self.batch))
            draws += [Draw(date, rows, int(rng.integers(2**31))) for rows in parts]
        order = rng.permutation(len(draws))[self.rank :: self.world][: len(self)]
        yield from (draws[k] for k in order)


class PropensityDataModule(pl.LightningDataModule):
    """Feeds training examples; `pairs` customer x offer pairs make a batch.

    bucketed: a batch holds customers with histories of like length, and no empty slots beyond the longest.
    resident: the log waits on the device, and histories are gathered there.
    unbought: share that is kept of the pairs with neither a past nor a purchase.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        task: Task,
        pairs: int,
        seed: int,
        length_bucketing: bool = False,
        log_on_device: bool = False,
        negative_rate: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 < negative_rate <= 1:
            raise ConfigurationError(
                f"training.negative_rate={negative_rate} is no sampling rate; give one above 0 and at most 1"
            )
        self.training_set, self.task, self.seed = training_set, task, seed
        self.length_bucketing, self.log_on_device, self.negative_rate = length_bucketing, log_on_device, negative_rate
        self.log: DeviceLog | None = None
        self.batch = max(pairs // len(training_set.features.offers), 1)

    def train_dataloader(self) -> DataLoader[Any]:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        sizes = [cutoff_data.row.size for cutoff_data in self.training_set.cutoffs_data]
        sampler = DateSampler(
            sizes, self.batch, self.seed, rank, world, self.lengths() if self.length_bucketing else None
        )
        batches = ExampleBatches(self.training_set, self.task, self.length_bucketing, self.negative_rate)
        made: Dataset[Any] = PointerBatches(batches) if self.log_on_device else batches
        return DataLoader(made, sampler=sampler, batch_size=None, pin_memory=torch.cuda.is_available())

    def on_after_batch_transfer(self, batch: Batch | Pointers, dataloader_idx: int) -> Batch:
        """Called by Lightning once a batch is on the device."""
        if isinstance(batch, Batch):
            return batch
        if self.log is None:
            self.log = DeviceLog(self.training_set.features, batch.event.device)
        return self.log.filled(batch)

    def lengths(self) -> list[np.ndarray]:
        """Events in the history of every customer of each date."""
        return [o.features.lengths(o.market_stats.cutoff, o.row) for o in self.training_set.cutoffs_data]

    def sample(self, batches: int = 20) -> Inputs:
        """Inputs of a few batches spread over the dates, joined; history, offers and season are those of the first."""
        sizes = [cutoff_data.row.size for cutoff_data in self.training_set.cutoffs_data]
        draws = list(DateSampler(sizes, self.batch, self.seed))
        dataset = ExampleBatches(self.training_set, self.task)
        found = [dataset[draw].inputs for draw in draws[:batches]]
        pair, customer, context = (
            torch.cat([getattr(f, name) for f in found]) for name in ("pair", "customer_features", "context")
        )
        return found[0]._replace(pair=pair, customer_features=customer, context=context)
