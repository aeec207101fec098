"""What a command is doing, how long it will take, and what each of its steps cost.

A command has one `Progress`, which the code below it reaches by `step` and `track`; without a command they do nothing.
The record is a file of JSON lines beside what the command made: a line for each step, and one for the whole command.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from propensity.errors import ConfigurationError

RECORD = "times.jsonl"
VARIABLE = "PROPENSITY_PROGRESS"  # text, or json for a JSON object in each line on stderr
LAST = 10  # earlier commands that an estimate is made from
EVERY = 1.0  # least seconds between two JSON lines, or changes of a bar, of a count
Show = Callable[[str, float | None], None]  # text, and seconds that are left


def as_json() -> bool:
    """Whether progress is written as JSON lines.

    Raises
    ------
    ConfigurationError
        If the environment says neither text nor json.
    """
    value = os.environ.get(VARIABLE) or "text"
    if value not in ("text", "json"):
        raise ConfigurationError(f"progress={value} is unknown; use text or json")
    return value == "json"


class Progress:
    """The steps of a running command.

    Parameters
    ----------
    command : str
        Its name.
    label : str
        What it does, shown until the first step.
    beside : Path or None
        Folder of the record; None for none.
    out : str
        What the command makes, named in the record.
    show : callable or None
        Receives each text, and the seconds that are left or None. None: JSON lines on stderr.
    every : float
        Least seconds between two texts of a count.
    """

    def __init__(
        self, command: str, label: str, beside: Path | None, out: str, show: Show | None, every: float = EVERY
    ) -> None:
        self.command, self.out, self.show, self.every = command, out, show, every
        self.record = None if beside is None else beside / RECORD
        self.usual = usual_total(self.record, command)
        self.began = time.monotonic()
        self.whole, self.step = Measure(label), Measure(label)
        self.lines: list[dict[str, Any]] = []
        self.tell(label)

    def say(self, text: str) -> None:
        """A sentence of a command is the beginning of its next step."""
        self.lines.append({"step": self.step.text, "outcome": "done", **self.step.measured()})
        self.step = Measure(text)
        self.tell(text)

    def tell(self, text: str, left: float | None = None, **more: Any) -> None:
        """Show a text with the time that is left: as given, else what earlier commands took."""
        self.told = time.monotonic()
        elapsed = self.told - self.began
        if left is None and self.usual is not None:
            left = max(self.usual - elapsed, 0.0)
        if self.show is not None:
            return self.show(text, left)
        line = {"command": self.command, "message": text, "elapsed": round(elapsed, 1), "remaining": rounded(left)}
        print(json.dumps(line | more), file=sys.stderr, flush=True)

    def count(self, label: str, done: int, total: int, since: float) -> None:
        """Show how many of the parts of a step are done, with an estimate from these; not more often than useful."""
        if time.monotonic() - self.told < self.every:
            return
        left = (time.monotonic() - since) / done * (total - done)
        self.tell(f"{label}: {done} of {total}", left, step=label, done=done, of=total)

    def close(self, outcome: str) -> None:
        """Write the record: the steps, and the whole command, whose peak is the largest of its steps."""
        self.lines.append({"step": self.step.text, "outcome": outcome, **self.step.measured()})
        total = {"step": "total", "outcome": outcome, **self.whole.measured()}
        total["peak_bytes"] = max(line["peak_bytes"] for line in self.lines)
        if self.record is None:
            return
        head = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "command": self.command, "out": self.out}
        text = "".join(json.dumps(head | line) + "\n" for line in [*self.lines, total])
        with suppress(OSError), self.record.open("a") as file:  # a read-only folder is no reason to fail
            file.write(text)


class Measure:
    """Wall time, CPU time and peak memory since its beginning."""

    def __init__(self, text: str) -> None:
        self.text = text
        reset_peak()
        self.wall, self.cpu = time.monotonic(), cpu_seconds()

    def measured(self) -> dict[str, float]:
        """Seconds, CPU-seconds of this process and its ended children, and bytes."""
        return {
            "wall_seconds": round(time.monotonic() - self.wall, 3),
            "cpu_seconds": round(cpu_seconds() - self.cpu, 3),
            "peak_bytes": peak_bytes(),
        }


CURRENT: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def running(progress: Progress) -> Iterator[Progress]:
    """Make a command's progress the current one, and write its record when the command ends."""
    token, outcome = CURRENT.set(progress), "failed"
    try:
        yield progress
        outcome = "done"
    finally:
        CURRENT.reset(token)
        progress.close(outcome)


def step(text: str) -> None:
    """Begin a step of the running command; nothing without one."""
    if (progress := CURRENT.get()) is not None:
        progress.say(text)


def track(items: Iterable[Any], label: str) -> Iterable[Any]:
    """Iterate over the parts of a step, of which the running command shows how many are done.

    Parameters
    ----------
    items : iterable
        Parts, of a known number.
    label : str
        What they are.

    Returns
    -------
    iterable
        The same items.
    """
    progress, parts = CURRENT.get(), list(items)
    since = time.monotonic()
    for done, item in enumerate(parts):
        yield item
        if progress is not None:
            progress.count(label, done + 1, len(parts), since)


def usual_total(record: Path | None, command: str) -> float | None:
    """Median wall time of the last commands of a name; None without any."""
    lines = [] if record is None else lines_of(record)
    own = [line for line in lines if line.get("command") == command and line.get("step") == "total"]
    seconds = [line["wall_seconds"] for line in own if line.get("outcome") == "done"]
    known = [float(each) for each in seconds if isinstance(each, int | float)]
    return median(known[-LAST:]) if known else None


def rounded(seconds: float | None) -> float | None:
    """Seconds with a decimal."""
    return None if seconds is None else round(seconds, 1)


def with_estimate(text: str, left: float | None) -> str:
    """A text with the time that is left.

    >>> with_estimate("scoring", 200.0), with_estimate("scoring", None)
    ('scoring, about 3 min left', 'scoring')
    """
    return text if not left else f"{text}, about {spoken(left)} left"


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


def lines_of(record: Path) -> Iterator[dict[str, Any]]:
    """The lines of a record; those that were cut off are passed over."""
    for text in record.read_text().splitlines() if record.is_file() else []:
        with suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict):
                yield line
