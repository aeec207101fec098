"""The campaign plan: pins, promised contacts, modes and heuristics; an impossible request is one sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.decision.campaign import CampaignPlan
from propensity.decision.context import DecisionContext
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.scores import Scores

OFFERS = ("bread", "coffee", "jam", "tea")
SENT = date(2024, 3, 4)  # a Monday


def context(customers: int = 40, seed: int = 1, **changes: Any) -> DecisionContext:
    random = np.random.default_rng(seed)
    chance = random.beta(1, 3, (customers, 4)).astype(np.float32)
    scores = Scores(np.arange(customers), OFFERS, chance, chance * 20, SENT.isoformat(), "test")
    table = pl.DataFrame(
        {
            "customer_id": [str(n) for n in range(customers)],
            "region": ["north" if n % 4 else "south" for n in range(customers)],
            "suppressed": [n == 0 for n in range(customers)],
            "consent_email": [n % 2 == 0 for n in range(customers)],
            "consent_post": [True] * customers,
        }
    )
    return replace(DecisionContext(scores, customers=table), **changes)


def one_a_day(**settings: Any) -> list[dict[str, Any]]:
    return [{"offer": offer, "days": [d], **settings} for d, offer in enumerate(OFFERS)]


def test_the_default_plan_keeps_the_caps_and_beats_the_heuristics() -> None:
    result = CampaignPlan(count=4)(context(200))
    by_day = result.table.group_by("customer_id", "day").len()["len"]
    assert by_day.max() == 1 and (result.table.group_by("customer_id").len()["len"] <= 3).all()
    assert result.table.filter(pl.col("customer_id") == 0).is_empty(), "customer 0 is suppressed"
    assert result.summary["optimality_gap"] < 1e-4
    worth = {row["plan"]: row for row in result.summary["heuristics"]}
    assert list(worth) == ["this plan", "everybody", "campaign queue", "customer first, truncated", "global greedy"]
    lawful = [row["value"] for row in worth.values() if not row["violations"]]
    assert worth["this plan"]["value"] == max(lawful) and worth["everybody"]["violations"] > 0
    assert result.summary["value"] == pytest.approx(result.table["expected_value"].sum())


def test_a_customer_gets_a_campaign_once_on_one_of_its_days() -> None:
    table = CampaignPlan(campaigns=[{"offer": o, "days": [0, 1, 2], "most": 15} for o in OFFERS])(context()).table
    assert table.select("customer_id", "campaign").is_duplicated().sum() == 0
    assert set(table["day"]) <= {SENT + timedelta(days=d) for d in range(3)}


def test_volume_gives_every_campaign_exactly_its_size() -> None:
    result = CampaignPlan(campaigns=one_a_day(most=12, cost=6.0), mode="volume")(context())
    assert result.table.group_by("campaign").len()["len"].to_list() == [12] * 4
    assert result.summary["value"] < 0, "at this cost no message pays, and volume was wanted all the same"
    assert CampaignPlan(campaigns=one_a_day(most=12, cost=6.0))(context()).table.is_empty()


def test_pinned_campaigns_take_their_best_customers_first() -> None:
    listed = one_a_day(most=10)
    listed[3] |= {"pinned": True, "priority": 1}
    known = context()
    result = CampaignPlan(campaigns=listed, week=1)(known)
    tea = known.scores.revenue[1:, 3]
    best = set((np.argsort(-tea)[:10] + 1).tolist())
    assert set(result.table.filter(pl.col("campaign") == "tea")["customer_id"]) == best
    assert result.table.group_by("customer_id").len()["len"].max() == 1
    assert result.table.filter("pinned")["campaign"].unique().to_list() == ["tea"]


def test_promised_contacts_use_up_the_caps_also_from_before_and_after_the_plan() -> None:
    before = [SENT - timedelta(days=k) for k in (1, 2, 3)]
    after = [SENT + timedelta(days=k) for k in (5, 6)]
    rows = [(str(n), day) for n in (2, 4) for day in before] + [("6", day) for day in after]
    promised = pl.DataFrame(rows, schema=["customer_id", "day"], orient="row").with_columns(
        channel=pl.lit(None, pl.String)
    )
    table = CampaignPlan(campaigns=one_a_day())(context(contacts=promised)).table
    days = {n: table.filter(pl.col("customer_id") == n)["day"].to_list() for n in (2, 4, 6, 7)}
    # three messages in the days 1 to 3 before: nothing fits until the first of them is a week ago
    assert all(day >= SENT + timedelta(days=4) for n in (2, 4) for day in days[n]) and len(days[6]) == 1
    assert len(days[7]) == 3


def test_exclusive_campaigns_and_filters_are_kept() -> None:
    listed = one_a_day(where="region = 'south'")
    table = CampaignPlan(campaigns=listed, exclusive=[["bread", "tea"]])(context()).table
    assert all(n % 4 == 0 for n in table["customer_id"])
    both = (
        table.group_by("customer_id")
        .agg(pl.col("campaign"))
        .filter(pl.col("campaign").list.contains("bread") & pl.col("campaign").list.contains("tea"))
    )
    assert both.is_empty() and table["customer_id"].n_unique() == 9  # ten from the south, one suppressed


def test_a_channel_has_its_capacity_and_needs_consent() -> None:
    listed = [{"offer": o, "days": [0], "channel": "email"} for o in OFFERS]
    table = CampaignPlan(campaigns=listed, capacity={"email": 7})(context()).table
    assert table.height == 7 and all(n % 2 == 0 for n in table["customer_id"])


def test_no_capacity_and_no_budget_leave_an_empty_plan() -> None:
    listed = [{"offer": o, "channel": "email"} for o in OFFERS]
    for nothing in ({"capacity": {"email": 0}}, {"budget": 0.0}):
        result = CampaignPlan(campaigns=listed, **nothing)(context())
        assert result.table.is_empty() and result.summary["value"] == result.summary["optimality_gap"] == 0


def test_a_budget_is_never_passed() -> None:
    listed = one_a_day()
    for k, campaign in enumerate(listed):
        campaign["cost"] = 0.3 + 0.2 * k
    result = CampaignPlan(campaigns=listed, budget=9.9)(context())
    spent = {c["offer"]: c["cost"] for c in listed}
    assert 9.0 < sum(spent[c] for c in result.table["campaign"]) <= 9.9 + 1e-9
    assert result.summary["optimality_gap"] < 0.02


def test_shadow_prices_bound_the_gain_of_a_new_plan() -> None:
    result = CampaignPlan(campaigns=one_a_day(most=8))(context(80))
    prices = result.extra_tables["prices"]
    assert set(prices["limit"]) >= {
        "audience of tea",
        "contacts a day, for all customers",
        "contacts in a week, for all customers",
    }
    wider = prices.filter((pl.col("side") == "most") & pl.col("gain_of_new_plan").is_not_null())
    assert wider.height >= 4
    assert (wider["gain_of_new_plan"] <= wider["shadow_price"] + 1e-6).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"day": 0}, "decision.day=0 allows no contact; give 1 or more"),
        ({"week": 0}, "decision.week=0 allows no contact"),
        ({"mode": "best"}, "decision.mode=best is no way to plan; give audience or volume"),
        ({"count": 0}, "decision.count=0 plans nothing"),
        ({"campaigns": []}, "there is no campaign to plan"),
        (
            {"campaigns": [{"offer": "tea"}, {"offer": "tea"}]},
            "campaign tea is listed twice; give each a name of its own",
        ),
        ({"campaigns": [{"offer": "tee"}]}, "offer 'tee' is not among the 4 scored; did you mean 'tea'?"),
        ({"campaigns": [{"offer": "tea", "lest": 3}]}, "a campaign has no setting lest; did you mean least?"),
        ({"campaigns": [{"name": "tea"}]}, "names no offer"),
        ({"campaigns": [{"offer": "tea", "least": 9, "most": 3}]}, "campaign tea: least=9 is above most=3; lower it"),
        ({"campaigns": [{"offer": "tea", "most": 0}]}, "campaign tea: least is 0 or more and most 1 or more, not 0, 0"),
        (
            {"campaigns": [{"offer": "tea", "most": "many"}]},
            "campaign tea: most=many is of the wrong kind; give a whole number or null",
        ),
        (
            {"campaigns": [{"offer": "tea", "days": "monday"}]},
            "campaign tea: days=monday is of the wrong kind; give a list of whole numbers",
        ),
        ({"capacity": {"fax": -1}}, "decision.capacity.fax=-1 is below 0"),
        (
            {"campaigns": [{"offer": "tea", "days": [-1]}]},
            "campaign tea: days=.* count from the cutoff; give 0 or more",
        ),
        ({"campaigns": [{"offer": "tea", "pinned": True}]}, "campaign tea is pinned and has no priority"),
        (
            {"campaigns": [{"offer": o, "pinned": True, "priority": 1} for o in ("tea", "jam")]},
            "campaigns tea and jam are both pinned with priority 1; give each its own",
        ),
        ({"exclusive": [["tea", "cake"]]}, "decision.exclusive names cake, which is no campaign"),
        ({"exclusive": [["tea", "tea"]]}, "must name two campaigns"),
        ({"capacity": {"fax": 3}}, "decision.capacity.fax is the channel of no campaign"),
        ({"budget": -1.0}, "decision.budget=-1.0 is below 0"),
        ({"campaigns": [{"offer": "tea", "recent": 7}]}, "campaign tea: recent needs the event log"),
    ],
)
def test_a_bad_request_is_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        CampaignPlan(**{"count": 4} | settings)(context())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"campaigns": [{"offer": "tea", "least": 30, "where": "region = 'south'"}]},
            "campaign tea requires at least 30 customers and 9 are eligible; lower its least or loosen its filter",
        ),
        (
            {"campaigns": one_a_day(least=32), "week": 3},
            r"no plan meets the least audiences of bread, coffee, jam, tea together: they require 128 contacts and 117 "
            r"were placed among 39 eligible customers under at most 1 a day and 3 in any 7 days; lower a least",
        ),
        (
            {"campaigns": [{"offer": o, "least": 25} for o in ("tea", "jam")] + one_a_day()[:1]},
            "least audiences of tea, jam together: they require 50 contacts and 39 were placed among 39",
        ),
        (
            {"campaigns": one_a_day(least=5, channel="email"), "capacity": {"email": 4}},
            "bread require at least 5 messages by email on 2024-03-04, whose capacity is 4",
        ),
        (
            {"campaigns": one_a_day(least=5, cost=1.0), "budget": 19.0},
            "the least audiences of bread, coffee, jam, tea cost 20.00 and the budget is 19.00",
        ),
        (
            {
                "campaigns": [
                    {"offer": "tea", "pinned": True, "priority": 1, "least": 30, "most": 30},
                    {"offer": "jam", "pinned": True, "priority": 2, "least": 30},
                ]
            },
            "pinned campaign jam requires at least 30 customers and tea and the caps leave it 9; lower its least",
        ),
        (
            {"campaigns": [{"offer": "tea", "where": "region = 'west'"}]},
            "campaign tea has no eligible customer: all 40 customers",
        ),
    ],
)
def test_an_infeasible_request_names_the_rules_that_clash(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InfeasibleError, match=words):
        CampaignPlan(**settings)(context())


def test_when_everybody_has_opted_out_there_is_no_plan() -> None:
    known = context()
    assert known.customers is not None
    with pytest.raises(InfeasibleError, match="has no eligible customer"):
        CampaignPlan(count=2)(replace(known, customers=known.customers.with_columns(suppressed=pl.lit(True))))


def test_rolling_weeks_take_any_day_cap_that_the_week_or_the_campaigns_make_harmless() -> None:
    after = pl.DataFrame({"customer_id": ["6"], "day": [SENT + timedelta(days=9)], "channel": [None]})
    known, one_day = context(contacts=after), [{"offer": o, "days": [8]} for o in OFFERS]
    for campaigns, week in ((one_day, 3), (one_a_day(), 9)):
        generous, exact = (CampaignPlan(campaigns=campaigns, day=d, week=week)(known) for d in (9, 3))
        assert generous.summary["value"] == pytest.approx(exact.summary["value"])
    with pytest.raises(
        ConfigurationError, match="weeks with 9 contacts, 4 of them on one day, cannot be planned exactly"
    ):
        CampaignPlan(campaigns=one_day, day=9, week=9)(known)


def test_ties_everywhere_give_the_same_full_plan_again() -> None:
    known = context()
    flat = replace(known.scores, revenue=np.full_like(known.scores.revenue, 2.0))
    first, second = (CampaignPlan(campaigns=one_a_day(most=9))(replace(known, scores=flat)) for _ in range(2))
    assert first.table.equals(second.table) and first.table.height == 36


def test_equal_customers_are_told_apart_by_their_ids_in_any_order() -> None:
    known = context(customers=400)
    flat = replace(known.scores, revenue=np.full_like(known.scores.revenue, 2.0))
    mixed = np.random.default_rng(3).permutation(400)
    turned = replace(
        flat, customer=flat.customer[mixed], probability=flat.probability[mixed], revenue=flat.revenue[mixed]
    )
    assert known.customers is not None
    first = CampaignPlan(campaigns=one_a_day(most=90))(replace(known, scores=flat))
    again = CampaignPlan(campaigns=one_a_day(most=90))(replace(known, scores=turned, customers=known.customers[mixed]))
    assert first.table.height == 360 and first.table.equals(again.table)
    assert first.table["customer_id"].cast(pl.Int64).mean() == pytest.approx(200, abs=25)  # not the first in the file
