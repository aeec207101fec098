# ruff: noqa: E402  (paths and threads are set before the libraries are imported)
"""Batches a second of the training loader by its threads, and the share of waiting: `python benchmarks/prefetch.py`.

The consumer takes no time. Numbers of threads alternate, `--rounds` times, in one process; medians, and the system's
load before each round. Then a training by default settings runs without threads and with one, in turns. Batches are
compared first: they are the same for any number of threads.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))  # so that `benchmarks` is found when this file is run
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")  # before the libraries are imported

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor
from torch.optim import Optimizer

import propensity.command  # noqa: F401  (registers the schemas)
from benchmarks.market import Size, market
from propensity.config import conf_folder
from propensity.model.offer_net import OfferNet
from propensity.training.data_module import PropensityDataModule
from propensity.training.loader import BatchLoader
from propensity.training.module import Loss, mean_terms, parameter_groups

CUTOFFS = 4
THREADS = (0, 1, 2)


class Scene(NamedTuple):
    """A training: its data module, network, loss and optimizer."""

    data: PropensityDataModule
    model: OfferNet
    loss: Loss
    optimizer: Optimizer

    @property
    def sizes(self) -> dict[str, int]:
        """Customers and offers of a batch, pair columns and parameters."""
        parameters = sum(each.numel() for each in self.model.parameters())
        offers, columns = len(self.data.training_set.features.offers), len(self.data.task.feature.pair)
        return {"customers": self.data.batch_size, "offers": offers, "columns": columns, "parameters": parameters}

    def step(self, batch: Any) -> None:
        """A training step on the device of the network."""
        self.optimizer.zero_grad()
        mean_terms(self.model, self.loss, batch).total.backward()
        self.optimizer.step()


def scene(log: Path, *overrides: str, device: str = "cpu") -> Scene:
    """Training by its default settings on a log."""
    settings = ["data.offer.column=category", f"data.cutoff.count={CUTOFFS}", "data.offer.min_buyers=1", "out=none"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = compose("train", overrides=[f"data.log={log}", *settings, *overrides])
    task, training = (instantiate(part, _convert_="all") for part in (cfg.data, cfg.training))
    training_set = task.training_set(task.open())
    data: PropensityDataModule = training.data_module(training_set, task, cfg.seed)
    model, loss = instantiate(cfg.model, sizes=task.feature.sizes(training_set.vocabulary)), instantiate(cfg.loss)
    model.fit_scales(data.sample(1))
    optimizer = instantiate(cfg.optimizer, _convert_="all")(parameter_groups(model.to(device)))
    return Scene(data, model, loss, optimizer)


def loader(data: PropensityDataModule, threads: int) -> BatchLoader:
    """The training loader with so many threads."""
    data.prefetch_threads = threads
    return data.train_dataloader()


def tensors(batch: Any) -> Iterator[Tensor]:
    """The tensors of a batch."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, tuple):
        for part in batch:
            yield from tensors(part)


def check(data: PropensityDataModule, batches: int) -> None:
    """AssertionError unless the batches are the same for all numbers of threads."""
    for together in zip(*(islice(loader(data, threads), batches) for threads in THREADS), strict=True):
        for first, *others in zip(*map(tensors, together), strict=True):
            for other in others:
                torch.testing.assert_close(other, first, rtol=0, atol=0, equal_nan=True)


def rates(data: PropensityDataModule, batches: int, rounds: int) -> dict[str, Any]:
    """Batches a second and CPU-seconds of a batch by the number of threads."""
    seconds: dict[int, list[float]] = {threads: [] for threads in THREADS}
    cpu: dict[int, list[float]] = {threads: [] for threads in THREADS}
    loads = []
    for k in range(rounds):
        loads.append(os.getloadavg()[0])
        for threads in THREADS if k % 2 else THREADS[::-1]:
            ready = iter(loader(data, threads))
            next(ready)  # threads have started
            start, start_cpu = time.perf_counter(), time.process_time()
            taken = sum(1 for _ in islice(ready, batches))
            seconds[threads].append((time.perf_counter() - start) / taken)
            cpu[threads].append((time.process_time() - start_cpu) / taken)
            del ready
    per_batch = {threads: float(np.median(values)) for threads, values in seconds.items()}
    ratios = np.array(seconds[1]) / np.array(seconds[2])
    return {
        "batches_s": {str(threads): 1 / value for threads, value in per_batch.items()},
        "cpu_s": {str(threads): float(np.median(values)) for threads, values in cpu.items()},
        "two_over_one": float(np.median(ratios)),
        "two_over_one_rounds": [round(float(each), 2) for each in ratios],
        "load": [round(each, 1) for each in loads],
    }


def waiting(found: Scene, steps: int, rounds: int) -> dict[str, Any]:
    """Share of the time in which a training waits for its batches, and its seconds a step, by the number of threads."""
    shares: dict[int, list[float]] = {threads: [] for threads in (0, 1)}
    seconds: dict[int, list[float]] = {threads: [] for threads in (0, 1)}
    for k in range(rounds):
        for threads in (0, 1) if k % 2 else (1, 0):
            batches = loader(found.data, threads)
            start = time.perf_counter()
            for batch in islice(batches, steps):
                found.step(batch)
            took = time.perf_counter() - start
            shares[threads].append(batches.waited / took)
            seconds[threads].append(took / steps)
    return {
        "share": {str(threads): float(np.median(values)) for threads, values in shares.items()},
        "step_s": {str(threads): float(np.median(values)) for threads, values in seconds.items()},
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="benchmarks/prefetch.py", description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--offers", type=int, default=200)
    parser.add_argument("--batches", type=int, default=100, help="of a turn")
    parser.add_argument("--steps", type=int, default=10, help="training steps of a turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="folder to make the market in, or to find it in again")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the training, as on the command line")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    size = Size(chosen.customers, chosen.events, chosen.offers, 0, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        place = chosen.keep or Path(folder)
        market(size, place)
        found = scene(place / "log", *chosen.set)
        check(found.data, min(chosen.batches, 8))
        results = {
            "sizes": found.sizes,
            "loader": rates(found.data, chosen.batches, chosen.rounds),
            "training": waiting(found, chosen.steps, chosen.rounds),
        }
    print(json.dumps(results, indent=1))
    return results


if __name__ == "__main__":
    main()
