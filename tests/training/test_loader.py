"""Batches computed ahead by threads: the same for any number, in order, in memory that nothing else reads."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from conftest import QUICK, SMALL
from propensity.feature.history_mask import RandomHistoryMask
from propensity.training.buffer import SMALLEST, Buffers
from propensity.training.data_module import PropensityDataModule
from propensity.training.loader import AHEAD, BatchLoader, default_threads
from propensity.training.run import train

MASK = RandomHistoryMask(offer=0.3, recent=0.3, everything=0.1, launched=0.1)
LOADERS: dict[str, dict[str, Any]] = {
    "usual": {"negative_rate": 0.3},
    "bucketed": {"length_bucketing": True},
    "on the device": {"log_on_device": True},
    "many cutoffs": {"cutoffs_per_batch": 4},
}


def tensors(batch: Any) -> Iterator[Tensor]:
    """The tensors of a batch, in order."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, tuple):
        for part in batch:
            yield from tensors(part)


def running() -> list[str]:
    """Names of the threads of loaders."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


class Numbers(Dataset[Tensor]):
    """Tensors of an index, over reused memory; index `broken` raises."""

    def __init__(self, broken: int = -1) -> None:
        self.buffers, self.broken = Buffers(), broken

    def __getitem__(self, index: int) -> Tensor:
        if index == self.broken:
            raise ValueError(f"batch {index}")
        array = self.buffers.empty((SMALLEST,), np.float32)
        array[:] = index
        return torch.from_numpy(array)


@pytest.mark.parametrize("kind", LOADERS)
def test_batches_are_the_same_for_any_number_of_threads(small_world: dict[str, Any], kind: str) -> None:
    task = replace(small_world["task"], history_mask=MASK)
    several = []
    for threads in (0, 1, 3):
        data = PropensityDataModule(small_world["examples"], task, 1_500, 3, prefetch_threads=threads, **LOADERS[kind])
        several.append([list(tensors(batch)) for batch in islice(data.train_dataloader(), 6)])
    assert len(several[0]) >= 4 and sum(len(batch) for batch in several[0]) > 60
    for batches in several[1:]:
        for found, expected in zip(batches, several[0], strict=True):
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_batches_come_in_the_order_of_the_sampler_once_each_and_threads_end(threads: int) -> None:
    loader = BatchLoader(Numbers(), range(40), threads)  # type: ignore[arg-type]  # any sized iterable of indices
    assert len(loader) == 40
    for _ in range(2):
        assert [int(batch[0]) for batch in loader] == list(range(40))
    assert loader.waited > 0 and not running()


def test_a_loader_that_nobody_reads_starts_no_thread_and_an_abandoned_one_ends_its_threads() -> None:
    batches = iter(BatchLoader(Numbers(), range(40), 2))  # type: ignore[arg-type]
    assert not running()
    next(batches)
    assert 1 <= len(running()) <= 2
    del batches
    assert not running()


def test_a_loader_computes_a_bounded_number_of_batches_ahead() -> None:
    dataset = Numbers()
    batches = iter(BatchLoader(dataset, range(200), 2))  # type: ignore[arg-type]
    for _ in range(150):
        next(batches)
    assert dataset.buffers.size <= (AHEAD * 2 + 2) * SMALLEST * 4


def test_an_error_in_a_thread_is_raised_at_its_batch() -> None:
    batches = iter(BatchLoader(Numbers(broken=3), range(40), 2))  # type: ignore[arg-type]
    assert [int(next(batches)[0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="batch 3"):
        next(batches)
    assert not running()


def test_batches_that_are_kept_are_not_overwritten() -> None:
    kept = list(BatchLoader(Numbers(), range(12), 2))  # type: ignore[arg-type]
    views = [batch[10:20] for batch in kept]
    del kept
    again = list(BatchLoader(Numbers(), range(12), 2))  # type: ignore[arg-type]
    assert [view.unique().tolist() for view in views] == [[k] for k in range(12)]
    assert len(again) == 12


def test_memory_goes_back_with_the_last_tensor_and_is_used_again() -> None:
    buffers = Buffers()
    tensor = torch.from_numpy(buffers.empty((512, 256), np.float32))[5:, ::2]
    first = buffers.size
    assert buffers.free == 0
    place = tensor.data_ptr()
    del tensor
    gc.collect()
    assert buffers.free == first
    again = buffers.empty((512, 255), np.float32)  # nearly the same size
    assert buffers.size == first and again.ctypes.data <= place < again.ctypes.data + again.nbytes


@pytest.mark.parametrize(("shape", "dtype"), [((3,), np.int64), ((300, 400), bool), ((0, 5), np.float32)])
def test_an_array_in_reused_memory_has_shape_type_and_can_be_written(shape: tuple[int, ...], dtype: type) -> None:
    array = Buffers().empty(shape, dtype)
    array[...] = 1
    assert array.shape == shape and array.dtype == dtype and array.all()
    assert array.flags.c_contiguous and array.flags.writeable


def test_the_number_of_threads_follows_from_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, threads in ((1, 0), (2, 1), (4, 3), (64, 8)):
        monkeypatch.setattr("propensity.training.loader.available_cpus", lambda cpus=cpus: cpus)
        assert default_threads() == threads


@pytest.mark.slow
def test_a_training_gives_the_same_weights_with_threads_and_leaves_none(
    small_world: dict[str, Any], composed: Callable[..., Any], tmp_path: Path
) -> None:
    states = []
    for threads in (0, 2):
        settings = [*SMALL, *QUICK, f"data.log={small_world['folder']}", "trainer.max_steps=4"]
        config = composed("train", *settings, f"training.prefetch_threads={threads}", f"out={tmp_path / str(threads)}")
        states.append(train(config)[0].state_dict())
        assert not running()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
