"""Stragglers and failures of a cluster, simulated: `python benchmarks/scale_simulation.py`.

Blocks are given one at a time to the worker that is free first, as Ray does. Block times are log-normal around the
measured CPU-seconds of a block; some workers are slow; a lost worker loses its block, which is computed again from its
start, and comes back after a while. Nothing here is measured but the seconds of a block.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

SECONDS_PER_PAIR = 3.04e-6  # CPU, benchmarks/results.md: batch scoring, from the log to files
CUSTOMERS, OFFERS, PART = 100_000_000, 225, 16_384
OPENING = 20.0  # seconds until a worker has opened bundle and log


class Result(NamedTuple):
    """Hours until the last block is there, useful share of the workers' time, and blocks that are computed again."""

    hours: float
    useful: float
    again: int


def simulate(
    workers: int, slow: float = 0.0, hours_between_losses: float = np.inf, spread: float = 0.15, seed: int = 0
) -> Result:
    """Score all customers.

    Parameters
    ----------
    workers : int
        Number of workers.
    slow : float
        Share of the workers that take twice the time.
    hours_between_losses : float
        Mean hours until a worker is lost.
    spread : float
        Standard deviation of the logarithm of a block's seconds.
    seed : int
        Of the random numbers.

    Returns
    -------
    Result
        Of one run.
    """
    rng = np.random.default_rng(seed)
    blocks = -(-CUSTOMERS // PART)
    seconds = SECONDS_PER_PAIR * PART * OFFERS * np.exp(rng.normal(-(spread**2) / 2, spread, blocks))
    pace = np.where(np.arange(workers) < round(slow * workers), 2.0, 1.0)
    lost = rng.exponential(hours_between_losses * 3600, workers) if np.isfinite(hours_between_losses) else None
    free = [(OPENING, worker) for worker in range(workers)]
    waiting, again, end = list(seconds[::-1]), 0, 0.0
    while waiting:
        time, worker = heapq.heappop(free)
        block = waiting.pop()
        done = time + block * pace[worker]
        if lost is not None and lost[worker] < done:  # noticed after up to 15 s, and back after a minute
            back = max(lost[worker], time) + rng.uniform(0, 15) + 60
            lost[worker] = back + rng.exponential(hours_between_losses * 3600)
            waiting.append(block)
            again += 1
            heapq.heappush(free, (back + OPENING, worker))
            continue
        heapq.heappush(free, (done, worker))
        end = max(end, done)
    return Result(end / 3600, float(seconds.sum() / (end * workers)), again)


def main() -> None:
    """Print the table of docs/scale.md."""
    print("| workers | slow workers | hours between losses of a worker | hours | useful time | blocks again |")
    print("|---:|---:|---:|---:|---:|---:|")
    for workers, slow, losses in ((4, 0, np.inf), (64, 0, np.inf), (64, 0.1, np.inf), (64, 0, 2), (64, 0.1, 2)):
        runs = np.array([simulate(workers, slow, losses, seed=seed) for seed in range(5)]).mean(0)
        name = "none" if np.isinf(losses) else f"{losses:g}"
        print(f"| {workers} | {slow:.0%} | {name} | {runs[0]:.2f} | {runs[1]:.0%} | {runs[2]:.0f} |")


if __name__ == "__main__":
    main()
