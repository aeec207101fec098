"""Ours and a reference implementation, timed in one process: first checked equal, then in turns, in CPU-seconds."""

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
    """`ours` and a `reference` implementation of the same result.

    check raises AssertionError unless both agree, and is the warm-up; gate is the required ratio, aim the target; why
    explains a missed gate. scale multiplies the reference's seconds where it does a part of the work, ours_scale ours;
    share is work of the reference that is done once, whatever the scale. With limit the gate is an upper bound of ours
    over the reference.
    """

    name: str
    reference_name: str
    gate: float
    ours: Call
    reference: Call
    check: Call
    why: Callable[[], str]
    scale: float = 1.0
    aim: float | None = None
    share: Call | None = None
    ours_scale: float = 1.0
    limit: bool = False
    notes: list[str] = field(default_factory=list)


class Row(NamedTuple):
    """ratio: the reference's seconds over ours, with limit ours over the reference's; peaks in MB above the start."""

    name: str
    reference: str
    ratio: float
    gate: float
    met: bool
    ours_cpu_s: float
    reference_cpu_s: float
    why: str  # empty where the gate is met
    aim: float | None = None
    limit: bool = False
    ours_peak_mb: float = 0.0
    reference_peak_mb: float = 0.0


def run(race: Race, rounds: int) -> Row:
    """Median CPU-seconds of `rounds` turns each; the check before them is the warm-up of both."""
    race.check()
    turns = []
    for _ in range(rounds):
        (ours, ours_mb), (part, reference_mb) = measured(race.ours), measured(race.reference)
        once, once_mb = measured(race.share) if race.share else (0.0, 0.0)
        turns.append((race.ours_scale * ours, once + race.scale * part, ours_mb, max(reference_mb, once_mb)))
    ours, reference = (max(float(np.median(column)), 1e-9) for column in list(zip(*turns, strict=True))[:2])
    ratio = ours / reference if race.limit else reference / ours
    return row(race, ratio, ours, reference, tuple(float(peak) for peak in np.max(turns, axis=0)[2:]))


def row(race: Race, ratio: float, ours: float, reference: float, peaks: tuple[float, ...]) -> Row:
    met = ratio <= race.gate if race.limit else ratio >= race.gate
    why = "" if met else race.why()
    return Row(
        race.name, race.reference_name, ratio, race.gate, met, ours, reference, why, race.aim, race.limit, *peaks[:2]
    )


def cpu_seconds(call: Call) -> float:
    """CPU-seconds of a call, of all threads of this process."""
    start = time.process_time()
    call()
    return time.process_time() - start


def median_seconds(call: Call, rounds: int = 5) -> float:
    return float(np.median([cpu_seconds(call) for _ in range(rounds)]))


def measured(call: Call) -> tuple[float, float]:
    """CPU-seconds of a call and the growth of this process in MB, sampled every 20 ms; 0 where not on Linux."""
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
