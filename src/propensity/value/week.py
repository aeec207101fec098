"""Closed weeks: what customers ordered in each week after past cutoffs, as rows that the network learns from.

A week is a label as soon as it has closed, so that the last cutoff is a week before the one that is asked for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.kernel.order_day import OrderDays, Recency, recency
from propensity.kernel.order_state import NAMES, order_states
from propensity.kernel.order_week import order_weeks
from propensity.value.closed import YEAR, Forecast, Parametric, logit, training_cutoffs
from propensity.value.season import YEAR as SOLAR_YEAR
from propensity.value.season import Clock

ROWS = 100_000
STATE_WEEKS = 13  # of the forecast that is an input
MONEY = [k for k, name in enumerate(NAMES) if name.startswith("spend")]
HARMONICS = 2  # of the year


class Money(NamedTuple):
    """Amounts of orders before a cutoff.

    Parameters
    ----------
    unit : mean amount of a paid order, in currency; 1 without one
    bound : their 99.9 % order statistic, at most the second largest: none sets its own bound
    """

    unit: float
    bound: float


class ClosedWeeks(NamedTuple):
    """Rows of customers at past cutoffs.

    Parameters
    ----------
    inputs : (R, C), NaN where a customer has too few orders
    start : (R,) place of the cutoff among the S cutoffs
    since : (R,) weeks from then to the end of the last closed one
    orders : (R, K) orders in each week, 0 in weeks that have not closed
    amount : (R, 3) number of paid orders, sum and sum of squares of the logarithms of their amounts in units
    weight : (R,) half a year ago
    weeks : (S, K, Z) inputs of the weeks after each cutoff
    """

    inputs: np.ndarray
    start: np.ndarray
    since: np.ndarray
    orders: np.ndarray
    amount: np.ndarray
    weight: np.ndarray
    weeks: np.ndarray

    @property
    def closed(self) -> np.ndarray:
        """Weeks of each row that have closed: (R,)."""
        return np.minimum(self.since, self.orders.shape[1])


def money(orders: OrderDays, cutoff: int) -> Money:
    """Unit and bound of the amounts before a cutoff."""
    paid = np.sort(orders.revenue[(orders.revenue > 0) & (orders.day < cutoff)])
    if not paid.size:
        return Money(1.0, 1.0)
    place = min(int(np.ceil(0.999 * paid.size)) - 1, max(paid.size - 2, 0))
    return Money(float(paid.mean()), float(paid[place]))


def closed_weeks(
    orders: OrderDays, first_day: int, cutoff: int, longest: int, model: Parametric, amounts: Money, seed: int
) -> ClosedWeeks:
    """Rows of the cutoffs before one, up to `longest` weeks each; a sample of about `ROWS` of them."""
    days = np.array(training_cutoffs(first_day, cutoff))
    days = np.concatenate([np.arange(cutoff - 7, days[0], -7), days])
    random, size, parts = np.random.default_rng(seed), max(1, ROWS // days.size), []
    for place, day in enumerate(days.tolist()):
        state = recency(orders, day)
        row = np.flatnonzero(state.x >= 0)
        row = np.sort(random.choice(row, size, replace=False)) if row.size > size else row
        own = Recency(*(column[row] for column in state))
        forecast = model.forecast(own, day, np.array([float(STATE_WEEKS)]))
        flat = Forecast(forecast.active[:, 0], forecast.orders[:, 0], forecast.amount)
        closed = min((cutoff - day) // 7, longest)
        count, amount = order_weeks(orders, day, row, longest, closed, amounts.bound)
        table = state_inputs(orders, first_day, day, row, own, flat, amounts.unit, model.clock)
        level = np.log(amounts.unit)
        amount[:, 2] += level * (level * amount[:, 0] - 2 * amount[:, 1])
        amount[:, 1] -= level * amount[:, 0]
        weight = np.full(row.size, 0.5 ** ((cutoff - day) / YEAR))
        parts.append((table, np.full(row.size, place), np.full(row.size, (cutoff - day) // 7), count, amount, weight))
    weeks = np.stack([week_inputs(model.clock, day, longest) for day in days.tolist()])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return ClosedWeeks(*(*columns, weeks))


def state_inputs(
    orders: OrderDays, first_day: int, cutoff: int, row: np.ndarray, own: Recency, forecast: Forecast, unit: float,
    clock: Clock | None,
) -> np.ndarray:  # fmt: skip
    """Inputs of customers `row` (R,): the trees' history of orders, cohort, and the buy-till-you-die forecast: (R, C).

    The cohort is the time of the first order since the log began, and its season where the log tells one.
    """
    states = order_states(orders, cutoff, row)
    states[:, MONEY] /= unit
    first = cutoff - 1 - 7 * own.t_end
    amount = np.log((own.spend / unit + 1.0) / (own.paid + 1.0))
    cohort = (first - first_day) / YEAR
    columns = (amount, cohort, np.log(forecast.orders + 1e-9), logit(forecast.active), *_year(first, clock))
    return np.column_stack([np.log1p(states), *columns]).astype(np.float32)


def week_inputs(clock: Clock | None, cutoff: int, weeks: int) -> np.ndarray:
    """Inputs of the next weeks: how far they are, and the week of the year where the log tells a season: (K, Z)."""
    number = np.arange(1, weeks + 1)
    index = np.zeros(weeks)
    if clock is not None:
        index = np.log(np.maximum(np.diff(clock.weeks(cutoff, number), prepend=0.0), 1e-3))
    columns = (np.log(number) / 2 - 1, number * 7 / YEAR, index, *_year(cutoff + 7 * number - 4, clock))
    return np.column_stack(columns).astype(np.float32)


def _year(day: np.ndarray, clock: Clock | None) -> list[np.ndarray]:
    """Sines and cosines of days in the year, 0 where the log cannot tell a season from growth."""
    angle = 2 * np.pi * (np.asarray(day, float) % SOLAR_YEAR) / SOLAR_YEAR
    waves = [wave((k + 1) * angle) for k in range(HARMONICS) for wave in (np.sin, np.cos)]
    return waves if clock is not None else [np.zeros(angle.size) for _ in waves]
