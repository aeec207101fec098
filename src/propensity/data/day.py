"""Days as integers: days since 1970-01-01, and the calendar dates that they are."""

from __future__ import annotations

from datetime import date, timedelta

from propensity.errors import ConfigurationError

EPOCH = date(1970, 1, 1)


def to_day(value: date | str) -> int:
    """Convert a date to days since 1970-01-01.

    Parameters
    ----------
    value : date or str
        A date or an ISO string.

    Returns
    -------
    int
        Days since 1970-01-01.

    Raises
    ------
    ConfigurationError
        If the value is not a date.
    """
    if isinstance(value, date):
        return (value - EPOCH).days
    try:
        return (date.fromisoformat(str(value)) - EPOCH).days
    except ValueError:
        raise ConfigurationError(f"{value!r} is not a date; write it as YYYY-MM-DD") from None


def to_date(day: int) -> date:
    """Convert days since 1970-01-01 to a date.

    Parameters
    ----------
    day : int
        Days since 1970-01-01.

    Returns
    -------
    datetime.date
        The calendar date.
    """
    return EPOCH + timedelta(days=int(day))
