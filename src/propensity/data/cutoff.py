"""A send date and its horizon: visible is `day < cutoff`, predicted is `cutoff <= day < cutoff + horizon`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError


class Cutoff(NamedTuple):
    """The morning a message goes out, and the days in which a purchase counts."""

    day: int
    horizon: int

    @property
    def end(self) -> int:
        """First day after the label window."""
        return self.day + self.horizon

    def __str__(self) -> str:
        return to_date(self.day).isoformat()


def cutoff_of(log: EventLog, value: date | str, horizon: int) -> Cutoff:
    """A date to score at: anything after the first purchase, also past the end of the log."""
    day = to_day(value)
    if horizon < 1:
        raise ConfigurationError(f"a horizon of {horizon} days predicts nothing; give data.horizon=1 or more")
    if day <= log.first_day:
        raise ConfigurationError(
            f"cutoff {value} is not after the first purchase ({to_date(log.first_day)}); give a later one"
        )
    return Cutoff(day, horizon)


def cautions(log: EventLog, cutoff: Cutoff, end: str) -> list[str]:
    """What a reader of scores should know of their date: a log that ends before it, or labels that it was trained on.

    end: ISO date that no training label reached.
    """
    found = []
    if (gap := cutoff.day - log.last_day - 1) > 0:
        found.append(f"the log is stale: it ends on {to_date(log.last_day)}, {gap} days before the cutoff")
    if cutoff.day < to_day(end):
        found.append(f"cutoff {cutoff} lies before the last training label ({end}): these scores are in-sample")
    return found


def labelled(log: EventLog, cutoff: Cutoff) -> Cutoff:
    """`cutoff` again if its label window lies within the log; ConfigurationError otherwise."""
    if cutoff.end > log.last_day + 1:
        raise ConfigurationError(
            f"labels of cutoff {cutoff} need data up to {to_date(cutoff.end - 1)}, the log ends on "
            f"{to_date(log.last_day)}; give a cutoff of {to_date(log.last_day + 1 - cutoff.horizon)} or earlier"
        )
    return cutoff


def last_windows(log: EventLog, horizon: int, after: str | None = None, count: int = 3) -> list[str]:
    """The last cutoffs whose label windows have closed, a horizon apart, as ISO dates, oldest first.

    Parameters
    ----------
    horizon : days of a label window.
    after : ISO date before which no cutoff lies, such as the end of the training labels; None: the log's first day.
    count : how many at most.

    Raises
    ------
    ConfigurationError
        If no label window fits between `after` and the end of the log.
    """
    earliest = log.first_day + 1 if after is None else max(to_day(after), log.first_day + 1)
    last = log.last_day + 1 - horizon
    days = [last - horizon * k for k in range(count) if last - horizon * k >= earliest]
    if not days:
        raise ConfigurationError(
            f"no label window of {horizon} days lies between {to_date(earliest)} and the end of the log "
            f"({to_date(log.last_day)}); train with data.end={to_date(log.last_day + 1 - count * horizon)} to keep "
            f"{count} windows for the evaluation"
        )
    return [to_date(day).isoformat() for day in reversed(days)]


@dataclass
class TrainingCutoffs:
    """Which past send dates become training examples: every `step` days, counted back from the last label window.

    count: how many at most; minimum_history: days of log that a cutoff must have behind it.
    """

    step: int = 7
    count: int = 20
    minimum_history: int = 56

    def __post_init__(self) -> None:
        for name in ("step", "count", "minimum_history"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"data.split.{name}={getattr(self, name)} makes no send dates; give 1 or more")

    def before(self, log: EventLog, end: int, horizon: int) -> list[Cutoff]:
        """Cutoffs, ascending, whose label windows close by `end` (exclusive)."""
        if end > log.last_day + 1:
            raise ConfigurationError(
                f"training labels up to {to_date(end)} are not complete, the log ends on {to_date(log.last_day)}; "
                f"give an end of {to_date(log.last_day + 1)} or earlier"
            )
        oldest = log.first_day + self.minimum_history
        days = [end - horizon - self.step * k for k in range(self.count)]
        found = [Cutoff(day, horizon) for day in sorted(days) if day >= oldest]
        if not found:
            raise ConfigurationError(
                f"no training cutoff fits: labels close by {to_date(end)}, but {self.minimum_history} days of history "
                f"are wanted and the log begins on {to_date(log.first_day)}; lower data.split.minimum_history"
            )
        return found
