"""Triggers: rules with dates make messages due, which are fixed or preferred, under every cap, limit and consent."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from decision.known import OFFERS, context_with_history
from decision.test_campaign import SENT, context
from propensity.data.event_log import to_day
from propensity.decision.campaign import CampaignPlan
from propensity.decision.context import DecisionContext
from propensity.decision.next_best import NextBest
from propensity.decision.plan.trigger import NEVER, read_triggers, trigger_of
from propensity.errors import ConfigurationError, DataError, InfeasibleError
from propensity.kernel.event import CART, PURCHASE

BIRTHDAY = {"name": "birthday", "anniversary": "born", "offer": "tea"}


def born(days: dict[int, int], year: int = 1990, **changes: Any) -> DecisionContext:
    """Customers with birthdays so many days after the cutoff."""
    known = context(**changes)
    assert known.customers is not None
    dates = [None if n not in days else (SENT + timedelta(days=days[n])).replace(year=year) for n in range(40)]
    return replace(known, customers=known.customers.with_columns(born=pl.Series(dates, dtype=pl.Date)))


def plan(known: DecisionContext, *triggers: dict[str, Any], **settings: Any) -> Any:
    return CampaignPlan(**{"count": 3, "triggers": list(triggers), **settings})(known)


def sent(result: Any, name: str) -> dict[int, date]:
    rows = result.table.filter(pl.col("campaign") == name)
    return dict(zip(rows["customer_id"].to_list(), rows["day"].to_list(), strict=True))


def test_a_birthday_message_goes_out_on_the_birthday_and_other_campaigns_keep_away() -> None:
    result = plan(born({1: 0, 2: 3, 3: 9}), BIRTHDAY)
    assert sent(result, "birthday") == {1: SENT, 2: SENT + timedelta(days=3)}
    assert result.table.filter(pl.col("campaign") == "birthday")["pinned"].all()
    assert result.table.group_by("customer_id", "day").len()["len"].max() == 1
    row = result.summary["triggers"][0]
    assert (row["due"], row["sent"], row["late"], row["over_caps"]) == (2, 2, 0, 0)


def test_a_fixed_message_is_sent_whatever_it_earns() -> None:
    result = plan(born({1: 0}), BIRTHDAY | {"offer": "", "cost": 3.0}, campaigns=[])
    row = result.table.row(0, named=True)
    assert (row["offer_id"], row["score"], row["expected_value"]) == (None, None, -3.0)
    assert result.summary["value"] == -3.0


def test_a_fixed_message_needs_consent() -> None:
    result = plan(born({0: 1, 1: 1, 2: 1}), BIRTHDAY | {"channel": "email"})  # 0 is suppressed, 1 refuses email
    assert set(sent(result, "birthday")) == {2}
    assert result.summary["triggers"][0]["not_eligible"] == 2
    assert any("2 to customers who may not be contacted" in each for each in result.sentences)


def test_a_holdout_gets_no_fixed_message() -> None:
    held = np.arange(40) == 2
    assert set(sent(plan(born({2: 1, 3: 1}, held=held), BIRTHDAY), "birthday")) == {3}


def test_a_message_without_a_place_is_reported_and_a_required_one_is_refused() -> None:
    promised = pl.DataFrame(
        {"customer_id": ["2"], "day": [SENT], "channel": [None]}, schema_overrides={"channel": pl.String}
    )
    known = born({2: 0, 3: 0}, contacts=promised)
    result = plan(known, BIRTHDAY)
    assert set(sent(result, "birthday")) == {3}
    assert result.extra_tables["unplaced"].row(0) == (2, "birthday", 0, SENT, "contact caps")
    with pytest.raises(
        InfeasibleError, match="trigger birthday is required and 1 of its messages .*customer 2"
    ) as caught:
        plan(known, BIRTHDAY | {"required": True})
    assert caught.value.exit_code == 4
    late = plan(known, BIRTHDAY | {"required": True, "flexible": 2})
    assert sent(late, "birthday") == {2: SENT + timedelta(days=1), 3: SENT}
    assert late.summary["triggers"][0]["late"] == 1


def test_a_capacity_or_the_budget_leaves_the_last_ones_out() -> None:
    known = born(dict.fromkeys(range(2, 12), 0))
    result = plan(known, BIRTHDAY | {"channel": "post"}, capacity={"post": 4})
    assert len(sent(result, "birthday")) == 4
    assert result.extra_tables["unplaced"]["reason"].unique().to_list() == ["a capacity or the budget"]
    spent = plan(known, BIRTHDAY | {"cost": 1.0}, campaigns=[], budget=3.5)
    assert spent.table.height == 3


def test_the_first_priority_takes_the_day() -> None:
    known = born({2: 0})
    other = BIRTHDAY | {"name": "club", "offer": "jam"}
    assert sent(plan(known, BIRTHDAY | {"priority": 2}, other | {"priority": 1}), "club") == {2: SENT}
    assert sent(plan(known, BIRTHDAY | {"priority": 1}, other | {"priority": 2}), "birthday") == {2: SENT}


def test_a_preferred_message_is_planned_with_the_others_where_it_earns_most() -> None:
    rule = BIRTHDAY | {"fixed": False, "flexible": 3, "offer": "", "worth": 100.0}
    result = plan(born({2: 0, 3: 1}), rule)
    assert (
        set(sent(result, "birthday")) == {2, 3}
        and not result.table.filter(pl.col("campaign") == "birthday")["pinned"].any()
    )
    assert plan(born({2: 0}), rule | {"worth": 0.001}).summary["triggers"][0]["sent"] == 0
    assert result.summary["optimality_gap"] < 1e-4


def test_a_birthday_on_29_february_is_kept_on_the_28th_and_at_the_turn_of_the_year() -> None:
    known = context()
    assert known.customers is not None
    dates = [date(2000, 2, 29), date(1999, 12, 31), date(1999, 1, 1)] + [None] * 37
    known = replace(known, customers=known.customers.with_columns(born=pl.Series(dates), suppressed=pl.lit(False)))
    scores = [replace(known.scores, cutoff=day) for day in ("2023-02-27", "2024-02-28", "2023-12-30")]
    found = [sent(plan(replace(known, scores=each), BIRTHDAY, trigger_days=3), "birthday") for each in scores]
    assert found[0] == {0: date(2023, 2, 28)} and found[1] == {0: date(2024, 2, 29)}
    assert found[2] == {1: date(2023, 12, 31), 2: date(2024, 1, 1)}


def test_a_date_comes_once_and_may_be_announced_before() -> None:
    known = born({1: 4, 2: 1}, year=2024)
    rule = {"name": "contract", "date": "born", "days": [-3, 0], "offer": "jam"}
    result = plan(known, rule, trigger_days=7)
    assert sent(result, "contract, day -3") == {1: SENT + timedelta(days=1)}
    assert sent(result, "contract, day 0") == {1: SENT + timedelta(days=4), 2: SENT + timedelta(days=1)}
    assert sent(plan(born({1: 4}, year=2023), rule), "contract, day 0") == {}


def test_a_journey_has_a_start_and_an_end() -> None:
    known = born({n: n for n in range(1, 7)})
    limits = {"start": str(SENT + timedelta(days=2)), "end": str(SENT + timedelta(days=4))}
    assert set(sent(plan(known, BIRTHDAY | limits), "birthday")) == {2, 3, 4}


def history(days: int = 20) -> tuple[DecisionContext, np.ndarray, np.ndarray]:
    """A context with a log; the day and kind of every event before its cutoff, in arrays by event."""
    known = context_with_history(4, 120, days)
    assert known.history is not None
    cutoff = known.history.day
    scores = replace(known.scores, cutoff=str(date(1970, 1, 1) + timedelta(days=cutoff)))
    log = known.history.log
    return known.changed(scores=scores, ignore_consent=True), np.asarray(log.day), np.asarray(log.kind)


@pytest.mark.parametrize(("event", "pick"), [("first_purchase", min), ("purchase", max)])
def test_a_journey_counts_from_the_first_or_the_last_purchase_before_the_cutoff(event: str, pick: Any) -> None:
    known, day, kind = history()
    assert known.history is not None
    log, cutoff = known.history.log, to_day(known.scores.cutoff)
    mask = (kind == PURCHASE) & (day < cutoff)
    owner = log.owner(np.flatnonzero(mask))
    origin = {row: pick(day[mask][owner == row]) for row in np.unique(owner)}
    step = cutoff - sorted(origin.values())[-5]
    rule = {"name": "j", "event": event, "days": [int(step)], "offer": OFFERS[0]}
    result = plan(known, rule, campaigns=[], trigger_days=14, ignore_consent=True)
    counted = result.summary["triggers"][0]
    assert counted["due"] == sum(cutoff <= each + step < cutoff + 14 for each in origin.values()) > 0
    assert counted["sent"] + counted["over_caps"] == counted["due"]


def test_an_abandoned_basket_ends_with_a_purchase() -> None:
    known, day, kind = history()
    assert known.history is not None
    log, cutoff = known.history.log, to_day(known.scores.cutoff)
    rows = [0, 5, 9]  # of customers who put something into a basket three days before the cutoff
    carts = {n: np.array([cutoff - 3]) for n in rows}
    columns = {
        name: np.zeros(len(rows), np.asarray(getattr(log, name)).dtype)
        for name in ("item", "channel", "order", "quantity", "revenue", "discount")
    }
    offsets = np.cumsum([0, *(n in carts for n in range(len(log)))]).astype(np.int64)
    engaged = log.sibling(
        {
            "offsets": offsets,
            "day": np.full(len(rows), cutoff - 3, np.int32),
            "kind": np.full(len(rows), CART, np.int8),
            **columns,
        }
    )
    other = known.changed(history=replace(known.history, log=replace(log, engagement=engaged)))
    rule = {"name": "basket", "event": "cart", "days": [4], "until": "purchase", "offer": OFFERS[1]}
    bought = {
        n
        for n in rows
        if (
            (kind[log.offsets[n] : log.offsets[n + 1]] == PURCHASE)
            & (day[log.offsets[n] : log.offsets[n + 1]] >= cutoff - 3)
            & (day[log.offsets[n] : log.offsets[n + 1]] < cutoff)
        ).any()
    }
    scored = {n for n in rows if log.customer_id[n] in known.scores.customer}
    due = plan(other, rule, ignore_consent=True).summary["triggers"][0]["due"]
    assert due == len(scored - bought) and due > 0
    with pytest.raises(ConfigurationError, match="no events of the kind cart"):
        plan(known, rule, ignore_consent=True)


def test_a_journey_of_messages_is_planned_by_next_best_too() -> None:
    settings: dict[str, Any] = {"triggers": [BIRTHDAY], "count": 2, "days": 7}
    result = NextBest(**settings)(born({1: 0, 2: 3}))
    journey = result.extra_tables["journey"].filter(pl.col("campaign") == "birthday")
    assert journey["customer_id"].to_list() == [1, 2] and result.summary["triggers"][0]["sent"] == 2


def test_exploration_draws_nobody_into_a_trigger() -> None:
    known = born(dict.fromkeys(range(1, 11), 0))
    result = plan(known, BIRTHDAY, explore=0.5)
    assert set(sent(result, "birthday")) == set(range(1, 11))
    assert not result.table.filter((pl.col("campaign") == "birthday") & pl.col("explored")).height


def test_fifteen_pinned_campaigns_and_a_journey_leave_the_rest_to_the_planner() -> None:
    pinned = [{"offer": o, "name": f"pin {k}", "days": [k % 14], "pinned": True, "priority": k + 1, "most": 4}
              for k, o in enumerate(["tea", "jam", "bread"] * 5)]  # fmt: skip
    rest = [{"offer": o, "name": f"plan {o}", "days": list(range(14))} for o in ("bread", "coffee", "jam", "tea")]
    result = plan(born({n: n % 14 for n in range(1, 30)}), BIRTHDAY, campaigns=pinned + rest, trigger_days=14)
    counts = dict(result.table.group_by("campaign").len().rows())
    assert all(counts[f"pin {k}"] == 4 for k in range(15)) and counts["birthday"] == 29
    assert sum(counts.get(f"plan {o}", 0) for o in ("bread", "coffee", "jam", "tea")) > 50
    days = result.table.group_by("customer_id").agg(pl.col("day").sort())
    for row in days["day"].to_list():
        assert len(set(row)) == len(row)
        assert all(sum(0 <= (other - each).days < 7 for other in row) <= 3 for each in row)
    assert result.summary["optimality_gap"] < 0.02


def test_a_pin_that_fixed_messages_leave_no_place_is_refused() -> None:
    pin = {"offer": "jam", "days": [0], "pinned": True, "priority": 1, "least": 35}
    with pytest.raises(
        InfeasibleError, match="requires at least 35 customers and fixed contacts of triggers and the caps"
    ):
        plan(born(dict.fromkeys(range(1, 30), 0)), BIRTHDAY, campaigns=[pin])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"anniversary": None}, "none of event, date and anniversary is given; give exactly one"),
        ({"date": "born"}, "trigger birthday: date and anniversary is given; give exactly one"),
        ({"event": "basket", "anniversary": None}, "event=basket is no event; did you mean"),
        ({"anniversary": "bron"}, "customers have no column 'bron'; did you mean 'born'?"),
        ({"anniversary": "region"}, "column region holds values that are no dates"),
        ({"days": []}, r"days=\[\] must name each step once"),
        ({"event": "cart", "anniversary": None, "days": [-1]}, "lie before an event that nobody knows yet"),
        ({"offer": "tee"}, "offer 'tee' is not among the 4 scored; did you mean 'tea'?"),
        ({"offers": ["tea", "jam"]}, "2 offers for 1 days"),
        ({"fixed": False, "offer": ""}, "no message of it pays; give one of them, or fixed: true"),
        ({"fixed": False, "required": True}, "is required and not fixed; give fixed: true"),
        ({"start": "2024-03-09", "end": "2024-03-01"}, "end=2024-03-01 is before start=2024-03-09"),
        ({"start": "spring"}, "start=spring is no date; write it as YYYY-MM-DD"),
        ({"flexible": -1}, "flexible=-1 is below 0"),
        ({"weight": 0.0}, "weight=0.0 must be above 0"),
        ({"bought": "tea"}, "bought=tea needs event: purchase"),
        ({"ofer": "tea"}, "a trigger has no setting ofer; did you mean offer?"),
        ({"days": "three"}, "days=three is of the wrong kind; give a list of whole numbers"),
        ({"name": ""}, "has no name; add name"),
        ({"event": "cart", "anniversary": None}, "cart needs the event log; give log=<folder>"),
    ],
)
def test_a_bad_rule_is_one_sentence(change: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigurationError, DataError), match=words):
        plan(born({1: 0}), BIRTHDAY | change)


def test_rules_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "triggers.yaml"
    file.write_text(
        "- {name: a, anniversary: born, offer: tea, start: 2024-03-01}\n- {name: b, event: cart, days: 1}\n"
    )
    rules = read_triggers(str(file))
    assert [rule.name for rule in rules] == ["a", "b"] and rules[0].start == "2024-03-01" and list(rules[1].days) == [1]
    for text, words in (
        ("a: 1", "holds no list of rules"),
        ("- [", "is no YAML"),
        ("- {name: a, event: cart}\n" * 2, "trigger a is listed twice"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=words):
            read_triggers(str(file))
    with pytest.raises(ConfigurationError, match="there is no file"):
        read_triggers(str(tmp_path / "none.yaml"))


def test_limits_of_a_rule_without_limits_hold_every_day() -> None:
    rule = trigger_of({"name": "a", "event": "cart"})
    assert rule.within(np.array([0, 20_000])).all() and NEVER < -(10**9)
