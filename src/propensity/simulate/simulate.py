"""Shopping day by day: a block of customers walks through the world, leaving events behind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from propensity.simulate.catalogue import Catalogue, Floats, Ints, season
from propensity.simulate.customer import Customers, draw_shoppers, rhythm, visit_chance
from propensity.simulate.settings import BLOCK, Settings

PURCHASE, VIEW, MESSAGE, RETURN = range(4)
STORE, WEB, EMAIL = range(3)
NO_TOPIC, NEWSLETTER = -1, -2
NEWSLETTERS = 0.25  # share of messages about nothing in particular


class State(NamedTuple):
    """What the future depends on besides the shoppers' characteristics; `day` changes it in place."""

    last: Ints  # (n, M) `t` of the last purchase, -1 for never
    primed: NDArray[np.bool_]  # (n, K) the trigger was bought at the last visit
    topic: Ints  # (n,) category of the message in force, or NO_TOPIC or NEWSLETTER

    def rows(self, index: Ints) -> State:
        return State._make(column[index] for column in self)


class Trace(NamedTuple):
    """Events of a block before they have items and prices, one entry each; `customer` is a row of the block."""

    customer: Ints
    t: Ints
    category: Ints
    kind: Ints
    channel: Ints


def simulate(settings: Settings, catalogue: Catalogue, block: int, until: int) -> tuple[Customers, State, Trace]:
    """A block's characteristics, its state on the morning of day `until`, and its events before that morning."""
    rng = settings.stream(1, block, 0)
    who = draw_shoppers(rng, catalogue, settings)
    state = State(
        last=np.full((BLOCK, catalogue.gap.size), -1),
        primed=np.zeros((BLOCK, catalogue.trigger.size), bool),
        topic=np.full(BLOCK, NO_TOPIC),
    )
    events = [np.zeros((5, 0), np.int64)]
    for t in range(until):
        events += day(rng, settings, catalogue, who, state, t)
    return who, state, Trace._make(np.concatenate(events, axis=1))


def day(
    rng: np.random.Generator, settings: Settings, catalogue: Catalogue, who: Customers, state: State, t: int
) -> list[Ints]:
    """One day of a block: changes `state` and returns the day's events, each array with the rows of a Trace."""
    send, pick, visit, online = rng.random((4, BLOCK))
    sent = (t % 7 == who.slot) & (send < settings.messages) & (t >= who.joined)
    state.topic[t % 7 == who.slot] = NO_TOPIC
    state.topic[sent] = topic(catalogue, pick[sent])
    v = np.flatnonzero(visit < visit_chance(who, t, settings.epoch_day(t)))
    want = intensity(settings, catalogue, who, state, v, t)
    reluctance = rng.standard_exponential(want.shape)
    bought = reluctance < want  # with probability 1 - exp(-want)
    web = online[v] < who.web[v]
    viewed = ~bought & web[:, None] & (reluctance < want * (1.0 + settings.views))
    idle = np.flatnonzero(~(bought | viewed).any(axis=1))
    viewed[idle, (reluctance[idle] / want[idle]).argmin(axis=1)] = True
    state.last[v] = np.where(bought, t, state.last[v])
    state.primed[v] = bought[:, catalogue.trigger]
    m = np.flatnonzero(sent)
    events = [np.stack([m, np.full_like(m, t), state.topic[m], np.full_like(m, MESSAGE), np.full_like(m, EMAIL)])]
    for kind, table in ((VIEW, viewed), (PURCHASE, bought)):
        row, category = np.nonzero(table)
        events.append(np.stack([v[row], np.full_like(row, t), category, np.full_like(row, kind), web[row]]))
    return events


def intensity(settings: Settings, catalogue: Catalogue, who: Customers, state: State, v: Ints, t: int) -> Floats:
    """Purchase intensity of the visitors `v` in each category, (|v|, M)."""
    since = np.where(state.last[v] < 0, -1, t - state.last[v])
    want: Floats = who.taste[v] * season(catalogue, settings.epoch_day(t)) * rhythm(catalogue, since, who.gap[v])
    told = np.flatnonzero(state.topic[v] >= 0)
    want[told, state.topic[v[told]]] *= 1.0 + settings.message_effect
    want[:, catalogue.target] *= 1.0 + settings.order_effect * state.primed[v]
    return want


def topic(catalogue: Catalogue, draw: Floats) -> Ints:
    """What messages are about, from uniform numbers: a category chosen at random, or a newsletter."""
    about = catalogue.advertised
    index = (np.maximum(draw - NEWSLETTERS, 0.0) / (1.0 - NEWSLETTERS) * about.size).astype(np.int64)
    return np.where(draw < NEWSLETTERS, NEWSLETTER, about[np.minimum(index, about.size - 1)])
