"""Exact purchase probabilities and expected revenue of the synthetic market, by a forward recursion over states.

Shapes: n customers, M categories, H days of the horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from propensity.simulate.catalogue import Catalogue, Floats, Ints, mean_price, season_factor
from propensity.simulate.customer import Customers, replenishment_factor, visit_probability
from propensity.simulate.settings import SimulationConfig
from propensity.simulate.simulate import NEWSLETTERS, State
from propensity.simulate.transaction import MEAN_PAID


class Propensity(NamedTuple):
    """True propensity of N customers and M categories at a cutoff, given everything simulated before it."""

    customer: Ints  # (N,) customer ids
    category: list[str]  # M names
    probability: Floats  # (N, M) of at least one purchase in the horizon
    expected_revenue: Floats  # (N, M) of all purchases in the horizon, before returns
    visit: Floats  # (N,) probability of at least one visit in the horizon
    known: NDArray[np.bool_]  # (N,) joined before the cutoff; the others have no history


def forecast(
    config: SimulationConfig,
    catalogue: Catalogue,
    customers: Customers,
    state: State,
    cutoff: int,
    horizon: int,
    message: Callable[[Floats, int], None] | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Compute the true propensity from the state at a cutoff.

    Parameters
    ----------
    config : SimulationConfig
        Effect strengths.
    catalogue : Catalogue
        Parameters that all customers share.
    customers : Customers
        n customers.
    state : State
        Their state at the cutoff.
    cutoff : int
        Day of the simulation.
    horizon : int
        Days to predict.
    message : callable, optional
        Changes `mass[:, :, : h + 1]` in place for the messages of day h of the horizon; called with the mass and h.
        By default customers are sent messages at random in their weekly slot, see `renew_messages`.

    Returns
    -------
    probability : numpy.ndarray of shape (n, M)
        Purchase probability in the horizon.
    revenue : numpy.ndarray of shape (n, M)
        Expected revenue in the horizon, in currency.
    visit : numpy.ndarray of shape (n,)
        Visit probability in the horizon.

    Notes
    -----
    `mass[f, g, j]` (n, M) is the joint probability that the trigger was bought at the last visit (f), that a message
    about the category is active (g), and that the last purchase was before the cutoff (j = 0) or on day j - 1 of the
    horizon. Given the state, days are independent, so one pass over the horizon is exact.
    """
    mass = initial_mass(catalogue, customers, state, horizon)
    factor = np.outer([1.0, 1.0 + config.order_effect], [1.0, 1.0 + config.message_effect])
    price = mean_price(catalogue, cutoff + np.arange(horizon))
    revenue, no_visit = np.zeros_like(customers.preference), np.ones(customers.visit_rate.size)
    for h, t in enumerate(range(cutoff, cutoff + horizon)):
        current = mass[:, :, : h + 1]
        if message is None:
            renew_messages(config, catalogue, customers, current, t)
        else:
            message(current, h)
        base = customers.preference * season_factor(catalogue, config.epoch_day(t))
        intensity = base * replenishment_factor(catalogue, days_since(state, t, h), customers.interpurchase_time)
        purchase = current * -np.expm1(-factor[:, :, None, None, None] * intensity)
        visit = visit_probability(customers, t, config.epoch_day(t))[:, None]
        bought, not_bought = visit * purchase.sum(axis=(0, 2)), visit * (current - purchase).sum(axis=0)
        revenue += bought.sum(axis=0) * price[h]
        no_visit *= 1.0 - visit[:, 0]
        trigger = trigger_probability(catalogue, base)
        current *= 1.0 - visit
        for f, share in enumerate((1.0 - trigger, trigger)):
            current[f] += share * not_bought
            mass[f, :, h + 1] = share * bought
    probability = 1.0 - mass[:, :, 0].sum(axis=(0, 1))
    revenue = revenue * (1.0 + customers.extra_units[:, None]) * MEAN_PAID
    return np.clip(probability, 0.0, 1.0), revenue, 1.0 - no_visit


def initial_mass(catalogue: Catalogue, customers: Customers, state: State, horizon: int) -> Floats:
    """Create the probability mass at the cutoff.

    Parameters
    ----------
    catalogue : Catalogue
        Planted pairs.
    customers : Customers
        n customers.
    state : State
        Their state at the cutoff.
    horizon : int
        H days.

    Returns
    -------
    numpy.ndarray of shape (2, 2, H + 1, n, M)
        1 for the known state, 0 elsewhere; see `forecast` for the axes.
    """
    n, categories = customers.preference.shape
    triggered = np.zeros((n, categories), np.int64)
    triggered[:, catalogue.target] = state.triggered
    messaged = (state.topic[:, None] == np.arange(categories)).astype(np.int64)
    mass = np.zeros((2, 2, horizon + 1, n, categories))
    mass[triggered, messaged, 0, np.arange(n)[:, None], np.arange(categories)] = 1.0
    return mass


def renew_messages(config: SimulationConfig, catalogue: Catalogue, customers: Customers, mass: Floats, t: int) -> None:
    """Replace the active message of the customers whose weekly slot is day `t`, in place.

    Parameters
    ----------
    config : SimulationConfig
        Message probability.
    catalogue : Catalogue
        Advertised categories.
    customers : Customers
        n customers.
    mass : numpy.ndarray of shape (2, 2, h + 1, n, M)
        Changed in place; see `forecast`.
    t : int
        Day of the simulation.
    """
    due = np.flatnonzero(customers.message_slot == t % 7)
    probability = np.zeros((due.size, catalogue.interpurchase_time.size))
    probability[:, catalogue.advertised] = config.messages * (1.0 - NEWSLETTERS) / catalogue.advertised.size
    probability[customers.joined[due] > t] = 0.0
    replace_messages(mass, due, probability)


def replace_messages(mass: Floats, due: Ints, probability: Floats) -> None:
    """Replace the active message of some customers, in place.

    Parameters
    ----------
    mass : numpy.ndarray of shape (2, 2, h + 1, n, M)
        Changed in place; see `forecast`.
    due : numpy.ndarray of shape (k,)
        Positions of the customers.
    probability : numpy.ndarray of shape (k, M)
        Probability of a message about each category; otherwise no message is active.
    """
    both = mass[..., due, :].sum(axis=1)
    mass[:, 0, :, due] = np.moveaxis(both * (1.0 - probability), 2, 0)
    mass[:, 1, :, due] = np.moveaxis(both * probability, 2, 0)


def days_since(state: State, t: int, h: int) -> Ints:
    """Compute the days since the last purchase for each possible day of it.

    Parameters
    ----------
    state : State
        State of n customers at the cutoff.
    t : int
        Day of the simulation.
    h : int
        Day of the horizon, counted from 0.

    Returns
    -------
    numpy.ndarray of shape (h + 1, n, M)
        Row 0 for a last purchase before the cutoff, row j for day j - 1 of the horizon; -1 for never.
    """
    since = np.empty((h + 1, *state.last.shape), np.int64)
    since[0] = np.where(state.last < 0, -1, t - state.last)
    since[1:] = np.arange(h, 0, -1)[:, None, None]
    return since


def trigger_probability(catalogue: Catalogue, base: Floats) -> Floats:
    """Compute the probability that a visit buys the trigger of each category.

    Parameters
    ----------
    catalogue : Catalogue
        Planted pairs.
    base : numpy.ndarray of shape (n, M)
        Purchase intensity without replenishment, message and order effects.

    Returns
    -------
    numpy.ndarray of shape (n, M)
        Probability; 0 for categories without a trigger.
    """
    probability = np.zeros_like(base)
    probability[:, catalogue.target] = -np.expm1(-base[:, catalogue.trigger])
    return probability
