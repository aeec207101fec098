"""Batches from the event log: a sample of customers at one cutoff, computed by kernels when it is requested.

There is no per-sample Python and no cache on disk; the batches of an epoch follow from (seed, epoch) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from propensity.data.batch import HISTORY, Batch, Inputs
from propensity.errors import ConfigurationError
from propensity.feature.history_mask import HistoryMask
from propensity.model.base_rate import BaseRates
from propensity.model.inference import to_tensors
from propensity.task import Task, TrainingSet
from propensity.training.buffer import Buffers
from propensity.training.device_log import DeviceLog, PositionBatch
from propensity.training.held_out import held_out_customers
from propensity.training.length import Length
from propensity.training.loader import BatchLoader
from propensity.training.shared_batch import SharedBatch, SharedBatches, SharedSampler
from propensity.training.validation import Validation


def trim_padding(inputs: Inputs) -> Inputs:
    """The same inputs without the history positions that are padding for every customer of the batch."""
    width = max(int(inputs.length.max()), 1) if len(inputs.length) else 1
    return inputs._replace(**{name: getattr(inputs, name)[:, :width] for name in HISTORY})


def sample_negatives(batch: Batch, known: torch.Tensor, rate: float, seed: int) -> Batch:
    """A batch with a sample of its never-bought negatives: K of all (B, M) pairs.

    Parameters
    ----------
    batch : of all pairs.
    known : (B, M) bool, pairs with a purchase before the cutoff; they and all positives stay.
    rate : sampling rate of the other pairs, in (0, 1].
    seed : of the sample.

    Returns
    -------
    The batch of the sampled pairs. Its weights (K,) are inverse sampling probabilities, scaled such that the expected
    weighted mean over the sample is the mean over all pairs. A batch whose sample would be empty is returned as it is.
    """
    inputs, outcomes = batch.inputs, batch.outcomes
    certain = known | (outcomes.bought > 0)
    drawn = np.random.default_rng((seed, 1)).random(tuple(certain.shape), np.float32) < rate
    place = (certain | torch.from_numpy(drawn)).flatten().nonzero().squeeze(1)
    if place.numel() == 0:
        return batch
    weight = torch.where(certain, 1.0, 1.0 / rate) * batch.weight * (place.numel() / certain.numel())

    def select(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(0, 1)[place]

    outcomes = outcomes._replace(bought=select(outcomes.bought), revenue=select(outcomes.revenue))
    return Batch(inputs._replace(pair=select(inputs.pair)), outcomes, select(weight), place)


class BatchIndex(NamedTuple):
    """Which customers of which training cutoff make a batch, and the seed of its history mask and negatives."""

    cutoff: int  # place in the training set
    rows: np.ndarray  # places among the cutoff's customers
    seed: int


class TrainingBatches(Dataset[Batch]):
    """From a `BatchIndex` to the batch.

    Parameters
    ----------
    training_set : cutoffs with their customers and weights.
    task : whose history mask is applied.
    trim : whether histories are as wide as the longest of the batch.
    negative_rate : sampling rate of never-bought negatives; 1 keeps all pairs.
    """

    def __init__(self, training_set: TrainingSet, task: Task, trim: bool = False, negative_rate: float = 1.0) -> None:
        self.training_set, self.task, self.trim, self.negative_rate = training_set, task, trim, negative_rate

    def __getitem__(self, index: BatchIndex) -> Batch:
        return self.batch(*index, self.history_mask(index))

    def batch(self, cutoff: int, rows: np.ndarray, seed: int, mask: HistoryMask) -> Batch:
        """The batch of a `BatchIndex` with a history mask of its customers."""
        features, market_stats, customer = self.training_set.cutoffs_data[cutoff]
        inputs = to_tensors(features.inputs(market_stats, customer[rows], mask))
        inputs = trim_padding(inputs) if self.trim else inputs
        outcomes = to_tensors(features.outcomes(market_stats.cutoff, customer[rows]))
        batch = Batch(inputs, outcomes, torch.from_numpy(self.training_set.weights[cutoff]))
        if self.negative_rate == 1.0:
            return batch
        known = inputs.pair[..., self.task.feature.pair.index("purchase_days")] > 0
        return sample_negatives(batch, known, self.negative_rate, seed)

    def history_mask(self, index: BatchIndex) -> HistoryMask:
        """The history that is masked for the customers of a batch; it follows from the batch's seed."""
        offers = len(self.training_set.features.offers)
        return self.task.history_mask.draw(np.random.default_rng(index.seed), index.rows.size, offers)


class PositionBatches(Dataset[PositionBatch]):
    """The batches of `TrainingBatches` with positions of events in place of histories."""

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches

    def __getitem__(self, index: BatchIndex) -> PositionBatch:
        batch = self.batches[index]
        features, market_stats, customer = self.batches.training_set.cutoffs_data[index.cutoff]
        mask = self.batches.history_mask(index)
        position = features.positions(market_stats.cutoff, customer[index.rows], mask)
        position = np.ascontiguousarray(position[:, : batch.inputs.kind.shape[1]])
        empty = batch.inputs._replace(**{name: getattr(batch.inputs, name)[:, :0] for name in HISTORY})
        day = torch.tensor(market_stats.cutoff.day)
        return PositionBatch(batch._replace(inputs=empty), torch.from_numpy(position), day)


class ValidationBatches(Dataset[Batch]):
    """Blocks of customers of each validation cutoff, in order, with all offers, nothing masked or sampled."""

    def __init__(self, validation: Validation, pairs: int) -> None:
        self.validation = validation
        self.blocks: list[tuple[int, np.ndarray]] = []  # place of the cutoff, rows of its log
        for place, each in enumerate(validation.cutoffs_data):
            size = max(pairs // len(each.features.offers), 1)
            self.blocks += [(place, each.row[k : k + size]) for k in range(0, each.row.size, size)]

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, number: int) -> Batch:
        place, customer = self.blocks[number]
        features, market_stats, _ = self.validation.cutoffs_data[place]
        complete = self.validation.complete[place]
        rows = np.searchsorted(complete.log.customer_id, features.log.customer_id[customer])
        inputs = to_tensors(features.inputs(market_stats, customer))
        outcomes = to_tensors(complete.outcomes(market_stats.cutoff, rows))
        return Batch(inputs, outcomes, torch.ones(len(features.offers)))

    def held_out(self, share: float) -> list[np.ndarray]:
        """Which customers of each batch are held out of training; empty without a share."""
        if share == 0:
            return []
        flags = [held_out_customers(each.features.log, share) for each in self.validation.cutoffs_data]
        return [flags[place][customer] for place, customer in self.blocks]

    def placed(self) -> Iterator[tuple[int, Batch]]:
        """All batches, each with the place of its cutoff."""
        for number, (place, _) in enumerate(self.blocks):
            yield place, self[number]


class CutoffSampler(Sampler[BatchIndex]):
    """Shuffles the customers of each cutoff, and the batches of all cutoffs; each process gets equally many batches.

    Parameters
    ----------
    sizes : customers at each cutoff.
    batch_size : customers in a batch.
    seed : of the order.
    rank, world : number of this process, and processes of a distributed run.
    lengths : history length of every customer at each cutoff; where given, a batch holds customers of similar length.
    orders : at each cutoff, the order of the customers that is shuffled; None: as they stand. Customers stand in the
        order of their ids, which differs between numbers and text.

    Raises
    ------
    ConfigurationError
        If there are fewer batches than processes.
    """

    def __init__(
        self,
        sizes: list[int],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        lengths: list[np.ndarray] | None = None,
        orders: list[np.ndarray] | None = None,
    ) -> None:
        self.lengths, self.orders = lengths, orders
        self.sizes, self.batch_size, self.seed, self.rank, self.world = sizes, batch_size, seed, rank, world
        if (batches := sum(-(-size // batch_size) for size in sizes)) < world:
            raise ConfigurationError(
                f"{batches} batches cannot be shared by {world} processes; lower training.pairs_per_batch"
            )
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch, so that a resumed run draws what an uninterrupted one would."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(-(-size // self.batch_size) for size in self.sizes) // self.world

    def __iter__(self) -> Iterator[BatchIndex]:
        # A generator: a resumed run learns its epoch after the loader asked for an iterator, before the first batch.
        rng = np.random.default_rng((self.seed, self.epoch))
        batches = []
        for cutoff, size in enumerate(self.sizes):
            rows = rng.permutation(size if self.orders is None else self.orders[cutoff])
            if self.lengths is not None:
                rows = rows[np.argsort(self.lengths[cutoff][rows], kind="stable")]
            parts = np.array_split(rows, -(-size // self.batch_size))
            batches += [BatchIndex(cutoff, rows, int(rng.integers(2**31))) for rows in parts]
        order = rng.permutation(len(batches))[self.rank :: self.world][: len(self)]
        yield from (batches[k] for k in order)


class PropensityDataModule(pl.LightningDataModule):
    """Batches of the training set, and of the validation cutoffs.

    Parameters
    ----------
    training_set : cutoffs with their customers and weights.
    task : whose history mask is applied.
    pairs_per_batch : customer x offer pairs in a batch.
    seed : of the order of batches, of history masks and of sampled negatives.
    length_bucketing : whether a batch holds histories of similar length, trimmed to the longest.
    log_on_device : whether the event log is kept on the device, where histories are gathered.
    negative_rate : sampling rate of never-bought negatives.
    validation : cutoffs to validate at; None: no validation.
    cutoffs_per_batch : cutoffs at which a batch holds its customers, at most; with more than 1 batches are
        `SharedBatch`, whose histories a causal encoder reads once.
    prefetch_threads : threads that compute training batches ahead; 0: none.

    Attributes
    ----------
    base_rates, length : of the training labels, and sizes of the training; `TrainingConfig.data_module` sets them.

    Raises
    ------
    ConfigurationError
        For a negative_rate outside (0, 1], and for histories on the device at several cutoffs.
    """

    base_rates: BaseRates
    length: Length

    def __init__(
        self,
        training_set: TrainingSet,
        task: Task,
        pairs_per_batch: int,
        seed: int,
        length_bucketing: bool = False,
        log_on_device: bool = False,
        negative_rate: float = 1.0,
        validation: Validation | None = None,
        cutoffs_per_batch: int = 1,
        prefetch_threads: int = 0,
    ) -> None:
        super().__init__()
        if cutoffs_per_batch > 1 and log_on_device:
            raise ConfigurationError(
                f"training.cutoffs_per_batch={cutoffs_per_batch} reads histories on the host; set "
                "training.log_on_device=false"
            )
        if not 0 < negative_rate <= 1:
            raise ConfigurationError(
                f"training.negative_rate={negative_rate} is no sampling rate; give one above 0 and at most 1"
            )
        self.training_set, self.task, self.seed = training_set, task, seed
        self.length_bucketing, self.log_on_device, self.negative_rate = length_bucketing, log_on_device, negative_rate
        self.cutoffs_per_batch, self.prefetch_threads = cutoffs_per_batch, prefetch_threads
        self.device_log: DeviceLog | None = None
        self.batch_size = max(pairs_per_batch // len(training_set.features.offers), 1)
        self.validation = None if validation is None else ValidationBatches(validation, pairs_per_batch)

    def train_dataloader(self) -> BatchLoader:
        """Loader of the training batches of this process."""
        sampler, batches = self.sampler(), self.batches()
        dataset: Dataset[Any] = PositionBatches(batches) if self.log_on_device else batches
        if self.cutoffs_per_batch > 1:
            dataset = SharedBatches(batches, self.cutoffs_per_batch)
        return BatchLoader(dataset, sampler, self.prefetch_threads)

    def batches(self) -> TrainingBatches:
        """Training batches of one cutoff each, in memory that is used again."""
        buffers = Buffers(pinned=torch.cuda.is_available())
        training_set = self.training_set.in_memory_of(buffers.empty)
        return TrainingBatches(training_set, self.task, self.length_bucketing, self.negative_rate)

    def sampler(self) -> CutoffSampler | SharedSampler:
        """The sampler of the batches of this process."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        place = self.batch_size, self.seed, rank, world
        if self.cutoffs_per_batch > 1:
            cutoffs_data = self.training_set.cutoffs_data
            return SharedSampler(cutoffs_data, self.cutoffs_per_batch, *place, self.length_bucketing)
        lengths = self.lengths() if self.length_bucketing else None
        return CutoffSampler(self.sizes(), *place, lengths, self.orders())

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Loader of the validation batches, the same for all processes; empty without a validation."""
        if self.validation is None:
            return []
        own = torch.Generator()  # a validation does not use up the random numbers of training
        return [DataLoader(self.validation, batch_size=None, generator=own, pin_memory=torch.cuda.is_available())]

    def on_after_batch_transfer(
        self, batch: Batch | PositionBatch | SharedBatch, dataloader_idx: int
    ) -> Batch | SharedBatch:
        """Gathers histories on the device; Lightning calls this once a batch is there."""
        if not isinstance(batch, PositionBatch):
            return batch
        if self.device_log is None:
            self.device_log = DeviceLog(self.training_set.features, batch.position.device)
        return self.device_log.gather(batch)

    def sizes(self) -> list[int]:
        """Customers at each training cutoff."""
        return [cutoff_data.row.size for cutoff_data in self.training_set.cutoffs_data]

    def orders(self) -> list[np.ndarray]:
        """Customers at each training cutoff by the hash of their ids, whatever the type of these."""
        id_hash = self.training_set.features.log.id_hash()
        return [np.argsort(id_hash[each.row]) for each in self.training_set.cutoffs_data]

    def lengths(self) -> list[np.ndarray]:
        """History length of every customer at each training cutoff."""
        return [each.features.lengths(each.market_stats.cutoff, each.row) for each in self.training_set.cutoffs_data]

    def sample(self, batches: int = 20) -> Inputs:
        """Inputs of a few batches over the cutoffs, concatenated; history, offers and season are those of the first."""
        indices = list(CutoffSampler(self.sizes(), self.batch_size, self.seed, orders=self.orders()))
        dataset = TrainingBatches(self.training_set, self.task)
        parts = [dataset[index].inputs for index in indices[:batches]]
        pair, customer, context = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("pair", "customer_features", "context")
        )
        return parts[0]._replace(pair=pair, customer_features=customer, context=context)
