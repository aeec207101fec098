"""The network: the hazard of an order in each week after a cutoff, orders of the week, and the amount of an order.

A state of the customer meets a state of the week in a bilinear form. The hazard is that of the first order after the
cutoff, on the complementary log-log scale, so that hazards of weeks add up and the survival curve does not rise; orders
are Poisson; amounts are log-normal (the zero-inflated log-normal of Wang, Liu and Miao 2019, whose mass at zero is the
survival). What all customers did more or less in a week of the calendar is a random effect of that week, which the
forecast leaves out: two busy weeks are no trend. PyTorch fits it, and NumPy computes values with the same functions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from propensity.kernel.order_day import OrderDays
from propensity.value.closed import ClosedWindows, Customers, Parametric
from propensity.value.week import (
    STATE_WEEKS,
    ClosedWeeks,
    Money,
    closed_weeks,
    money,
    state_inputs,
    week_inputs,
)

WIDTH, PAIR = 48, 8  # of the hidden layers, and of the bilinear form
EPOCHS, BATCH, RATE, DECAY = 4, 1024, 4e-3, 1e-2
STEPS, LEAST_BATCH = 64, 32  # of an epoch, where a log has few rows
SHOCK = 0.2  # standard deviation of what is common to all customers in a week of the calendar
CLIP = 4.0  # standard deviations of an input
LEAST, MOST = -20.0, 2.0  # logarithm of orders in a week, of which there are at most 7
PART = 50_000  # customers at a time
Weights = dict[str, Any]  # arrays or tensors


def states(weights: Weights, inputs: Any) -> Any:
    """State of customers from standardised inputs: (R, C) -> (R, 4 + 2 * PAIR)."""
    hidden = (inputs @ weights["w1"] + weights["b1"]).clip(0)
    hidden = (hidden @ weights["w2"] + weights["b2"]).clip(0)
    return hidden @ weights["w3"] + inputs @ weights["skip"] + weights["b3"]


def week_states(weights: Weights, inputs: Any) -> Any:
    """State of weeks: (..., K, Z) -> (..., K, 2 + 2 * PAIR)."""
    return (inputs @ weights["v1"] + weights["c1"]).clip(0) @ weights["v2"] + weights["c2"]


def logits(state: Any, week: Any, k: int) -> Any:
    """Logarithms of hazards (k = 0) or orders (k = 1): (R, D) and (K, E) or (R, K, E) -> (R, K)."""
    own, of_week = (slice(start + PAIR * k, start + PAIR * (k + 1)) for start in (4, 2))
    left, right = state[:, own], week[..., of_week]
    product = left @ right.T if week.ndim == 2 else (right @ left[:, :, None])[:, :, 0]
    return (state[:, k, None] + week[..., k] + product).clip(LEAST, MOST)


class Network(NamedTuple):
    """A fitted network.

    Parameters
    ----------
    weights : arrays of float32
    mean, scale : (C,) of the inputs
    money : unit and bound of amounts
    paid : share of the orders that are paid
    longest : weeks that were learned from
    """

    weights: Weights
    mean: np.ndarray
    scale: np.ndarray
    money: Money
    paid: float
    longest: int

    def expect(self, customers: Customers, weeks: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probability of an order, orders and revenue in the next `weeks`, at most `longest`: (N, W) x 3."""
        result = np.empty((3, customers.row.size, len(weeks)))
        of_week = week_states(self.weights, week_inputs(customers.clock, customers.cutoff, max(weeks)))
        for start in range(0, customers.row.size, PART):
            part = customers.part(slice(start, start + PART))
            table = state_inputs(
                part.orders, part.first_day, part.cutoff, part.row, part.state, part.at(STATE_WEEKS), self.money.unit,
                part.clock,
            )  # fmt: skip
            result[:, start : start + PART] = self._curves(table, of_week, weeks)
        return result[0], result[1], result[2]

    def _curves(self, table: np.ndarray, of_week: np.ndarray, weeks: list[int]) -> np.ndarray:
        """Expectations (3, N, W) from inputs (N, C)."""
        state = states(self.weights, standard(table, self.mean, self.scale))
        place = np.array(weeks) - 1
        hazard, orders = (np.cumsum(np.exp(logits(state, of_week, k)), axis=1, dtype=float)[:, place] for k in (0, 1))
        mean = np.exp(np.minimum(state[:, 2] + 0.5 * np.exp(2 * state[:, 3].clip(-3, 1)), 20.0))
        amount = self.paid * np.minimum(mean.astype(float) * self.money.unit, self.money.bound)
        return np.stack([-np.expm1(-hazard), orders, orders * amount[:, None]])

    def of_windows(
        self, orders: OrderDays, first_day: int, windows: ClosedWindows, model: Parametric
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Expectations of the rows of closed windows: (R,) x 3."""
        result, known = np.empty((3, windows.weeks.size)), np.unique(windows.weeks).astype(int).tolist()
        for day in np.unique(windows.day).tolist():
            rows = np.flatnonzero(windows.day == day)
            customers = Customers.of(orders, first_day, day, windows.row[rows], model, [STATE_WEEKS])
            expected = self.expect(customers, known)
            place = np.searchsorted(known, windows.weeks[rows])
            for i in range(3):
                result[i, rows] = expected[i][np.arange(rows.size), place]
        return result[0], result[1], result[2]


def standard(inputs: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Inputs with a mean of 0 and a spread of 1, without outliers; 0 for what is not known: (R, C) float32."""
    scaled = np.clip((inputs - mean) / scale, -CLIP, CLIP)
    return np.where(np.isnan(scaled), 0.0, scaled).astype(np.float32)


def fit_network(
    orders: OrderDays, first_day: int, cutoff: int, longest: int, model: Parametric, seed: int
) -> Network | None:
    """Fit the network to weeks that closed before a cutoff; None where nothing was ordered in them.

    Parameters
    ----------
    orders : OrderDays
        Orders; those from the cutoff on are not read.
    first_day, cutoff : int
        Days since 1970-01-01.
    longest : int
        Weeks after a cutoff that are learned from.
    model : Parametric
        Buy-till-you-die models whose forecast is an input.
    seed : int
        Seed of the sample, the start and the order of the rows.
    """
    amounts = money(orders, cutoff)
    rows = closed_weeks(orders, first_day, cutoff, longest, model, amounts, seed)
    if not rows.orders.any():
        return None
    known = ~np.isnan(rows.inputs)
    number = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, rows.inputs, 0.0).astype(float)
    mean = filled.sum(axis=0) / number
    spread = np.sqrt(np.where(known, (filled - mean) ** 2, 0.0).sum(axis=0) / number)
    scale = np.where(spread > 1e-6, spread, 1.0)
    inputs = standard(rows.inputs, mean, scale)
    weights = _fit(_start(inputs.shape[1], rows, seed), inputs, rows, seed)
    paid = float(rows.weight @ rows.amount[:, 0]) / float(rows.weight @ rows.orders.sum(axis=1))
    return Network(weights, mean, scale, amounts, paid, longest)


def _start(size: int, rows: ClosedWeeks, seed: int) -> dict[str, np.ndarray]:
    """Random weights with the rates of all customers as constants."""
    random, outputs, of_week = np.random.default_rng(seed), 4 + 2 * PAIR, rows.weeks.shape[2]

    def layer(inputs: int, width: int, gain: float) -> np.ndarray:
        return random.normal(0.0, gain / np.sqrt(inputs), (inputs, width)).astype(np.float32)

    weights = {
        "w1": layer(size, WIDTH, 1.4), "b1": np.zeros(WIDTH), "w2": layer(WIDTH, WIDTH, 1.4), "b2": np.zeros(WIDTH),
        "w3": layer(WIDTH, outputs, 0.3), "b3": np.zeros(outputs), "skip": np.zeros((size, outputs)),
        "v1": layer(of_week, WIDTH, 1.4), "c1": np.zeros(WIDTH), "v2": layer(WIDTH, 2 + 2 * PAIR, 0.3),
        "c2": np.zeros(2 + 2 * PAIR),
    }  # fmt: skip
    rate = float(rows.weight @ rows.orders.sum(axis=1)) / float(rows.weight @ rows.closed)
    level = np.log(max(rate, 1e-6))
    paid = max(float(rows.amount[:, 0].sum()), 1.0)
    mean = float(rows.amount[:, 1].sum()) / paid
    spread = max(float(rows.amount[:, 2].sum()) / paid - mean**2, 1e-2)
    weights["calendar"] = np.zeros((int(rows.since.max()), 2))
    weights["b3"][:4] = level, level, mean, 0.5 * np.log(spread)
    return {name: each.astype(np.float32) for name, each in weights.items()}


def _fit(start: dict[str, np.ndarray], inputs: np.ndarray, rows: ClosedWeeks, seed: int) -> Weights:
    """Weights of the least loss by AdamW on one thread, as arrays."""
    import torch

    weeks, order = torch.from_numpy(rows.weeks), np.random.default_rng(seed)
    weights = {name: torch.from_numpy(each).requires_grad_() for name, each in start.items()}
    size = min(max(inputs.shape[0] // STEPS, LEAST_BATCH), BATCH)
    steps = EPOCHS * -(-inputs.shape[0] // size)
    optimizer = torch.optim.AdamW(weights.values(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=0.1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(EPOCHS):
            shuffled = order.permutation(inputs.shape[0])
            for begin in range(0, shuffled.size, size):
                batch = np.sort(shuffled[begin : begin + size])
                loss = _loss(weights, inputs[batch], weeks, rows, batch)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
                optimizer.step()
                schedule.step()
    finally:
        torch.set_num_threads(threads)
    return {name: each.detach().numpy() for name, each in weights.items() if name != "calendar"}


def _loss(weights: Weights, inputs: np.ndarray, weeks: Any, rows: ClosedWeeks, batch: np.ndarray) -> Any:
    """Negative log likelihood of the closed weeks of some rows, by week and weight."""
    import torch

    count = torch.from_numpy(rows.orders[batch].astype(np.float32))
    since, closed, amount, weight = (
        torch.from_numpy(column[batch].astype(np.float32))
        for column in (rows.since, rows.closed, rows.amount, rows.weight)
    )
    ago = since[:, None] - 1 - torch.arange(count.shape[1])  # weeks of the calendar, back from the last one
    seen = ago >= 0
    calendar = weights["calendar"][ago.clamp(min=0).long()]
    risk = seen & (count.cumsum(dim=1) - count == 0)  # no order before this week
    state = states(weights, torch.from_numpy(inputs))
    of_week = week_states(weights, weeks)[torch.from_numpy(rows.start[batch])]
    hazard, rate = (logits(state, of_week, k) + calendar[:, :, k] for k in (0, 1))
    total = hazard.exp()
    event = (-torch.expm1(-total)).clamp(min=1e-12).log()
    first = torch.where(risk, torch.where(count > 0, -event, total), 0.0).sum(dim=1)
    poisson = torch.where(seen, rate.exp() - count * rate, 0.0).sum(dim=1)
    middle, spread = state[:, 2], state[:, 3].clip(-3, 1)
    square = amount[:, 2] - 2 * middle * amount[:, 1] + middle**2 * amount[:, 0]
    lognormal = spread * amount[:, 0] + 0.5 * square * torch.exp(-2 * spread)
    prior = (weights["calendar"] ** 2).sum() / (2 * SHOCK**2) / float(rows.weight @ rows.closed)
    return (weight * (first + poisson + lognormal)).sum() / (weight * closed).sum() + prior
