"""Cutoffs with a horizon: visible is `day < cutoff`, predicted is `cutoff <= day < cutoff + horizon`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError

HISTORY = 56  # days of log before a training cutoff, where the log is long


class Cutoff(NamedTuple):
    """First day of a label window, and the window's length."""

    day: int  # days since 1970-01-01
    horizon: int  # days in which a purchase counts

    @property
    def end(self) -> int:
        """First day after the label window."""
        return self.day + self.horizon

    def __str__(self) -> str:
        return to_date(self.day).isoformat()


def parse_cutoff(log: EventLog, value: date | str, horizon: int) -> Cutoff:
    """Create a cutoff for scoring from a date.

    Parameters
    ----------
    log : EventLog
        The log to score.
    value : date or str
        A date or an ISO string, later than the first purchase; it may lie past the end of the log.
    horizon : int
        Days in which a purchase counts.

    Returns
    -------
    Cutoff
        The cutoff at `value`.

    Raises
    ------
    ConfigurationError
        If the value is not a date, is not after the first purchase, or the horizon is below 1.
    """
    day = to_day(value)
    if horizon < 1:
        raise ConfigurationError(f"data.horizon={horizon} is too short; use 1 day or more")
    if day <= log.first_day:
        raise ConfigurationError(
            f"cutoff {value} is not after the first purchase ({to_date(log.first_day)}); use a later cutoff"
        )
    return Cutoff(day, horizon)


def scoring_warnings(log: EventLog, cutoff: Cutoff, end: str) -> list[str]:
    """List what limits the use of scores at a cutoff: a stale log, or a cutoff inside the training period.

    Parameters
    ----------
    log : EventLog
        The log to score.
    cutoff : Cutoff
        The cutoff of the scores.
    end : str
        ISO date that no training label reached.

    Returns
    -------
    list of str
        One sentence for each warning.
    """
    warnings = []
    if (days := cutoff.day - log.last_day - 1) > 0:
        warnings.append(f"the log is stale: it ends on {to_date(log.last_day)}, {days} days before the cutoff")
    if cutoff.day < to_day(end):
        warnings.append(f"cutoff {cutoff} lies before the last training label ({end}): these scores are in-sample")
    return warnings


def evaluation_warnings(log: EventLog, end: int, horizon: int) -> list[str]:
    """Say that no label window after training is left to evaluate on, and how to keep one.

    Parameters
    ----------
    log : EventLog
        The log.
    end : int
        Day that no training label reaches.
    horizon : int
        Days of a label window.

    Returns
    -------
    list of str
        One sentence, or none.
    """
    after = log.last_day + 1
    if end + horizon <= after:
        return []
    return [
        f"training used the labels up to {to_date(end)} and left no label window of {horizon} days to evaluate on; to "
        f"keep one, train with data.end={to_date(after - horizon)}"
    ]


def require_labels(log: EventLog, cutoff: Cutoff) -> Cutoff:
    """Check that the label window of a cutoff lies within the log.

    Parameters
    ----------
    log : EventLog
        The log with the labels.
    cutoff : Cutoff
        The cutoff to check.

    Returns
    -------
    Cutoff
        The same cutoff.

    Raises
    ------
    ConfigurationError
        If the log ends before the label window does.
    """
    if cutoff.end > log.last_day + 1:
        raise ConfigurationError(
            f"labels of cutoff {cutoff} need data up to {to_date(cutoff.end - 1)}, the log ends on "
            f"{to_date(log.last_day)}; use a cutoff of {to_date(log.last_day + 1 - cutoff.horizon)} or earlier"
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
    """Training cutoffs: every `step` days, counted back from the last label window.

    Parameters
    ----------
    step : int
        Days between two cutoffs.
    count : int
        Maximum number of cutoffs.
    minimum_history : int, optional
        Days of log required before a cutoff; default `HISTORY`, or a quarter of a log that is shorter than four times
        that, so that a log of three months has several training cutoffs.

    Raises
    ------
    ConfigurationError
        If a value is below 1.
    """

    step: int = 7
    count: int = 60
    minimum_history: int | None = None

    def __post_init__(self) -> None:
        for name in ("step", "count", "minimum_history"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigurationError(f"data.cutoff.{name}={getattr(self, name)} is too small; use 1 or more")

    def history(self, log: EventLog, end: int) -> int:
        """Give the days of log that a training cutoff needs before it.

        Parameters
        ----------
        log : EventLog
            The log with the labels.
        end : int
            First day that no label may reach, in days since 1970-01-01.

        Returns
        -------
        int
            `minimum_history`, or its default for a log that ends at `end`.
        """
        if self.minimum_history is not None:
            return self.minimum_history
        return max(min(HISTORY, (end - log.first_day) // 4), 1)

    def before(self, log: EventLog, end: int, horizon: int) -> list[Cutoff]:
        """List the training cutoffs whose label windows close by `end`.

        Parameters
        ----------
        log : EventLog
            The log with the labels.
        end : int
            First day that no label may reach, in days since 1970-01-01.
        horizon : int
            Days in which a purchase counts.

        Returns
        -------
        list of Cutoff
            Cutoffs in ascending order.

        Raises
        ------
        ConfigurationError
            If the log ends before `end`, or no cutoff has the required history.
        """
        if end > log.last_day + 1:
            raise ConfigurationError(
                f"training labels up to {to_date(end)} are not complete, the log ends on {to_date(log.last_day)}; "
                f"use an end of {to_date(log.last_day + 1)} or earlier"
            )
        history = self.history(log, end)
        oldest = log.first_day + history
        days = [end - horizon - self.step * k for k in range(self.count)]
        cutoffs = [Cutoff(day, horizon) for day in sorted(days) if day >= oldest]
        if not cutoffs:
            raise ConfigurationError(
                f"no training cutoff fits: labels close by {to_date(end)}, {history} days of history "
                f"are required and the log begins on {to_date(log.first_day)}; lower data.cutoff.minimum_history"
            )
        return cutoffs
