"""Wall time, CPU time and peak memory of steps, and the estimate of what is left; apart from what a night writes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from propensity.progress import RECORD as RECORD
from propensity.progress import cpu_seconds, lines_of, peak_bytes, reset_peak, with_estimate

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
            self.say(with_estimate(f"{place + 1} of {len(self.steps)}, {step}: {title}", left))

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


def times_of(record: Path, night: str) -> list[dict[str, Any]]:
    """The lines of a night, in the order in which they were written."""
    return [line for line in lines_of(record) if line.get("night") == night]
