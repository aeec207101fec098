"""Exploration draws from everybody within the caps, and its probabilities are those of what happens."""

from __future__ import annotations

import numpy as np
import pytest

from decision.known import OFFERS, context_with_history
from propensity.decision.campaign import CampaignPlan
from propensity.decision.exploration import Draw, explore, possible
from propensity.decision.plan.heuristic import obeying_picks
from propensity.decision.plan.problem import Problem
from propensity.decision.plan.request import build_request
from propensity.kernel.contact_cap import EDGE, Calendar
from propensity.kernel.plan import Limits

CAMPAIGNS = [{"offer": offer, "days": [d], "most": 20, "cost": 0.0} for d, offer in enumerate(OFFERS)]
DAYS, COUNT = 9, 5


def plan_of_forty() -> tuple[np.ndarray, Problem]:
    """Picks of two campaigns with 20 customers each, of 150."""
    known = context_with_history(3, 150, 20)
    plan = CampaignPlan(campaigns=CAMPAIGNS)
    request = build_request(known, plan.requested(known), plan.plan_limits, 0.3, 0.02)
    picks = np.full((known.scores.customer.size, 2), -1, np.int16)
    picks[:20, 0], picks[20:40, 0] = 0, 1
    return picks, request.problem


def test_a_share_of_each_campaign_is_drawn_from_all_customers_with_the_stated_probability() -> None:
    picks, problem = plan_of_forty()
    count, expected, repeats, explorers = np.zeros((len(picks), 2)), np.zeros((len(picks), 2)), 1200, 0
    for seed in range(repeats):
        drawn = explore(picks, problem, 0.25, seed)
        assert (np.bincount(drawn.picks[drawn.picks >= 0], minlength=2) <= 20).all()
        row, place = np.nonzero(drawn.picks >= 0)
        assert (np.isfinite(drawn.probability) == (drawn.picks >= 0)).all()
        assert not (drawn.explored & (drawn.picks < 0)).any()
        count[row, drawn.picks[row, place]] += 1
        expected[row, drawn.picks[row, place]] += drawn.probability[row, place] / repeats
        explorers += drawn.explored.sum()
    share = count / repeats
    stated = np.divide(expected, share, out=np.zeros_like(share), where=share > 0)  # its mean where it was sent
    spread = 5 * np.sqrt(stated * (1 - stated) / repeats)
    assert (np.abs(share - stated)[share > 0] <= spread[share > 0] + 1e-9).all()
    assert explorers / repeats == pytest.approx(10, rel=0.1)
    assert ((share[40:] > 0) == possible(picks, problem)[40:]).all()
    assert ((share[:40] > 0).sum(axis=1) == 2).mean() > 0.8  # also the other campaign of customers with a contact


@pytest.mark.parametrize("rolling", [True, False])
def test_a_drawn_contact_keeps_the_caps_beside_planned_and_promised_ones(rolling: bool) -> None:
    problem, campaign = crowded(rolling)
    row, slot = np.nonzero(np.isfinite(problem.value[:, campaign]))
    order = np.random.default_rng(1).permutation(row.size)
    picks = obeying_picks(problem, row[order], slot[order])
    week, used = problem.calendar.week, problem.used.astype(int)
    windows = [np.arange(d, d + 7) for d in range(DAYS + EDGE)]
    if not rolling:
        windows = [np.flatnonzero(week == w) for w in np.unique(week[EDGE : EDGE + DAYS])]
    explorers = 0
    for seed in range(10):
        drawn = explore(picks, problem, 0.5, seed)
        row, place = np.nonzero(drawn.picks >= 0)
        contacts = used.copy()
        np.add.at(contacts, (row, EDGE + drawn.picks[row, place] // COUNT), 1)
        assert (contacts <= np.maximum(used, 1)).all()
        for window in windows:
            assert (contacts[:, window].sum(1) <= np.maximum(used[:, window].sum(1), 2)).all()
        sent = np.zeros(problem.value.shape, int)
        np.add.at(sent, (row, campaign[drawn.picks[row, place]]), 1)
        assert sent.max() == 1 and (sent[:, 0] + sent[:, 1]).max() == 1
        assert not sent[~np.isfinite(problem.value)].any()
        beside = drawn.explored.any(1) & ((drawn.picks >= 0).sum(1) > 1)
        explorers += int(beside.sum())
    assert explorers > 100


def crowded(rolling: bool) -> tuple[Problem, np.ndarray]:
    """Five campaigns on any of nine days, two of which exclude each other, with promised contacts; their campaigns."""
    rng, size = np.random.default_rng(3), 400
    campaign = np.tile(np.arange(COUNT), DAYS)
    apart = np.eye(COUNT, dtype=bool)
    apart[:2, :2] = True
    clash = apart[np.ix_(campaign, campaign)]
    np.fill_diagonal(clash, False)
    week = (np.arange(DAYS + 2 * EDGE) + 3) // 7
    calendar = Calendar(campaign, np.ones(campaign.size), np.arange(DAYS + 1) * COUNT, week, clash, 1, 2, rolling)
    value = np.where(rng.random((size, COUNT)) < 0.9, rng.random((size, COUNT)), -np.inf).astype(np.float32)
    limits = Limits(np.eye(COUNT)[:, campaign], np.zeros(COUNT), np.full(COUNT, 60.0))
    used = (rng.random((size, week.size)) < 0.1).astype(np.uint8)
    return Problem(value, np.zeros(campaign.size), used, calendar, limits), campaign


def test_exploration_lists_explorers_controls_and_planned_contacts_with_the_probability_of_their_arm() -> None:
    picks, problem = plan_of_forty()
    count, stated = np.zeros((2, 2)), np.zeros((2, 2))
    for seed in range(400):
        drawn = explore(picks, problem, 0.25, seed)
        draw = drawn.draw
        assert ((draw.probability > 0) & (draw.probability < 1)).all()
        assert len(set(pairs_of(draw))) == draw.row.size
        assert set(draw.row[draw.planned].tolist()) == set(range(40))
        explorers = np.flatnonzero(drawn.explored.any(axis=1)).tolist()
        assert set(draw.row[draw.sent & ~draw.planned].tolist()) == set(explorers)
        assert not set(draw.row[~draw.sent & ~draw.planned].tolist()) & set(explorers)
        row, place = np.nonzero(drawn.picks >= 0)
        contacts = set(zip(row.tolist(), drawn.picks[row, place].tolist(), strict=True))
        assert {pair for pair, sent in zip(pairs_of(draw), draw.sent, strict=True) if sent} == contacts
        chance = np.where(draw.sent, draw.probability, 1 - draw.probability)
        for k in (0, 1):
            own = draw.planned == bool(k)
            count[k] += np.bincount(draw.campaign[draw.sent & own], minlength=2)
            stated[k] += np.bincount(draw.campaign[own], weights=chance[own], minlength=2)
    assert (np.abs(count - stated) < 4 * np.sqrt(stated)).all()


def pairs_of(draw: Draw) -> list[tuple[int, int]]:
    """Customers and campaigns of an experiment."""
    return list(zip(draw.row.tolist(), draw.campaign.tolist(), strict=True))


def test_the_probabilities_hold_where_a_campaign_has_fewer_contacts_than_explorers_draw_it() -> None:
    picks, problem = plan_of_forty()
    picks[1:20], picks[22:] = -1, -1  # one contact of the first campaign and two of the second
    count, stated, runs = np.zeros(2), np.zeros(2), 800
    for seed in range(runs):
        draw = explore(picks, problem, 0.8, seed).draw
        chance = np.where(draw.sent, draw.probability, 1 - draw.probability)
        count += [(draw.sent & own).sum() for own in (draw.planned, ~draw.planned)]
        stated += [chance[own].sum() for own in (draw.planned, ~draw.planned)]
    assert (np.abs(count - stated) < 4 * np.sqrt(stated)).all()
