"""Two ways to the same result, timed in one process: checked equal first, then in turns, in CPU-seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Race(NamedTuple):
    """`ours` against `rival`, whose seconds count `scale` times where it does only a part of the work.

    same: raises AssertionError unless both results agree; gate: the ratio to reach; why: asked where it is missed.
    """

    name: str
    rival_name: str
    gate: float
    ours: Callable[[], Any]
    rival: Callable[[], Any]
    same: Callable[[Any, Any], None]
    why: Callable[[], str]
    scale: float = 1.0


class Row(NamedTuple):
    name: str
    rival: str
    ratio: float
    gate: float
    met: bool
    ours_cpu_s: float
    rival_cpu_s: float
    why: str  # empty where the gate is met


def run(race: Race, rounds: int) -> Row:
    """Median CPU-seconds of `rounds` turns each; the check before them is the warm-up of both."""
    race.same(race.ours(), race.rival())
    turns = [(cpu_seconds(race.ours), race.scale * cpu_seconds(race.rival)) for _ in range(rounds)]
    ours, rival = np.median(turns, axis=0)
    ratio = float(rival / max(ours, 1e-9))
    met = ratio >= race.gate
    return Row(race.name, race.rival_name, ratio, race.gate, met, float(ours), float(rival), "" if met else race.why())


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Of all threads of this process."""
    start = time.process_time()
    call()
    return time.process_time() - start


def median_seconds(call: Callable[[], Any], rounds: int = 5) -> float:
    return float(np.median([cpu_seconds(call) for _ in range(rounds)]))
