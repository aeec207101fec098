"""Buy-till-you-die models: how often a customer orders while he is a customer, and how long he stays one.

Pareto/NBD (Schmittlein, Morrison and Colombo 1987), BG/NBD (Fader, Hardie and Lee 2005), MBG/NBD (Batislam, Denizel and
Filiztekin 2007), and Gamma-Gamma for the amounts (Fader and Hardie 2013). Weeks are the unit of time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.kernel.btyd import (
    bg_nbd_alive,
    bg_nbd_forecast,
    bg_nbd_log_likelihood,
    gamma_gamma_log_likelihood,
    pareto_nbd_alive,
    pareto_nbd_forecast,
    pareto_nbd_log_likelihood,
)
from propensity.kernel.order_day import Recency
from propensity.value.minimise import minimise

PARETO_NBD, BG_NBD, MBG_NBD = "pareto_nbd", "bg_nbd", "mbg_nbd"
MODELS = (PARETO_NBD, BG_NBD, MBG_NBD)
NAMES = {PARETO_NBD: ("r", "alpha", "s", "beta"), **dict.fromkeys((BG_NBD, MBG_NBD), ("r", "alpha", "a", "b"))}
START = {PARETO_NBD: (0.5, 10.0, 0.5, 10.0), **dict.fromkeys((BG_NBD, MBG_NBD), (0.5, 10.0, 1.0, 2.5))}
SAMPLE = 30_000  # distinct states to which a model is fitted at first
WIDTH = 6.0  # standard deviation of the logarithms of the parameters before the data: bounds what no data decide


class Distinct(NamedTuple):
    """Distinct states of customers and how many customers are in each of them."""

    x: np.ndarray
    t_x: np.ndarray
    t_end: np.ndarray
    weight: np.ndarray


class OrderModel(NamedTuple):
    """A fitted model of orders.

    Parameters
    ----------
    name : one of `MODELS`
    parameters : (4,), in the order of `NAMES`
    """

    name: str
    parameters: np.ndarray

    def alive(self, state: Recency) -> np.ndarray:
        """Probability that a customer has not dropped out: (N,)."""
        if self.name == PARETO_NBD:
            return pareto_nbd_alive(self.parameters, state.x, state.t_x, state.t_end)
        return bg_nbd_alive(self.parameters, state.x, state.t_x, state.t_end, self.name == MBG_NBD)

    def forecast(self, state: Recency, weeks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability of an order and expected orders in the next `weeks` (W,), ascending: (N, W) x 2.

        Customers in the same state have the same forecast, which is computed once.
        """
        columns = np.stack([state.x, state.t_x, state.t_end], axis=1)
        unique, place = np.unique(columns, axis=0, return_inverse=True)
        x, t_x, t_end = np.ascontiguousarray(unique.T)
        weeks = np.asarray(weeks, float)
        if self.name == PARETO_NBD:
            active, orders = pareto_nbd_forecast(self.parameters, x, t_x, t_end, weeks)
        else:
            active, orders = bg_nbd_forecast(self.parameters, x, t_x, t_end, self.name == MBG_NBD, weeks)
        place = place.reshape(-1)
        return active[place], orders[place]


class SpendModel(NamedTuple):
    """Gamma-Gamma: an order of a customer has a gamma distributed amount whose scale is the customer's own."""

    p: float
    q: float
    gamma: float

    def mean(self, state: Recency) -> np.ndarray:
        """Expected amount of the next paid order: (N,), in currency."""
        weight = self.p * state.paid
        return self.p * (self.gamma + state.spend) / (weight + self.q - 1.0)


def distinct(state: Recency) -> Distinct:
    """The distinct states of customers with an order."""
    columns = np.stack([state.x, state.t_x, state.t_end], axis=1)[state.x >= 0]
    unique, weight = np.unique(columns, axis=0, return_counts=True)
    x, t_x, t_end = np.ascontiguousarray(unique.T)
    return Distinct(x, t_x, t_end, weight.astype(float))


def sampled(states: Distinct, size: int, seed: int = 0) -> Distinct:
    """A sample of distinct states, whose weights stand for all."""
    if states.x.size <= size:
        return states
    chosen = np.sort(np.random.default_rng(seed).choice(states.x.size, size, replace=False))
    part = Distinct(*(column[chosen] for column in states))
    return part._replace(weight=part.weight * states.weight.sum() / part.weight.sum())


def log_likelihood(name: str, parameters: np.ndarray, states: Distinct) -> np.ndarray:
    """Log likelihood of every distinct state."""
    if name == PARETO_NBD:
        return pareto_nbd_log_likelihood(parameters, states.x, states.t_x, states.t_end)
    return bg_nbd_log_likelihood(parameters, states.x, states.t_x, states.t_end, name == MBG_NBD)


def fit_orders(name: str, state: Recency, start: np.ndarray | None = None, size: int = SAMPLE) -> OrderModel:
    """Fit a model of orders by maximum likelihood.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    state : Recency
        Customers at a cutoff; those without an order are left out.
    start : numpy.ndarray of shape (4,), optional
        Parameters to begin with, such as those of another cutoff.
    size : int
        Distinct states at most. A million customers are fitted by a sample of this size, whose parameters have
        standard errors below a percent.

    Returns
    -------
    OrderModel
        The maximum, with logarithms of parameters drawn to those of `START` by a normal prior of width `WIDTH`, which
        matters only where the data leave a parameter open.
    """
    states, centre = sampled(distinct(state), size), np.log(START[name])

    def loss(logarithms: np.ndarray) -> float:
        if np.abs(logarithms).max() > 30:
            return np.inf
        likelihood = log_likelihood(name, np.exp(logarithms), states)
        prior = 0.5 * float((((logarithms - centre) / WIDTH) ** 2).sum())
        return float(-(states.weight @ likelihood)) + prior

    begin = centre if start is None else np.log(start)
    return OrderModel(name, np.exp(minimise(loss, begin, tolerance=1e-6)))


def fit_spend(state: Recency, size: int = SAMPLE) -> SpendModel | None:
    """Fit Gamma-Gamma to all orders, first orders too; None without an order that has a revenue."""
    paid = state.paid > 0
    orders, mean = state.paid[paid], state.spend[paid] / state.paid[paid]
    if not orders.size:
        return None
    scale = float(np.median(mean))
    if orders.size > size:
        chosen = np.random.default_rng(0).choice(orders.size, size, replace=False)
        orders, mean = orders[chosen], mean[chosen]
    centre = np.log([2.0, 3.0, 1.0])

    def loss(logarithms: np.ndarray) -> float:
        if np.abs(logarithms).max() > 20:
            return np.inf
        p, q, gamma = np.exp(logarithms)
        likelihood = gamma_gamma_log_likelihood(np.array([p, q + 1.0, gamma]), orders, mean / scale)
        return float(-likelihood.sum() + 0.5 * (((logarithms - centre) / 2.0) ** 2).sum())

    p, q, gamma = np.exp(minimise(loss, centre, tolerance=1e-6))
    return SpendModel(float(p), float(q) + 1.0, float(gamma) * scale)
