"""Journeys: the best sequence of messages for each customer, compared with all sequences and with the fixed list."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import permutations
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.decision.context import DecisionContext
from propensity.decision.next_best import NextBest
from propensity.errors import ConfigurationError
from propensity.scores import Scores

OFFERS = ("bread", "coffee", "jam")
SENT = date(2024, 3, 4)


def context(customers: int = 12) -> DecisionContext:
    money = np.random.default_rng(4).gamma(1.0, 3.0, (customers, 3)).astype(np.float32)
    money[3] = 0.0
    return DecisionContext(
        Scores(np.arange(customers), OFFERS, np.clip(money / 20, 0, 1), money, SENT.isoformat(), "test")
    )


def test_a_journey_is_the_best_of_all_sequences() -> None:
    known = context()
    result = NextBest(days=4, week=2, daily_decay=0.9, margin=0.5, cost=0.4)(known)
    for n, money in enumerate(known.scores.revenue):
        best = 0.0
        for count in (1, 2):
            for chosen in permutations(range(3), count):
                best = max(best, sum(0.5 * money[c] * 0.9**d - 0.4 for d, c in enumerate(chosen)))
        row = result.table.row(n, named=True)
        assert row["journey_value"] == pytest.approx(best, abs=1e-5)
        assert (row["next_campaign"] is None) == (best == 0.0)
    assert result.table["customer_id"].to_list() == list(range(12))


def test_journeys_keep_caps_and_never_repeat_a_campaign() -> None:
    journey = NextBest(days=14)(context(60)).extra_tables["journey"]
    assert not journey.select("customer_id", "campaign").is_duplicated().any()
    assert not journey.select("customer_id", "day").is_duplicated().any()
    for (_,), own in journey.group_by("customer_id"):
        days = sorted(own["day"].to_list())
        assert all(b - a >= timedelta(days=7) for a, b in zip(days, days[3:], strict=False))


def test_the_fixed_list_sends_its_first_campaign_first() -> None:
    result = NextBest(days=3, week=2, priority=["jam", "bread"])(context())
    fixed = result.extra_tables["fixed_list"].sort("customer_id", "day")
    assert (
        fixed.group_by("customer_id", maintain_order=True).agg("campaign")["campaign"].to_list()
        == [["jam", "bread"]] * 12
    )
    assert result.summary["value"] >= result.summary["fixed_list"]["value"]
    assert result.summary["bound"] >= result.summary["value"] - 1e-9


def test_pinned_campaigns_and_calendars_are_kept() -> None:
    listed: list[dict[str, Any]] = [
        {"offer": "jam", "days": [2], "pinned": True, "priority": 1, "cost": 0.0},
        {"offer": "coffee", "days": [0, 2]},
    ]
    journey = NextBest(campaigns=listed, week=1)(context()).extra_tables["journey"]
    jam = journey.filter(pl.col("campaign") == "jam")
    assert jam.height == 11 and jam["day"].unique().to_list() == [SENT + timedelta(days=2)]
    assert journey.filter(pl.col("campaign") == "coffee").is_empty(), "the week is full; customer 3 is worth nothing"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"days": 0}, "decision.days=0 plans nothing"),
        ({"daily_decay": 0.0}, "decision.daily_decay=0.0 is no share"),
        ({"priority": ["tea"]}, "decision.priority names tea, which is no campaign; there are"),
        ({"week": 0}, "decision.week=0 allows no contact"),
    ],
)
def test_a_bad_request_is_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        NextBest(**settings)(context())
