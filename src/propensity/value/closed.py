"""Closed windows: past cutoffs whose next weeks the log has seen, as rows to learn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.kernel.order_day import OrderDays, Recency, ahead, recency
from propensity.kernel.order_state import order_states
from propensity.value.parametric import OrderModel, SpendModel
from propensity.value.season import Clock, on_clock

GRID = (4, 8, 13, 17, 21, 26, 39, 52, 78, 104)  # lengths of windows in weeks
ROWS = 200_000
HISTORY = 91  # days of log before a training cutoff, where the log is long enough
YEAR = 364
PAST = 3  # windows that fit into the log before a cutoff
SEVERAL = 4  # cutoffs that a length of window needs
EARLIEST = 6 * YEAR  # days: closed windows that began earlier say little about the next ones


class Forecast(NamedTuple):
    """What buy-till-you-die models expect: probability of an order (N, W), orders (N, W), amount of an order (N,)."""

    active: np.ndarray
    orders: np.ndarray
    amount: np.ndarray


class ClosedWindows(NamedTuple):
    """Rows of customers at past cutoffs with a length of window each.

    Parameters
    ----------
    inputs : (R, C)
    weeks : (R,) length of the window
    forecast : columns (R,) of the buy-till-you-die models for the window
    orders, revenue : (R,) that followed
    weight : (R,) half for windows a year ago
    day, row : (R,) cutoff of the window, and customer
    """

    inputs: np.ndarray
    weeks: np.ndarray
    forecast: Forecast
    orders: np.ndarray
    revenue: np.ndarray
    weight: np.ndarray
    day: np.ndarray
    row: np.ndarray


class Parametric(NamedTuple):
    """The fitted buy-till-you-die models: of orders, on the clock of the season, and of amounts."""

    orders: OrderModel
    spend: SpendModel | None
    clock: Clock | None = None

    def forecast(self, state: Recency, cutoff: int, weeks: np.ndarray) -> Forecast:
        """For N customers at a cutoff and the next `weeks` (W,)."""
        active, orders = self.orders.forecast(*on_clock(self.clock, state, cutoff, weeks))
        amount = np.zeros(state.x.size) if self.spend is None else self.spend.mean(state)
        return Forecast(active, orders, amount)


class Customers(NamedTuple):
    """N customers at a cutoff, and what buy-till-you-die models expect of them.

    Parameters
    ----------
    orders : of all customers; those from the cutoff on are not read
    first_day, cutoff : of the log, and of the forecast, in days since 1970-01-01
    row : (N,) customers
    state : (N,) at the cutoff
    grid : W lengths of windows in weeks
    forecast : (N, W)
    clock : of the season
    """

    orders: OrderDays
    first_day: int
    cutoff: int
    row: np.ndarray
    state: Recency
    grid: tuple[int, ...]
    forecast: Forecast
    clock: Clock | None

    @classmethod
    def of(
        cls, orders: OrderDays, first_day: int, cutoff: int, row: np.ndarray, model: Parametric, weeks: list[int]
    ) -> Customers:
        """Customers `row` (N,) with the forecast of some lengths of windows."""
        state, grid = recency(orders, cutoff), sorted(weeks)
        own = Recency(*(column[row] for column in state))
        forecast = model.forecast(own, cutoff, np.array(grid, float))
        return cls(orders, first_day, cutoff, row, own, tuple(grid), forecast, model.clock)

    def part(self, place: slice | np.ndarray) -> Customers:
        """Some of the customers."""
        state, forecast = (tuple(column[place] for column in each) for each in (self.state, self.forecast))
        return self._replace(row=self.row[place], state=Recency(*state), forecast=Forecast(*forecast))

    def at(self, weeks: int) -> Forecast:
        """The forecast of one length of window: (N,)."""
        k = self.grid.index(weeks)
        return Forecast(self.forecast.active[:, k], self.forecast.orders[:, k], self.forecast.amount)


def lengths(first_day: int, cutoff: int, longest: int) -> list[int]:
    """Lengths of windows in weeks of which the log holds three, and that have closed at several cutoffs, up to the one
    that covers `longest`."""
    cutoffs = np.array(training_cutoffs(first_day, cutoff))
    usable = [weeks for weeks in GRID if (cutoffs + 7 * weeks <= cutoff).sum() >= SEVERAL]
    usable = [weeks for weeks in usable if weeks <= GRID[1] or PAST * 7 * weeks <= cutoff - first_day]
    return [weeks for weeks in usable if weeks <= max(longest, GRID[2])]


def training_cutoffs(first_day: int, cutoff: int) -> list[int]:
    """Days of past cutoffs, the latest first: weekly in a log of less than 18 months, else every four weeks."""
    history = cutoff - first_day
    step = 7 if history < 540 else 28
    begin = max(first_day + min(HISTORY, history // 3), cutoff - EARLIEST)
    return list(range(cutoff - 28, begin - 1, -step))


def inputs(
    orders: OrderDays, cutoff: int, row: np.ndarray, weeks: np.ndarray, forecast: Forecast, season: np.ndarray
) -> np.ndarray:
    """Inputs of the trees for customers `row` (R,) and a length of window each: (R, C)."""
    states = order_states(orders, cutoff, row)
    columns = (weeks, np.log(forecast.orders + 1e-9), logit(forecast.active), forecast.amount, season)
    return np.column_stack([states, *columns]).astype(np.float32)


def closed_windows(
    orders: OrderDays, first_day: int, cutoff: int, chosen: list[int], model: Parametric, seed: int
) -> ClosedWindows:
    """Rows of all windows of the lengths `chosen` that close by the cutoff; a sample of about `ROWS` of them."""
    pairs = {
        day: [weeks for weeks in chosen if day + 7 * weeks <= cutoff] for day in training_cutoffs(first_day, cutoff)
    }
    number = sum(map(len, pairs.values()))
    random, parts = np.random.default_rng(seed), []
    for day, own in pairs.items():
        if not own:
            continue
        state = recency(orders, day)
        row = np.flatnonzero(state.x >= 0)
        size = max(1, ROWS // number)
        for weeks in own:
            part = np.sort(random.choice(row, size, replace=False)) if row.size > size else row
            parts.append(_rows(orders, first_day, cutoff, day, weeks, part, state, model))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    table, weeks_column, active, expected, amount, *rest = columns
    return ClosedWindows(table, weeks_column, Forecast(active, expected, amount), *rest)


def _rows(
    orders: OrderDays, first_day: int, cutoff: int, day: int, weeks: int, row: np.ndarray, state: Recency,
    model: Parametric,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """The columns of the windows of one cutoff and one length."""
    own = Recency(*(column[row] for column in state))
    forecast = model.forecast(own, day, np.array([float(weeks)]))
    flat = Forecast(forecast.active[:, 0], forecast.orders[:, 0], forecast.amount)
    length = np.full(row.size, float(weeks))
    table = inputs(orders, day, row, length, flat, np.full(row.size, season(orders, first_day, day, weeks)))
    count, revenue = (column[row] for column in ahead(orders, day, day + 7 * weeks))
    weight = np.full(row.size, 0.5 ** ((cutoff - day) / YEAR))
    own_day = np.full(row.size, day)
    return table, length, flat.active, flat.orders, flat.amount, count, revenue, weight, own_day, row


def season(orders: OrderDays, first_day: int, day: int, weeks: float) -> float:
    """Orders of the same weeks a year ago over those of an average of as many weeks of that year, as a logarithm.

    0 where the log has not seen two years before the day: a season cannot be told from growth then.
    """
    if day - first_day < 2 * YEAR or weeks >= YEAR / 7:
        return 0.0
    start = day - YEAR
    window = ((orders.day >= start) & (orders.day < start + 7 * weeks)).sum()
    around = ((orders.day >= start - YEAR // 2) & (orders.day < start + YEAR // 2)).sum()
    return float(np.log((window + 1.0) / (around * 7 * weeks / YEAR + 1.0)))


def logit(probability: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, which are kept off 0 and 1."""
    clipped = np.clip(probability, 1e-9, 1 - 1e-9)
    return np.log(clipped / (1 - clipped))
