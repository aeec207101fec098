"""Send lists hold every message of a decision once, flag the holdout, and name nobody who may not be contacted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from decision.known import context_with_history
from propensity.decision import send_list as module
from propensity.decision.arms import decided, in_experiment
from propensity.decision.audience import Audience
from propensity.decision.campaign import CampaignPlan
from propensity.decision.context import DecisionContext
from propensity.decision.next_best import NextBest
from propensity.decision.objective import Objective
from propensity.decision.segment import Segment
from propensity.decision.send_list import SendList, check_list, save_list, send_list
from propensity.decision.stage import STAGES, Stage, in_stage, orders_before
from propensity.errors import ConfigurationError

CAMPAIGNS = [
    {"name": "spring", "offer": "category 0", "days": [0], "channel": "mail", "most": 30},
    {"name": "=late", "offer": "category 1", "days": [1, 2], "most": 30},
]


@pytest.fixture(scope="module")
def context() -> DecisionContext:
    plain = context_with_history(3, 400, 40)
    size = plain.scores.customer.size
    consent = np.random.default_rng(2).uniform(size=size) < 0.8
    customers = pl.DataFrame(
        {"customer_id": plain.scores.customer, "consent_mail": consent, "first_name": [f"={k}" for k in range(size)]}
    )
    return plain.changed(customers=customers)


@pytest.fixture(scope="module")
def arms(context: DecisionContext) -> pl.DataFrame:
    who = pl.Series(context.scores.customer).cast(pl.String)
    held = np.random.default_rng(1).uniform(size=who.len()) < 0.25
    return pl.DataFrame(
        {
            "customer_id": who,
            "experiment": "spring",
            "arm": np.where(held, "holdout", "treatment"),
            "probability": np.where(held, 0.25, 0.75),
        }
    )


def listed(decision: Any, context: DecisionContext, arms: pl.DataFrame | None = None, **changes: Any) -> SendList:
    result = decided(decision, context, Objective(), arms)
    return send_list(decision, in_experiment(context, Objective(), arms), result, arms, **changes)


@pytest.mark.parametrize(
    "decision",
    [Audience(size=20, channel="mail", recent=5), CampaignPlan(CAMPAIGNS, prices=False), NextBest(CAMPAIGNS)],
)
def test_every_message_of_a_decision_is_in_the_list_once(decision: Any, context: DecisionContext) -> None:
    result = decided(decision, context, Objective(), None)
    planned = result.extra_tables.get("journey", result.table)
    table = listed(decision, context, attributes=["first_name"]).table
    assert table["customer_id"].to_list() == planned["customer_id"].cast(pl.String).to_list()
    assert table["offer_id"].to_list() == planned["offer_id"].to_list()
    assert not table["holdout"].any() and (table["probability"] == 1).all()
    assert context.customers is not None
    own = dict(zip(context.scores.customer.astype(str), context.customers["first_name"], strict=True))
    assert table["first_name"].to_list() == [own[each] for each in table["customer_id"]]


@pytest.mark.parametrize("decision", [Audience(size=20, channel="mail"), CampaignPlan(CAMPAIGNS, prices=False)])
def test_the_holdout_is_those_whom_the_same_rule_would_have_chosen(
    decision: Any, context: DecisionContext, arms: pl.DataFrame
) -> None:
    table = listed(decision, context, arms).table
    arm = dict(arms.select("customer_id", "arm").iter_rows())
    assert [arm[each] == "holdout" for each in table["customer_id"]] == table["holdout"].to_list()
    assert table["arm"].to_list() == [arm[each] for each in table["customer_id"]]
    assert table["probability"].to_list() == [0.25 if each else 0.75 for each in table["holdout"]]
    assert 0 < table["holdout"].sum() < table.height / 2
    assert context.customers is not None
    scores, consent = context.scores, context.customers["consent_mail"].to_numpy()
    for (offer,), own in table.group_by("offer_id"):
        value = scores.revenue[:, context.offer(str(offer))]
        held = np.isin(scores.customer.astype(str), arms.filter(arm="holdout")["customer_id"].to_numpy())
        sent = np.isin(scores.customer.astype(str), own.filter(~pl.col("holdout"))["customer_id"].to_numpy())
        expected = scores.customer[held & consent & (value >= value[sent].min())]
        assert sorted(own.filter("holdout")["customer_id"]) == sorted(expected.astype(str))


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("kind", [CampaignPlan, NextBest])
def test_the_holdout_of_a_trigger_is_those_for_whom_it_is_due(
    kind: Any, fixed: bool, context: DecisionContext, arms: pl.DataFrame
) -> None:
    assert context.customers is not None
    first = date.fromisoformat(context.scores.cutoff)
    size = context.scores.customer.size
    born = [first.replace(year=1990) + timedelta(days=k % 9) for k in range(size)]
    known = context.changed(customers=context.customers.with_columns(born=pl.Series(born)))
    rule = {"name": "birthday", "anniversary": "born", "offer": "category 0", "channel": "mail", "fixed": fixed}
    more = {"prices": False, "trigger_days": 5} if kind is CampaignPlan else {"days": 5}
    table = listed(kind(CAMPAIGNS, triggers=[rule], **more), known, arms).table.filter(campaign="birthday")
    held = np.isin(context.scores.customer.astype(str), arms.filter(arm="holdout")["customer_id"].to_numpy())
    due = held & context.customers["consent_mail"].to_numpy() & (np.arange(size) % 9 < 5)
    rows = table.filter("holdout")
    expected = dict(zip(context.scores.customer[due].astype(str), np.arange(size)[due] % 9, strict=True))
    days = {customer: (day - first).days for customer, day in rows.select("customer_id", "day").iter_rows()}
    assert rows.height == len(days) and set(rows["arm"]) == {"holdout"} and set(rows["probability"]) == {0.25}
    assert days == expected if fixed else days and days.items() <= expected.items()
    assert table.filter(~pl.col("holdout")).height and rows["expected_value"].is_finite().all()


def test_who_may_not_be_contacted_is_named_with_a_reason_and_in_no_list(context: DecisionContext) -> None:
    sent = listed(Audience(share=1.0, channel="mail", recent=5), context)
    assert set(sent.left_out["reason"]) == {"no consent for mail", "bought it in the last 5 days"}
    everybody = [*sent.table["customer_id"], *sent.left_out["customer_id"]]
    assert sorted(everybody) == sorted(context.scores.customer.astype(str))
    counted = sum(row["customers"] for row in sent.summary["left_out"])
    assert counted == sent.left_out.height


def test_a_holdout_is_of_the_same_stage_and_others_are_named(
    context: DecisionContext, arms: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert context.history is not None
    usual = int(np.bincount(orders_before(context.history)).argmax())  # few customers of this log have one order
    monkeypatch.setitem(STAGES, "second_purchase", Stage(usual, "the usual number of orders"))
    sent = listed(Audience(stage="second_purchase", share=1.0), context, arms)
    rows = in_stage(context.history, context.scores.customer, "second_purchase")
    one_order = {str(each) for each in context.scores.customer[rows]}
    assert sent.table["holdout"].any() and set(sent.table["customer_id"]) <= one_order
    others = sent.left_out.filter(pl.col("reason").str.starts_with("not in the stage"))
    assert others.height and not set(others["customer_id"]) & one_order


def test_consent_that_is_ignored_is_written_in_every_row(context: DecisionContext) -> None:
    table = listed(Audience(share=1.0, ignore_consent=True), context).table
    assert table["consent_ignored"].all() and table.height == context.scores.customer.size


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_several_campaigns_are_a_folder_with_one_file_each(
    suffix: str, context: DecisionContext, tmp_path: Path
) -> None:
    sent = listed(CampaignPlan(CAMPAIGNS, prices=False), context, attributes=["first_name"])
    for _ in range(2):  # replaces what is there
        paths = save_list(sent, tmp_path / f"plan{suffix}")
    assert [path.name for path in paths] == [f"spring-mail{suffix}", f"late-any{suffix}"]
    read: Callable[..., pl.DataFrame] = pl.read_parquet if suffix == ".parquet" else pl.read_csv
    parts = [read(path) for path in paths]
    assert sum(part.height for part in parts) == sent.table.height
    summary = json.loads((tmp_path / "plan" / "summary.json").read_text())
    assert [row["messages"] for row in summary["campaigns"]] == [part.height for part in parts]
    assert (tmp_path / "plan" / f"left_out{suffix}").is_file()
    if suffix == ".csv":  # no cell is a formula
        assert all(str(value).startswith("'=") for value in [*parts[1]["campaign"], *parts[0]["first_name"]])


def test_a_list_that_cannot_be_written_leaves_the_one_before(
    context: DecisionContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = listed(Audience(size=20, channel="mail"), context)
    (path,) = save_list(sent, tmp_path / "list.csv")
    before = path.read_bytes()
    monkeypatch.setattr(module, "_write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConfigurationError, match="space"):
        save_list(sent, path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((Segment(), "list.csv", [], None), "Segment sends no messages"),
        ((Audience(), "folder", ["name"], None), "names a folder; give out=list.csv"),
        ((Audience(), "list.csv", [], 4), "at most 3"),
        ((Audience(), "list.csv", ["name", "name"], None), "name twice"),
    ],
)
def test_what_a_list_cannot_hold_is_refused(arguments: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        check_list(*arguments)


def test_an_unknown_attribute_is_refused_with_the_nearest(context: DecisionContext) -> None:
    with pytest.raises(ConfigurationError, match="names firstname, .* did you mean first_name"):
        listed(Audience(size=2), context, attributes=["firstname"])


@pytest.mark.parametrize(("count", "file"), [(1, "list.exploration.parquet"), (2, "list/exploration.parquet")])
def test_a_list_with_exploration_has_its_experiment_beside_it(
    count: int, file: str, context: DecisionContext, tmp_path: Path
) -> None:
    sent = listed(CampaignPlan(campaigns=CAMPAIGNS[:count], explore=0.3, prices=False), context)
    save_list(sent, tmp_path / "list.csv")
    experiment = pl.read_parquet(tmp_path / file).filter(pl.col("arm") == "message")
    key = ["customer_id", "campaign"]
    sent_too = experiment.select(key).cast(pl.String).join(sent.table.select(key).cast(pl.String), on=key, how="semi")
    assert sent_too.height == experiment.height > 0
