"""The season of a market as a clock: a week of December counts for as many weeks as orders come in it.

Buy-till-you-die models assume a constant rate. On a clock that runs with the season the rate is constant, so that a
silence over a quiet summer says less than one over a December, and a forecast of some weeks knows which weeks they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.kernel.order_day import OrderDays, Recency

YEAR, SLOTS = 365.2425, 52
HALF = 26  # weeks on each side of the mean that a week is compared with
LEAST_WEEKS, LEAST_ORDERS = 4 * HALF + 1, 500  # of the log, and repeat orders, without which a season is not told
FURTHEST = 7 * 1_041  # days after the cutoff that a forecast may reach


class Clock(NamedTuple):
    """Time of the season.

    Parameters
    ----------
    first_day : of the log, in days since 1970-01-01
    time : (D,) days of the season up to the end of each day from `first_day` on
    """

    first_day: int
    time: np.ndarray

    def at(self, day: np.ndarray) -> np.ndarray:
        """Time at the end of days, as a number of days."""
        return self.time[np.clip(np.asarray(day, np.int64) - self.first_day, 0, self.time.size - 1)]

    def state(self, state: Recency, cutoff: int) -> Recency:
        """A state at a cutoff with weeks of the season instead of weeks of the calendar."""
        first = cutoff - 1 - np.round(7 * state.t_end).astype(np.int64)
        last = first + np.round(7 * state.t_x).astype(np.int64)
        begin, end = self.at(first), float(self.at(np.array(cutoff - 1)))
        return state._replace(t_x=(self.at(last) - begin) / 7.0, t_end=(end - begin) / 7.0)

    def weeks(self, cutoff: int, weeks: np.ndarray) -> np.ndarray:
        """Weeks of the season in the next `weeks` (W,) of the calendar."""
        now = float(self.at(np.array(cutoff - 1)))
        return (self.at(cutoff - 1 + np.round(7 * np.asarray(weeks)).astype(np.int64)) - now) / 7.0


def fit_clock(orders: OrderDays, first_day: int, cutoff: int) -> Clock | None:
    """The clock of the repeat orders before a cutoff; None where the log does not tell a season."""
    repeat = np.ones(orders.day.size, bool)
    repeat[orders.offsets[:-1][np.diff(orders.offsets) > 0]] = False
    day = orders.day[repeat & (orders.day < cutoff)]
    number = (cutoff - first_day) // 7
    if number < LEAST_WEEKS or day.size < LEAST_ORDERS:
        return None
    start = cutoff - 7 * number
    counts = np.bincount((day[day >= start] - start) // 7, minlength=number).astype(float)
    index = seasonal_index(counts, slot(start + 7 * np.arange(number) + 3))
    days = np.arange(first_day, cutoff + FURTHEST)
    return Clock(first_day, np.cumsum(index[slot(days)]))


def on_clock(clock: Clock | None, state: Recency, cutoff: int, weeks: np.ndarray) -> tuple[Recency, np.ndarray]:
    """A state at a cutoff, and lengths of windows, in the time of a clock; None for the time of the calendar.

    Parameters
    ----------
    clock : Clock or None
        Of the season.
    state : Recency
        N customers at the cutoff.
    cutoff : int
        Days since 1970-01-01.
    weeks : numpy.ndarray of shape (W,)
        Lengths of windows from the cutoff on, in weeks of the calendar.

    Returns
    -------
    state : Recency
        The same customers.
    weeks : numpy.ndarray of shape (W,), float
        Weeks of the clock.
    """
    if clock is None:
        return state, np.asarray(weeks, float)
    return clock.state(state, cutoff), clock.weeks(cutoff, weeks)


def slot(day: np.ndarray) -> np.ndarray:
    """One of the 52 equal parts of the year for days since 1970-01-01."""
    return ((day % YEAR) / YEAR * SLOTS).astype(np.int64)


def seasonal_index(counts: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Orders of each part of the year over those of the year around it, drawn to 1 as far as chance explains them.

    Parameters
    ----------
    counts : numpy.ndarray of shape (T,)
        Orders of consecutive weeks, more than a year of them.
    place : numpy.ndarray of shape (T,)
        Part of the year of each week.

    Returns
    -------
    numpy.ndarray of shape (52,)
        Index with a mean of 1.

    Examples
    --------
    >>> weeks = np.arange(208)
    >>> index = seasonal_index(np.where(weeks % 52 >= 49, 900.0, 300.0), weeks % 52)
    >>> float((index[50] / index[20]).round(1))
    3.0
    """
    width = 2 * HALF
    around = np.convolve(counts, np.ones(width) / width, "valid")
    level = 0.5 * (around[:-1] + around[1:])
    inside = slice(HALF, HALF + level.size)
    own, place = counts[inside], place[inside]
    seen = np.bincount(place, own, SLOTS)
    expected = np.bincount(place, level, SLOTS)
    index = np.where(expected > 0, seen / np.maximum(expected, 1e-9), 1.0)
    rest = (own - index[place] * level) ** 2 / np.maximum(index[place] * level, 1.0)
    spread = max(1.0, float(rest.sum()) / max(own.size - SLOTS, 1))
    noise = spread / np.maximum(expected, 1e-9)
    signal = max(0.0, float(np.mean((index - 1.0) ** 2 - np.minimum(noise, 1.0))))
    index = 1.0 + (index - 1.0) * signal / (signal + noise)
    return np.maximum(index, 0.05) / np.maximum(index, 0.05).mean()
