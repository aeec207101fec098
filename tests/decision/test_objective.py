"""Discovery keeps its share at the least cost, incremental needs an experiment, predicted says what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from decision.known import OFFERS, context_with_history
from propensity.decision.arms import decided, held_out, read_arms
from propensity.decision.audience import Audience
from propensity.decision.campaign import CampaignPlan
from propensity.decision.context import DecisionContext
from propensity.decision.next_best import NextBest
from propensity.decision.objective import Objective, is_discovery, objective_of, require_supported, with_objective
from propensity.errors import ConfigurationError, DataError, InfeasibleError

CAMPAIGNS = [{"offer": offer, "days": [d], "most": 20, "cost": 0.0} for d, offer in enumerate(OFFERS)]


def context(**changes: Any) -> DecisionContext:
    return context_with_history(3, 150, 20).changed(**changes)


def share_of_discovery(known: DecisionContext, table: pl.DataFrame) -> float:
    mask = is_discovery(known.history, known.scores, list(OFFERS))
    row = {customer: n for n, customer in enumerate(known.scores.customer.tolist())}
    pairs = table.select("customer_id", "offer_id").rows()
    return float(np.mean([mask[row[customer], OFFERS.index(offer)] for customer, offer in pairs]))


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
def test_discovery_has_its_share_and_a_certified_margin(share: float) -> None:
    known = context(objective=Objective("discovery", share))
    result = CampaignPlan(campaigns=CAMPAIGNS)(known)
    assert share_of_discovery(known, result.table) >= share - 1e-9
    predicted = CampaignPlan(campaigns=CAMPAIGNS)(context())
    assert result.summary["value"] <= predicted.summary["value"] + 1e-6
    assert result.summary["value"] == pytest.approx(result.table["expected_value"].sum(), rel=1e-5)
    assert result.summary["bound"] >= result.summary["value"] - 1e-6


def test_a_share_that_the_plan_has_anyway_costs_nothing() -> None:
    predicted = CampaignPlan(campaigns=CAMPAIGNS)(context())
    result = CampaignPlan(campaigns=CAMPAIGNS)(context(objective=Objective("discovery", 0.0)))
    assert result.table.equals(predicted.table)


def test_an_audience_of_discovery_has_its_share_at_the_least_cost() -> None:
    known = context(objective=Objective("discovery", 0.6))
    table = Audience(offer=OFFERS[0], size=20)(known).table
    mask = is_discovery(known.history, known.scores, [OFFERS[0]])[:, 0]
    value = known.scores.revenue[:, 0].astype(float)
    assert table.height == 20 and share_of_discovery(known, table) >= 0.6
    best = np.sort(value[mask])[::-1][:12].sum()
    others = np.sort(np.concatenate([np.sort(value[mask])[::-1][12:], value[~mask]]))[::-1][:8].sum()
    assert table["expected_revenue"].sum() == pytest.approx(best + others, rel=1e-5)


def test_discovery_without_a_log_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="log=<folder>"):
        CampaignPlan(campaigns=CAMPAIGNS)(context(history=None, objective=Objective("discovery", 0.5)))


def test_a_predicted_plan_says_that_purchases_would_happen_anyway() -> None:
    result = with_objective(CampaignPlan(campaigns=CAMPAIGNS)(context()), Objective())
    share = float((result.table["score"].to_numpy() > 0.5).mean())
    assert result.summary["share_likely_anyway"] == pytest.approx(share)
    assert result.sentences[-1].startswith("predictive: includes purchases that would happen anyway")


def experiment(folder: Path, known: DecisionContext, arm: str = OFFERS[0], **cell: Any) -> str:
    """A folder as `ab uplift` writes it."""
    uplift = np.linspace(-1, 1, known.scores.customer.size)
    columns = {"customer": known.scores.customer, "mean": uplift}
    table = pl.DataFrame(columns).with_columns(arm=pl.lit(arm), outcome=pl.lit("revenue"))
    table.write_parquet(folder / "uplift.parquet")
    arms = {arm: {"revenue": {"claimed": True, "p_adjusted": 0.01} | cell}}
    (folder / "uplift.json").write_text(json.dumps({"refused": None, "arms": arms, "money": ["revenue"]}))
    return str(folder)


def test_an_incremental_plan_sends_to_whom_a_message_moves(tmp_path: Path) -> None:
    known = context()
    objective = objective_of("incremental", 0.3, experiment(tmp_path, known))
    table = CampaignPlan(campaigns=CAMPAIGNS[:1])(known.changed(objective=objective)).table
    moved = known.scores.customer[-20:]  # the highest uplift
    assert set(table["customer_id"]) == set(moved.tolist())
    assert table["expected_value"].max() == pytest.approx(0.3)


def test_a_known_multiple_is_planned_by_where_what_it_multiplies_is_claimed(tmp_path: Path) -> None:
    known = context()
    folder = Path(experiment(tmp_path, known, claimed=False, multiple_of="bought"))
    path = folder / "uplift.json"
    for claimed in (True, False):
        result = json.loads(path.read_text())
        arm = next(iter(result["arms"]))
        result["arms"][arm]["bought"] = {"claimed": claimed, "p_adjusted": 0.01 if claimed else 0.2}
        path.write_text(json.dumps(result))
        plan, at = (
            CampaignPlan(campaigns=CAMPAIGNS[:1]),
            known.changed(objective=objective_of("incremental", 0.3, str(folder))),
        )
        if claimed:
            assert plan(at).table.height
        else:
            with pytest.raises(InfeasibleError, match="ranks no better than a random order"):
                plan(at)


@pytest.mark.parametrize(
    ("changes", "campaigns", "words"),
    [
        ({"claimed": False, "p_adjusted": 0.4}, CAMPAIGNS[:1], "ranks no better than a random order"),
        ({}, CAMPAIGNS, "no experiment of campaign"),
    ],
)
def test_an_incremental_plan_without_its_experiment_is_refused(
    tmp_path: Path, changes: dict[str, Any], campaigns: list[dict[str, Any]], words: str
) -> None:
    known = context()
    objective = objective_of("incremental", 0.3, experiment(tmp_path, known, **changes))
    with pytest.raises(InfeasibleError, match=words) as caught:
        CampaignPlan(campaigns=campaigns)(known.changed(objective=objective))
    assert caught.value.exit_code == 4


def test_incremental_without_an_uplift_file_is_refused_with_exit_code_4() -> None:
    with pytest.raises(InfeasibleError, match="no experiment is on file") as caught:
        objective_of("incremental", 0.3, None)
    assert caught.value.exit_code == 4


def test_an_incremental_journey_earns_what_its_messages_cause(tmp_path: Path) -> None:
    known = context()
    objective = objective_of("incremental", 0.3, experiment(tmp_path, known))
    settings: dict[str, Any] = {"campaigns": CAMPAIGNS[:1], "daily_decay": 1.0, "cost": 0.0}
    result = decided(NextBest(**settings), known, objective, None)
    uplift = 0.3 * np.linspace(-1, 1, known.scores.customer.size)
    assert result.summary["value"] == pytest.approx(uplift[-20:].sum(), rel=1e-4), "the 20 of the highest uplift"
    assert any(each.startswith("incremental: customers are chosen by what") for each in result.sentences)


@pytest.mark.parametrize("target", ["Segment", "Channel", "Overlap", "Opportunity", "Allocate", "NextBest"])
def test_another_decision_refuses_discovery_in_one_sentence(target: str) -> None:
    words = f"objective=discovery is for decision=audience and decision=campaign, not {target}$"
    with pytest.raises(ConfigurationError, match=words):
        require_supported("discovery", {"_target_": f"propensity.decision.{target}"})
    if target != "NextBest":
        with pytest.raises(ConfigurationError, match=f"objective=incremental is for .*next_best, not {target}$"):
            require_supported("incremental", {"_target_": f"propensity.decision.{target}"})


def arms_of(known: DecisionContext, path: Path, **columns: Any) -> Path:
    customer = known.scores.customer
    arm = ["holdout" if n % 3 == 0 else "treatment" for n in range(customer.size)]
    table = pl.DataFrame({"customer_id": customer, "experiment": "spring", "arm": arm, "probability": 0.5})
    table.with_columns(**columns).write_parquet(path)
    return path


def test_a_holdout_gets_no_message_and_messages_carry_their_arm(tmp_path: Path) -> None:
    known = context()
    arms = read_arms(str(arms_of(known, tmp_path / "arms.parquet")))
    assert arms is not None
    held = held_out(arms, known.scores.customer)
    out = set(known.scores.customer[held].tolist())
    for decision in (CampaignPlan(campaigns=CAMPAIGNS), Audience(offer=OFFERS[0], size=15)):
        result = decided(decision, known, Objective(), arms)
        assert not out & set(result.table["customer_id"]) and set(result.table["arm"]) == {"treatment"}
        assert (result.table["probability"] == 0.5).all() and result.summary["held_out"] == held.sum()


def test_everybody_in_a_treatment_arm_is_refused(tmp_path: Path) -> None:
    known = context()
    arms = read_arms(str(arms_of(known, tmp_path / "arms.parquet", arm=pl.lit("treatment"))))
    assert arms is not None
    with pytest.raises(InfeasibleError, match="keep a holdout"):
        held_out(arms, known.scores.customer)


@pytest.mark.parametrize("probability", [None, 0.0, 1.5])
def test_an_impossible_probability_of_an_arm_is_refused(tmp_path: Path, probability: float | None) -> None:
    path = arms_of(context(), tmp_path / "arms.parquet", probability=pl.lit(probability, pl.Float64))
    with pytest.raises(DataError, match="missing, 0 or above 1"):
        read_arms(str(path))
