"""Exploration: a share of each campaign goes to customers at random, with its probability, so that models can learn.

A customer draws one campaign, or none, among those that the caps allow beside what is planned for him, so that the
probabilities are exact and every cap holds. Each explorer replaces a contact of the same slot, drawn at random, so
that no limit is exceeded. Planned contacts that stay and that leave are an experiment too: without them nothing would
be learned of the pairs that the plan prefers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.decision.plan.problem import Problem
from propensity.kernel.contact_cap import EDGE, WEEK, Calendar

CONTROLS = 10  # pairs without a message that are listed for each explorer, at most


class Draw(NamedTuple):
    """The experiment that exploration makes, a row for each pair of a customer and a campaign.

    Explorers are in it with the campaign they got, customers who drew none with some of those that they could have got,
    and planned contacts whether they stayed or left.

    Attributes
    ----------
    row, campaign : np.ndarray
        (R,) int64 customers and campaigns.
    sent : np.ndarray
        (R,) bool.
    probability : np.ndarray
        (R,) of `sent` or not, given that the pair is in the experiment.
    planned : np.ndarray
        (R,) bool, planned contacts.
    """

    row: np.ndarray
    campaign: np.ndarray
    sent: np.ndarray
    probability: np.ndarray
    planned: np.ndarray


class Explored(NamedTuple):
    """Contacts with their probabilities.

    Attributes
    ----------
    picks : np.ndarray
        (N, P) int16 slots of each customer, -1 after the last.
    explored : np.ndarray
        (N, P) bool, contacts that were drawn.
    probability : np.ndarray
        (N, P) of the contact, NaN where there is none.
    draw : Draw
        Explorers, their controls, and planned contacts.
    """

    picks: np.ndarray
    explored: np.ndarray
    probability: np.ndarray
    draw: Draw


def explore(picks: np.ndarray, problem: Problem, share: float, seed: int) -> Explored:
    """Replace a share of the contacts of each slot.

    Parameters
    ----------
    picks : np.ndarray
        (N, P) planned slots.
    problem : Problem
        Eligibility, promised contacts and slots.
    share : float
        Of the contacts of each slot, in [0, 1].
    seed : int
        Of the draws.

    Returns
    -------
    Explored
        `share` of each slot in expectation; fewer where too few customers may get one contact more, and where more may
        be drawn than there are contacts. Probabilities are those after both.
    """
    rng, slots = np.random.default_rng(seed), problem.cost.size
    planned = np.bincount(picks[picks >= 0].astype(np.int64), minlength=slots)
    chance = possible(picks, problem).astype(np.float64)
    chance *= np.minimum(share * planned / np.maximum(chance.sum(axis=0), 1), 1.0)
    chance /= max(float(chance.sum(axis=1).max(initial=0.0)), 1.0)
    replaced = explorers(chance, planned)
    added_chance = chance * (replaced / np.maximum(chance.sum(axis=0), 1e-300))
    slot = (rng.random(len(picks))[:, None] >= np.cumsum(chance, axis=1)).sum(axis=1)  # `slots`: none
    stays, surplus = _exchange(picks, slot, slots, rng)
    stay = np.maximum(1 - replaced / np.maximum(planned, 1), 0.0)
    draw = _joined(
        _draw(added_chance, 1.0 - chance.sum(axis=1), np.where(surplus, -1, slot), problem, rng),
        _planned(picks, stays, stay, problem.calendar.campaign),
    )
    added = np.where((slot < slots) & ~surplus, slot, -1)
    explorer = np.flatnonzero(added >= 0)
    own = np.full(len(picks), np.nan)
    own[explorer] = added_chance[explorer, added[explorer]]
    contacts = np.column_stack([np.where(stays, picks, np.int16(-1)), added.astype(np.int16)])
    explored = np.zeros(contacts.shape, dtype=bool)
    explored[:, -1] = added >= 0
    probability = np.column_stack([np.where(stays, stay[np.maximum(picks, 0)], np.nan), own])
    most = max(picks.shape[1], int((contacts >= 0).sum(axis=1).max()))
    order = np.argsort(contacts < 0, axis=1, kind="stable")[:, :most]
    ordered = [np.take_along_axis(each, order, axis=1) for each in (contacts, explored, probability)]
    return Explored(ordered[0], ordered[1], ordered[2], draw)


def _exchange(
    picks: np.ndarray, slot: np.ndarray, slots: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Planned contacts (N, P) that stay, and explorers (N,) beyond the contacts of their slot, who get no message."""
    stays, surplus = picks >= 0, np.zeros(len(picks), dtype=bool)
    count = np.bincount(slot[slot < slots], minlength=slots)
    for s in np.flatnonzero(count):
        row, place = np.nonzero(picks == s)
        if count[s] > row.size:
            surplus[rng.permutation(np.flatnonzero(slot == s))[: count[s] - row.size]] = True
        leaving = rng.permutation(row.size)[: count[s]]
        stays[row[leaving], place[leaving]] = False
    return stays, surplus


def explorers(chance: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Expected number of explorers of each slot; a slot has at most as many explorers as planned contacts.

    Parameters
    ----------
    chance : np.ndarray
        (N, S) of a draw, in each slot 0 or the same for all customers.
    most : np.ndarray
        (S,) contacts.

    Returns
    -------
    np.ndarray
        (S,) means of binomial numbers of draws, cut off at `most`.

    Examples
    --------
    >>> explorers(np.full((2, 1), 0.5), np.array([1])).tolist()
    [0.75]
    """
    result = chance.sum(axis=0)
    customers, p = (chance > 0).sum(axis=0), chance.max(axis=0, initial=0.0)
    for s in np.flatnonzero((customers > most) & (p < 1)):
        k = np.arange(1, most[s] + 1)
        ratio = np.log((customers[s] - k + 1) / k) + np.log(p[s]) - np.log1p(-p[s])
        log = customers[s] * np.log1p(-p[s]) + np.concatenate([[0.0], np.cumsum(ratio)])
        result[s] = min(result[s], most[s] - float(np.exp(log[:-1]) @ k[::-1]))
    return np.where(p < 1, result, np.minimum(result, most))


def possible(picks: np.ndarray, problem: Problem) -> np.ndarray:
    """(N, S) bool: slots that a customer may get beside his planned picks (N, P) and promised contacts."""
    calendar, days = problem.calendar, problem.calendar.start.size - 1
    day = np.repeat(np.arange(days), np.diff(calendar.start))
    row, place = np.nonzero(picks >= 0)
    slot = picks[row, place].astype(np.int64)
    count = np.repeat(problem.used, len(picks), axis=0) if len(problem.used) == 1 else problem.used.copy()
    count = count.astype(np.int16)
    np.add.at(count, (row, EDGE + day[slot]), 1)
    room = (count[:, EDGE : EDGE + days] < calendar.day_cap) & (_fullest_week(count, calendar) < calendar.week_cap)
    free = np.isfinite(problem.value[:, calendar.campaign]) & room[:, day]
    for s in np.unique(slot):  # a campaign once, and none that excludes another
        barred = calendar.campaign == calendar.campaign[s]
        barred = barred | calendar.clash[s] if calendar.clash.size else barred
        free[np.ix_(row[slot == s], np.flatnonzero(barred))] = False
    return np.asarray(free)


def _fullest_week(count: np.ndarray, calendar: Calendar) -> np.ndarray:
    """(N, D) contacts of the week of each day, the fullest of its seven where weeks roll; count (N, EDGE+D+EDGE)."""
    days = calendar.start.size - 1
    if not calendar.rolling:
        week = calendar.week
        same = (week[:, None] == week[None, EDGE : EDGE + days]).astype(np.int16)
        return np.asarray(count @ same)
    total = np.concatenate([np.zeros((len(count), 1), np.int16), np.cumsum(count, axis=1, dtype=np.int16)], axis=1)
    window = total[:, WEEK:] - total[:, :-WEEK]
    return np.asarray(np.lib.stride_tricks.sliding_window_view(window, WEEK, axis=1).max(axis=2))


def _draw(chance: np.ndarray, none: np.ndarray, slot: np.ndarray, problem: Problem, rng: np.random.Generator) -> Draw:
    """Explorers (slot below the number of slots) and a sample of the pairs of those who drew none (N,)."""
    slots = chance.shape[1]
    campaign = problem.calendar.campaign
    chance = chance @ (campaign[:, None] == np.arange(int(campaign.max(initial=0)) + 1))
    sent = np.flatnonzero((slot >= 0) & (slot < slots))
    open_pairs = np.argwhere((chance > 0) & (slot == slots)[:, None])
    pairs = float((none[:, None] * (chance > 0)).sum())  # expected, so that the sample depends on no draw
    share = min(1.0, CONTROLS * float(chance.sum()) / max(pairs, 1.0))
    listed = open_pairs[rng.random(len(open_pairs)) < share]
    place, column = np.concatenate([sent, listed[:, 0]]), np.concatenate([campaign[slot[sent]], listed[:, 1]])
    got, without = chance[place, column], share * none[place]
    is_sent = np.arange(place.size) < sent.size
    probability = np.where(is_sent, got, without) / (got + without)
    return Draw(place, column, is_sent, probability, np.zeros(place.size, dtype=bool))


def _planned(picks: np.ndarray, stays: np.ndarray, stay: np.ndarray, campaign: np.ndarray) -> Draw:
    """Planned contacts of slots from which some leave."""
    row, place = np.nonzero(picks >= 0)
    slot, sent = picks[row, place].astype(np.int64), stays[row, place]
    chance = np.where(sent, stay[slot], 1 - stay[slot])
    drawn = (stay[slot] > 0) & (stay[slot] < 1)
    return Draw(row[drawn], campaign[slot[drawn]], sent[drawn], chance[drawn], np.ones(int(drawn.sum()), dtype=bool))


def _joined(one: Draw, two: Draw) -> Draw:
    return Draw(*(np.concatenate(pair) for pair in zip(one, two, strict=True)))
