"""Day-by-day simulation of a block of customers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from propensity.simulate.catalogue import Catalogue, Floats, Ints, season_factor
from propensity.simulate.customer import Customers, draw_customers, replenishment_factor, visit_probability
from propensity.simulate.settings import BLOCK, SimulationConfig

PURCHASE, VIEW, MESSAGE, RETURN = range(4)
STORE, WEB, EMAIL = range(3)
NO_TOPIC, NEWSLETTER = -1, -2
NEWSLETTERS = 0.25  # share of messages that are about no category


class State(NamedTuple):
    """State of n customers, beside their characteristics; `simulate_day` changes it in place."""

    last: Ints  # (n, M) `t` of the last purchase, -1 for never
    triggered: NDArray[np.bool_]  # (n, K) whether the trigger was bought at the last visit
    topic: Ints  # (n,) category of the active message, or NO_TOPIC or NEWSLETTER

    def rows(self, index: Ints) -> State:
        """Select customers by position.

        Parameters
        ----------
        index : numpy.ndarray of int
            Positions.

        Returns
        -------
        State
            The state of the selected customers.
        """
        return State._make(column[index] for column in self)


class Trace(NamedTuple):
    """Events of a block without items and prices, one entry each; `row` is a position in the block."""

    row: Ints
    t: Ints
    category: Ints
    kind: Ints
    channel: Ints


def simulate(config: SimulationConfig, catalogue: Catalogue, block: int, until: int) -> tuple[Customers, State, Trace]:
    """Simulate a block of customers up to a day.

    Parameters
    ----------
    config : SimulationConfig
        Settings and seed.
    catalogue : Catalogue
        Parameters that all customers share.
    block : int
        Number of the block.
    until : int
        Day of the simulation, exclusive.

    Returns
    -------
    customers : Customers
        Latent characteristics of the block.
    state : State
        State at the start of day `until`.
    trace : Trace
        Events before day `until`.
    """
    rng = config.stream(1, block, 0)
    customers = draw_customers(rng, catalogue, config)
    state = State(
        last=np.full((BLOCK, catalogue.interpurchase_time.size), -1),
        triggered=np.zeros((BLOCK, catalogue.trigger.size), bool),
        topic=np.full(BLOCK, NO_TOPIC),
    )
    events = [np.zeros((5, 0), np.int64)]
    for t in range(until):
        events += simulate_day(rng, config, catalogue, customers, state, t)
    return customers, state, Trace._make(np.concatenate(events, axis=1))


def simulate_day(
    rng: np.random.Generator,
    config: SimulationConfig,
    catalogue: Catalogue,
    customers: Customers,
    state: State,
    t: int,
) -> list[Ints]:
    """Simulate one day of a block.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the day's random numbers.
    config : SimulationConfig
        Settings.
    catalogue : Catalogue
        Parameters that all customers share.
    customers : Customers
        Latent characteristics of the block.
    state : State
        State at the start of the day; changed in place to the state at its end.
    t : int
        Day of the simulation.

    Returns
    -------
    list of numpy.ndarray of shape (5, events)
        The day's events, with the rows of a `Trace`.
    """
    message, topic, visit, online = rng.random((4, BLOCK))
    sent = (t % 7 == customers.message_slot) & (message < config.messages) & (t >= customers.joined)
    state.topic[t % 7 == customers.message_slot] = NO_TOPIC
    state.topic[sent] = draw_topics(catalogue, topic[sent])
    visitors = np.flatnonzero(visit < visit_probability(customers, t, config.epoch_day(t)))
    intensity = purchase_intensity(config, catalogue, customers, state, visitors, t)
    threshold = rng.standard_exponential(intensity.shape)
    bought = threshold < intensity  # with probability 1 - exp(-intensity)
    web = online[visitors] < customers.online_share[visitors]
    viewed = ~bought & web[:, None] & (threshold < intensity * (1.0 + config.views))
    idle = np.flatnonzero(~(bought | viewed).any(axis=1))  # a visit without any event gets one view
    viewed[idle, (threshold[idle] / intensity[idle]).argmin(axis=1)] = True
    state.last[visitors] = np.where(bought, t, state.last[visitors])
    state.triggered[visitors] = bought[:, catalogue.trigger]
    m = np.flatnonzero(sent)
    events = [np.stack([m, np.full_like(m, t), state.topic[m], np.full_like(m, MESSAGE), np.full_like(m, EMAIL)])]
    for kind, mask in ((VIEW, viewed), (PURCHASE, bought)):
        visitor, category = np.nonzero(mask)
        columns = [visitors[visitor], np.full_like(visitor, t), category, np.full_like(visitor, kind), web[visitor]]
        events.append(np.stack(columns))
    return events


def purchase_intensity(
    config: SimulationConfig, catalogue: Catalogue, customers: Customers, state: State, visitors: Ints, t: int
) -> Floats:
    """Compute the purchase intensity of visitors in each category.

    Parameters
    ----------
    config : SimulationConfig
        Strengths of the message effect and the order effect.
    catalogue : Catalogue
        Seasons and planted pairs.
    customers : Customers
        Latent characteristics of the block.
    state : State
        Current state of the block.
    visitors : numpy.ndarray of shape (V,)
        Positions of the visitors in the block.
    t : int
        Day of the simulation.

    Returns
    -------
    numpy.ndarray of shape (V, M)
        Purchase intensity per visit; the purchase probability is 1 - exp(-intensity).
    """
    since = np.where(state.last[visitors] < 0, -1, t - state.last[visitors])
    intensity: Floats = (
        customers.preference[visitors]
        * season_factor(catalogue, config.epoch_day(t))
        * replenishment_factor(catalogue, since, customers.interpurchase_time[visitors])
    )
    messaged = np.flatnonzero(state.topic[visitors] >= 0)
    intensity[messaged, state.topic[visitors[messaged]]] *= 1.0 + config.message_effect
    intensity[:, catalogue.target] *= 1.0 + config.order_effect * state.triggered[visitors]
    return intensity


def draw_topics(catalogue: Catalogue, uniform: Floats) -> Ints:
    """Draw the topics of messages.

    Parameters
    ----------
    catalogue : Catalogue
        Names the advertised categories.
    uniform : numpy.ndarray of shape (messages,)
        Uniform random numbers in [0, 1).

    Returns
    -------
    numpy.ndarray of shape (messages,)
        A random advertised category, or NEWSLETTER.
    """
    advertised = catalogue.advertised
    index = (np.maximum(uniform - NEWSLETTERS, 0.0) / (1.0 - NEWSLETTERS) * advertised.size).astype(np.int64)
    return np.where(uniform < NEWSLETTERS, NEWSLETTER, advertised[np.minimum(index, advertised.size - 1)])
