"""Two ways to the same result, timed in one process: checked equal first, then in turns, in CPU-seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

import numpy as np

Call = Callable[[], Any]


@dataclass
class Race:
    """`ours` against `rival`, whose seconds count `scale` times where it does only a part of the work.

    check: raises AssertionError unless both agree, and warms both up; gate: the ratio to reach, aim: the one hoped for;
    why: asked where the gate is missed; share: work of the rival that is done once, whatever the scale; ours_scale:
    how often our own seconds count. limit: the gate is not to be passed, and `ratio` is ours over the rival's.
    """

    name: str
    rival_name: str
    gate: float
    ours: Call
    rival: Call
    check: Call
    why: Callable[[], str]
    scale: float = 1.0
    aim: float | None = None
    share: Call | None = None
    ours_scale: float = 1.0
    limit: bool = False
    notes: list[str] = field(default_factory=list)


class Row(NamedTuple):
    """ratio: the rival's seconds over ours, or with limit ours over the rival's; peaks in MB above the start."""

    name: str
    rival: str
    ratio: float
    gate: float
    met: bool
    ours_cpu_s: float
    rival_cpu_s: float
    why: str  # empty where the gate is met
    aim: float | None = None
    limit: bool = False
    ours_peak_mb: float = 0.0
    rival_peak_mb: float = 0.0


def run(race: Race, rounds: int) -> Row:
    """Median CPU-seconds of `rounds` turns each; the check before them is the warm-up of both."""
    race.check()
    turns = []
    for _ in range(rounds):
        (ours, ours_mb), (part, rival_mb) = measured(race.ours), measured(race.rival)
        once, once_mb = measured(race.share) if race.share else (0.0, 0.0)
        turns.append((race.ours_scale * ours, once + race.scale * part, ours_mb, max(rival_mb, once_mb)))
    ours, rival = (max(float(np.median(column)), 1e-9) for column in list(zip(*turns, strict=True))[:2])
    ratio = ours / rival if race.limit else rival / ours
    return row(race, ratio, ours, rival, tuple(float(peak) for peak in np.max(turns, axis=0)[2:]))


def row(race: Race, ratio: float, ours: float, rival: float, peaks: tuple[float, ...]) -> Row:
    met = ratio <= race.gate if race.limit else ratio >= race.gate
    why = "" if met else race.why()
    return Row(race.name, race.rival_name, ratio, race.gate, met, ours, rival, why, race.aim, race.limit, *peaks[:2])


def cpu_seconds(call: Call) -> float:
    """Of all threads of this process."""
    start = time.process_time()
    call()
    return time.process_time() - start


def median_seconds(call: Call, rounds: int = 5) -> float:
    return float(np.median([cpu_seconds(call) for _ in range(rounds)]))


def measured(call: Call) -> tuple[float, float]:
    """CPU-seconds of a call, and how far this process grew in it in MB, looked at every 20 ms; 0 off Linux."""
    before, high, done = resident_mb(), [0.0], Event()

    def watch() -> None:
        while not done.wait(0.02):
            high[0] = max(high[0], resident_mb() - before)

    watcher = Thread(target=watch)
    watcher.start()
    try:
        seconds = cpu_seconds(call)
        return seconds, max(high[0], resident_mb() - before)
    finally:
        done.set()
        watcher.join()


def resident_mb() -> float:
    place = Path("/proc/self/statm")
    return int(place.read_text().split()[1]) * 4096 / 1e6 if place.exists() else 0.0
