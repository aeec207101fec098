"""What to expect of the market, exactly: a forward recursion over the states a customer may be in.

Shapes: n customers, M categories, H days of the horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from propensity.simulate.catalogue import Catalogue, Floats, Ints, mean_price, season
from propensity.simulate.customer import Customers, rhythm, visit_chance
from propensity.simulate.settings import Settings
from propensity.simulate.simulate import NEWSLETTERS, State
from propensity.simulate.transaction import MEAN_PAID


class Propensity(NamedTuple):
    """The truth at a cutoff, for N customers and M categories, given everything simulated before it.

    probability: of at least one purchase in the horizon. expected_revenue: of all purchases in it, gross of returns.
    visit: (N,) probability of at least one visit. known: (N,) joined before the cutoff; the others have no past.
    """

    customer: Ints
    category: list[str]
    probability: Floats
    expected_revenue: Floats
    visit: Floats
    known: NDArray[np.bool_]


def forecast(
    settings: Settings,
    catalogue: Catalogue,
    who: Customers,
    state: State,
    cutoff: int,
    horizon: int,
    message: Callable[[Floats, int], None] | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Purchase probability (n, M), expected revenue (n, M) and visit probability (n,) from the state at the cutoff.

    message: what happens to the messages in force on day h of the horizon, given `mass[:, :, : h + 1]` and h (None:
    each customer's weekly slot, as `renew_messages`); it changes the mass in place.

    `mass[f, g, j]` (n, M) is the probability that the trigger was bought at the last visit (f), that a message about
    the category is in force (g), and that its last purchase was before the cutoff (j = 0) or on day j - 1 of the
    horizon. Given the state, days are independent, so one pass over them is exact.
    """
    mass = initial_mass(catalogue, who, state, horizon)
    factor = np.outer([1.0, 1.0 + settings.order_effect], [1.0, 1.0 + settings.message_effect])
    price = mean_price(catalogue, cutoff + np.arange(horizon))
    value, stays_away = np.zeros_like(who.taste), np.ones(who.rate.size)
    for h, t in enumerate(range(cutoff, cutoff + horizon)):
        held = mass[:, :, : h + 1]
        if message is None:
            renew_messages(settings, catalogue, who, held, t)
        else:
            message(held, h)
        wish = who.taste * season(catalogue, settings.epoch_day(t))
        urge = wish * rhythm(catalogue, days_since(state, t, h), who.gap)
        buys = held * -np.expm1(-factor[:, :, None, None, None] * urge)
        comes = visit_chance(who, t, settings.epoch_day(t))[:, None]
        bought, passed = comes * buys.sum(axis=(0, 2)), comes * (held - buys).sum(axis=0)
        value += bought.sum(axis=0) * price[h]
        stays_away *= 1.0 - comes[:, 0]
        spark = trigger_chance(catalogue, wish)
        held *= 1.0 - comes
        for f, share in enumerate((1.0 - spark, spark)):
            held[f] += share * passed
            mass[f, :, h + 1] = share * bought
    probability = 1.0 - mass[:, :, 0].sum(axis=(0, 1))
    return np.clip(probability, 0.0, 1.0), value * (1.0 + who.size[:, None]) * MEAN_PAID, 1.0 - stays_away


def initial_mass(catalogue: Catalogue, who: Customers, state: State, horizon: int) -> Floats:
    """(2, 2, H + 1, n, M): all of it on the known state."""
    n, categories = who.taste.shape
    primed = np.zeros((n, categories), np.int64)
    primed[:, catalogue.target] = state.primed
    told = (state.topic[:, None] == np.arange(categories)).astype(np.int64)
    mass = np.zeros((2, 2, horizon + 1, n, categories))
    mass[primed, told, 0, np.arange(n)[:, None], np.arange(categories)] = 1.0
    return mass


def renew_messages(settings: Settings, catalogue: Catalogue, who: Customers, held: Floats, t: int) -> None:
    """In place: customers whose weekly slot is today lose the message in force, and may be sent another."""
    due = np.flatnonzero(who.slot == t % 7)
    chance = np.zeros((due.size, catalogue.gap.size))
    chance[:, catalogue.advertised] = settings.messages * (1.0 - NEWSLETTERS) / catalogue.advertised.size
    chance[who.joined[due] > t] = 0.0
    tell(held, due, chance)


def tell(held: Floats, due: Ints, chance: Floats) -> None:
    """In place: the message in force of the customers `due` (k,) gives way to one, with a `chance` (k, M) for each
    category, or to none."""
    both = held[..., due, :].sum(axis=1)
    held[:, 0, :, due] = np.moveaxis(both * (1.0 - chance), 2, 0)
    held[:, 1, :, due] = np.moveaxis(both * chance, 2, 0)


def days_since(state: State, t: int, h: int) -> Ints:
    """(h + 1, n, M): days since the last purchase, for each day of the horizon it may have been on; -1 for never."""
    since = np.empty((h + 1, *state.last.shape), np.int64)
    since[0] = np.where(state.last < 0, -1, t - state.last)
    since[1:] = np.arange(h, 0, -1)[:, None, None]
    return since


def trigger_chance(catalogue: Catalogue, wish: Floats) -> Floats:
    """(n, M): chance that a visit today buys the trigger of each category; zero where it has none."""
    chance = np.zeros_like(wish)
    chance[:, catalogue.target] = -np.expm1(-wish[:, catalogue.trigger])
    return chance
