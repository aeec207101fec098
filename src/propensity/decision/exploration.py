"""Exploration: a share of each campaign goes to customers at random, with its probability, so that models can learn.

A customer without a planned contact draws one campaign, or none, so that the probabilities are exact and every cap is
kept. Each explorer replaces a contact of the same slot, drawn at random, so that no limit is exceeded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.decision.plan.problem import Problem

CONTROLS = 20  # pairs without a message that are listed for each explorer, at most


class Draw(NamedTuple):
    """The experiment that exploration makes, a row for each pair of a customer and a campaign.

    Explorers are in it with the campaign they got, and customers who drew none with those that they could have got.

    Attributes
    ----------
    row, campaign : np.ndarray
        (R,) int64 customers and campaigns.
    sent : np.ndarray
        (R,) bool.
    probability : np.ndarray
        (R,) of `sent` or not, given that the pair is in the experiment.
    """

    row: np.ndarray
    campaign: np.ndarray
    sent: np.ndarray
    probability: np.ndarray


class Explored(NamedTuple):
    """Contacts with their probabilities.

    Attributes
    ----------
    picks : np.ndarray
        (N, P) int16 slots of each customer, -1 after the last.
    explored : np.ndarray
        (N,) bool, whose only contact was drawn.
    probability : np.ndarray
        (N, P) of being sent exactly this, NaN where there is no contact.
    draw : Draw
        Explorers and their controls.
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
        `share` of each slot in expectation; fewer where there are too few customers without a contact.
    """
    rng, slots = np.random.default_rng(seed), problem.cost.size
    planned = np.bincount(picks[picks >= 0].astype(np.int64), minlength=slots)
    free = (picks < 0).all(axis=1) & (np.broadcast_to(problem.used, (len(picks), problem.used.shape[1])).sum(1) == 0)
    who = np.flatnonzero(free)
    chance = np.isfinite(problem.value[np.ix_(who, problem.calendar.campaign)]).astype(np.float64)
    pool = chance.sum(axis=0)
    chance *= np.minimum(share * planned / np.maximum(pool, 1), 1.0)
    crowded = float(chance.sum(axis=1).max(initial=0.0))
    chance /= max(crowded, 1.0)
    expected = chance.sum(axis=0)  # explorers of each slot
    slot = (rng.random(who.size)[:, None] >= np.cumsum(chance, axis=1)).sum(axis=1)  # `slots`: none
    picks, drawn = picks.copy(), slot < slots
    count = np.bincount(slot[drawn], minlength=slots)
    keep = np.ones(who.size, dtype=bool)
    for s in np.flatnonzero(count):
        row, place = np.nonzero(picks == s)
        surplus = count[s] - row.size
        if surplus > 0:  # more explorers than contacts: as many as there are
            keep[rng.permutation(np.flatnonzero(slot == s))[:surplus]] = False
        leaving = rng.permutation(row.size)[: count[s]]
        picks[row[leaving], place[leaving]] = -1
    picks = np.take_along_axis(picks, np.argsort(picks < 0, axis=1, kind="stable"), axis=1)
    probability = np.full(picks.shape, np.nan)
    stay = 1 - expected / np.maximum(planned, 1)
    filled = picks >= 0
    probability[filled] = stay[picks[filled].astype(np.int64)]
    chosen = np.flatnonzero(drawn & keep)
    picks[who[chosen], 0] = slot[chosen]
    probability[who[chosen], 0] = chance[chosen, slot[chosen]]
    explored = np.zeros(len(picks), dtype=bool)
    explored[who[chosen]] = True
    return Explored(picks, explored, probability, _draw(who, chance, np.where(keep, slot, -1), problem, rng))


def _draw(who: np.ndarray, chance: np.ndarray, slot: np.ndarray, problem: Problem, rng: np.random.Generator) -> Draw:
    """Explorers (slot below the number of slots) and a sample of the pairs of those who drew none."""
    slots, none = chance.shape[1], 1.0 - chance.sum(axis=1)
    campaign = problem.calendar.campaign
    chance = chance @ (campaign[:, None] == np.arange(int(campaign.max(initial=0)) + 1))
    sent = np.flatnonzero((slot >= 0) & (slot < slots))
    possible = np.argwhere((chance > 0) & (slot == slots)[:, None])
    pairs = float((none[:, None] * (chance > 0)).sum())  # expected, so that the sample depends on no draw
    share = min(1.0, CONTROLS * float(chance.sum()) / max(pairs, 1.0))
    listed = possible[rng.random(len(possible)) < share]
    place, column = np.concatenate([sent, listed[:, 0]]), np.concatenate([campaign[slot[sent]], listed[:, 1]])
    got, without = chance[place, column], share * none[place]
    is_sent = np.arange(place.size) < sent.size
    return Draw(who[place], column, is_sent, np.where(is_sent, got, without) / (got + without))
