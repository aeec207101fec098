"""Wall time, CPU time and peak memory of steps, and the estimate of what is left; apart from what a night writes."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

RECORD = "times.jsonl"
LAST = 10  # nights that an estimate is made from


class Meter:
    """Measures the steps of a night, and says how far it is.

    Parameters
    ----------
    record : Path
        File that gets a JSON line for every step that was done, with wall time, CPU time and peak memory.
    night : str
        Date of the night.
    steps : sequence of str
        Names of the steps, in their order.
    say : callable
        Receives a line when a step begins.
    as_json : bool
        Whether the lines are JSON.
    """

    def __init__(
        self, record: Path, night: str, steps: Sequence[str], say: Callable[[str], None], as_json: bool
    ) -> None:
        self.record, self.night, self.steps, self.say, self.as_json = record, night, list(steps), say, as_json
        self.usual = usual_seconds(record)
        self.began = time.monotonic()

    def begin(self, step: str, title: str) -> None:
        """Say which step begins, and how long the rest took on earlier nights."""
        place = self.steps.index(step)
        left = remaining(self.steps[place:], self.usual)
        if self.as_json:
            elapsed = round(time.monotonic() - self.began, 1)
            line = {"night": self.night, "step": step, "number": place + 1, "of": len(self.steps), "elapsed": elapsed}
            self.say(json.dumps(line | {"remaining": left}))
        else:
            estimate = "" if left is None else f", about {spoken(left)} left"
            self.say(f"{place + 1} of {len(self.steps)}, {step}: {title}{estimate}")

    def note(self, text: str) -> None:
        """Pass on what a step says."""
        self.say(json.dumps({"night": self.night, "message": text}) if self.as_json else f"  {text}")

    @contextmanager
    def measured(self, step: str) -> Iterator[None]:
        """Measure a step; a line is written when it has ended, also with an error."""
        reset_peak()
        wall, cpu = time.monotonic(), cpu_seconds()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            line = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "night": self.night,
                "step": step,
                "outcome": outcome,
                "wall_seconds": round(time.monotonic() - wall, 3),
                "cpu_seconds": round(cpu_seconds() - cpu, 3),
                "peak_bytes": peak_bytes(),
            }
            with self.record.open("a") as file:
                file.write(json.dumps(line) + "\n")


def usual_seconds(record: Path) -> dict[str, float]:
    """Median wall time of each step on the last nights that did it."""
    seconds: dict[str, list[float]] = {}
    for line in lines_of(record):
        try:
            if line["outcome"] == "done":
                seconds.setdefault(str(line["step"]), []).append(float(line["wall_seconds"]))
        except (ValueError, KeyError, TypeError):
            continue
    return {step: median(each[-LAST:]) for step, each in seconds.items()}


def remaining(steps: Sequence[str], usual: Mapping[str, float]) -> float | None:
    """Seconds that some steps usually take; None where one of them was never measured.

    >>> remaining(["append", "score"], {"append": 2.0, "score": 30.0}), remaining(["train"], {})
    (32.0, None)
    """
    known: list[float] = [usual[step] for step in steps if step in usual]
    return round(sum(known), 1) if known and len(known) == len(steps) else None


def spoken(seconds: float) -> str:
    """A duration in words.

    >>> spoken(32), spoken(200), spoken(8000)
    ('32 s', '3 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"


def cpu_seconds() -> float:
    """CPU time of this process and of children that have ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def reset_peak() -> None:
    """Begin to measure the peak of memory again, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_bytes() -> int:
    """Largest resident memory since `reset_peak`, or since the start of the process where that does nothing."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def times_of(record: Path, night: str) -> list[dict[str, Any]]:
    """The lines of a night, in the order in which they were written."""
    return [line for line in lines_of(record) if line.get("night") == night]


def lines_of(record: Path) -> Iterator[dict[str, Any]]:
    """The lines of all nights; those that were cut off are passed over."""
    for text in record.read_text().splitlines() if record.is_file() else []:
        with suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict):
                yield line
