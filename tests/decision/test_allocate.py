"""Allocation of a budget: value x risk x effect where an experiment is on file, and no effect where none is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.decision.allocate import Allocate
from propensity.decision.context import DecisionContext
from propensity.decision.experiment_file import effect_of
from propensity.decision.result import save
from propensity.errors import ConfigurationError, DataError, InfeasibleError
from propensity.scores import Scores

CUTOFF = "2024-03-05"
SIZE = 200


def context(**columns: Any) -> DecisionContext:
    """Scores of two offers for `SIZE` customers, with a table of customers."""
    chance = np.random.default_rng(0).beta(1, 3, (SIZE, 2)).astype(np.float32)
    scores = Scores(np.arange(SIZE), ("a", "b"), chance, chance * 20, CUTOFF, "test")
    table = pl.DataFrame({"customer_id": [str(n) for n in range(SIZE)], **columns})
    return DecisionContext(scores, customers=table if columns else None)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """Value and churn on file, and an experiment that raised retention by 8 points."""
    random = np.random.default_rng(3)
    clv = pl.DataFrame(
        {"customer_id": np.arange(SIZE), "weeks": 52, "expected_revenue": random.gamma(1.0, 400.0, SIZE)}
    )
    other = clv.with_columns(weeks=pl.lit(13), expected_revenue=pl.col("expected_revenue") / 4)
    pl.concat([other, clv]).write_parquet(tmp_path / "clv.parquet")
    churn = pl.DataFrame({"customer_id": np.arange(SIZE), "p_churn": random.random(SIZE)})
    churn.write_parquet(tmp_path / "churn.parquet")
    analysis(tmp_path / "analysis.json", {"effect": 0.08, "low": 0.03, "high": 0.13, "verdict": "win"})
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("clv", "churn")}
    value, risk = 0.3 * clv["expected_revenue"].to_numpy(), churn["p_churn"].to_numpy()
    return {
        "paths": paths,
        "value": value,
        "risk": risk,
        "analysis": str(tmp_path / "analysis.json"),
        "folder": tmp_path,
    }


def analysis(path: Path, cell: dict[str, Any], **top: Any) -> None:
    path.write_text(json.dumps({"srm_p": 0.6, **top, "arms": {"call": {"retained": cell}}}))


def save_play(files: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "call", "action": "intervene", "cost": 1.0, "experiment": files["analysis"]} | more


def test_a_gain_is_value_times_risk_times_effect(files: dict[str, Any]) -> None:
    result = Allocate(**files["paths"], plays=[save_play(files)])(context())
    own = result.table.filter(pl.col("play") == "call")
    place = own["customer_id"].to_numpy()
    stake = files["value"][place] * files["risk"][place]
    np.testing.assert_allclose(own["expected_gain"], 0.08 * stake, rtol=1e-6)
    np.testing.assert_allclose(own["gain_low"], 0.03 * stake, rtol=1e-6)
    np.testing.assert_allclose(own["gain_high"], 0.13 * stake, rtol=1e-6)
    pays = (files["risk"] >= 0.5) & (0.08 * files["value"] * files["risk"] > 1.0)
    assert set(place) == set(np.flatnonzero(pays)), "everybody who pays for the play, and nobody else"
    assert result.summary["effect_claimed"] and "No effect is claimed" not in str(result.page)


def test_a_known_control_group_says_who_would_have_left(files: dict[str, Any]) -> None:
    cell = {"effect": 0.08, "low": 0.03, "high": 0.13, "verdict": "win", "control_mean": 0.6}
    analysis(Path(files["analysis"]), cell)
    own = Allocate(**files["paths"], plays=[save_play(files)])(context()).table.filter(pl.col("play") == "call")
    np.testing.assert_allclose(own["expected_gain"], own["value_at_stake"] * 0.08 / 0.4, rtol=1e-6)


def test_a_budget_goes_to_the_highest_gains_and_has_a_shadow_price(files: dict[str, Any]) -> None:
    result = Allocate(**files["paths"], plays=[save_play(files)], budget=10.0)(context())
    own = result.table.filter(pl.col("play") == "call")
    assert own.height == 10 and own["cost"].sum() == 10.0
    gain = np.where(files["risk"] >= 0.5, 0.08 * files["value"] * files["risk"], 0.0)
    assert set(own["customer_id"]) == set(np.argsort(-gain)[:10])
    price = result.extra_tables["prices"].filter(pl.col("limit") == "budget").row(0, named=True)
    next_best = np.sort(gain)[::-1][10]
    assert price["gain_of_new_plan"] == pytest.approx(next_best - 1.0, rel=1e-4)
    assert price["shadow_price"] == pytest.approx(next_best - 1.0, rel=0.2)
    assert result.table.filter(pl.col("reason") == "beyond the budget, a cap or the size of a play").height > 0


def test_without_an_experiment_no_effect_is_claimed_and_the_page_says_so(files: dict[str, Any], tmp_path: Path) -> None:
    result = Allocate(**files["paths"], budget=2.0)(context())
    assert result.table["expected_gain"].null_count() == SIZE and not result.summary["effect_claimed"]
    assert any("no effect is claimed, because no experiment is on file" in each for each in result.sentences)
    assert "No effect is claimed" in str(result.page) and "gain" not in result.extra_tables["actions"].columns
    assert result.table["cost"].sum() <= 2.0 + 1e-9
    own = result.table.filter(pl.col("play").is_not_null())
    assert (own["break_even_effect"] <= 0.05).all()
    save(result, tmp_path / "out")
    assert {"allocate.parquet", "allocate.html", "allocate.png", "actions.parquet", "prices.parquet"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_customers_of_high_risk_are_saved_and_those_of_low_risk_leant_in_on(files: dict[str, Any]) -> None:
    table = Allocate(**files["paths"], risk=0.7)(context()).table
    assert (table.filter(pl.col("action") == "intervene")["risk"] >= 0.7).all()
    assert (table.filter(pl.col("action") == "lean_in")["risk"] < 0.7).all()
    assert set(table["action"]) == {"lean_in", "intervene", "let_go"} and table.height == SIZE
    assert table.filter(pl.col("action") == "let_go")["reason"].null_count() == 0


@pytest.mark.parametrize(
    ("cell", "top", "words"),
    [
        ({"effect": 0.02, "low": -0.01, "high": 0.05, "verdict": "tie"}, {}, "shows no gain in retained"),
        ({"effect": 0.02, "low": -0.01, "high": 0.05}, {}, "shows no gain in retained"),
        ({"effect": -0.02, "low": -0.03, "high": -0.01, "verdict": "loss"}, {}, "shows no gain"),
        (
            {"effect": 0.08, "low": None, "high": None, "verdict": "win"},
            {},
            "the interval of the effect on retained is",
        ),
        ({"effect": 0.08, "low": 0.03, "high": 0.13}, {"refused": "everyone was treated"}, "everyone was treated"),
        ({"effect": 0.08, "low": 0.03, "high": 0.13}, {"srm_p": 1e-5}, "not as large as planned"),
    ],
)
def test_an_experiment_without_a_win_claims_nothing(
    cell: dict[str, Any], top: dict[str, Any], words: str, files: dict[str, Any]
) -> None:
    analysis(Path(files["analysis"]), cell, **top)
    result = Allocate(**files["paths"], plays=[save_play(files)])(context())
    assert not result.summary["effect_claimed"] and any(words in sentence for sentence in result.sentences)


def test_plays_without_an_effect_get_no_money_beside_one_with_an_effect(files: dict[str, Any]) -> None:
    plays = [save_play(files), {"name": "gift", "action": "intervene"}, {"name": "news", "action": "lean_in"}]
    result = Allocate(**files["paths"], plays=plays)(context())
    assert set(result.table["play"].drop_nulls()) == {"call"}
    assert sum("it gets no money beside plays with an effect" in each for each in result.sentences) == 2


def test_a_customer_without_value_or_risk_on_file_is_let_go(files: dict[str, Any]) -> None:
    table = pl.read_parquet(files["paths"]["churn"]).filter(pl.col("customer_id") >= 20)
    table.write_parquet(files["paths"]["churn"])
    result = Allocate(**files["paths"])(context())
    missing = result.table.filter(pl.col("customer_id") < 20)
    assert set(missing["reason"]) == {"no value or risk on file"}
    assert any("20 customers have no value or no risk on file" in each for each in result.sentences)


def test_nobody_without_consent_gets_a_play(files: dict[str, Any]) -> None:
    consent = [n % 3 == 0 for n in range(SIZE)]
    plays = [{"name": "call", "action": "intervene", "channel": "phone", "cost": 0.0}]
    result = Allocate(**files["paths"], plays=plays)(context(consent_phone=consent))
    assert set(result.table.drop_nulls("play")["customer_id"]) <= {n for n in range(SIZE) if consent[n]}
    with pytest.raises(InfeasibleError, match="none of 200 customers may be contacted by a play"):
        Allocate(**files["paths"], plays=plays)(context(consent_phone=[False] * SIZE))


def test_a_least_that_cannot_be_met_is_infeasible(files: dict[str, Any]) -> None:
    with pytest.raises(InfeasibleError, match="campaign call requires at least 900 customers"):
        Allocate(**files["paths"], plays=[save_play(files, least=900)])(context())
    with pytest.raises(InfeasibleError, match="the least audiences of call cost 20.00 and the budget is 5.00"):
        Allocate(**files["paths"], plays=[save_play(files, least=20)], budget=5.0)(context())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"risk": 1.0}, r"decision.risk=1.0 must lie between 0 and 1"),
        ({"break_even": 0.0}, "decision.break_even=0.0 must be above 0"),
        ({"budget": -1.0}, "decision.budget=-1.0 is below 0"),
        ({"clv": "nowhere"}, "no clv at nowhere; give the file or folder that `propensity clv` wrote"),
        ({"weeks": 99}, "has no value of 99 weeks; it has 13, 52"),
        ({"plays": [{"name": "x", "action": "sleep"}]}, "play x: action=sleep is none; give lean_in or intervene"),
        ({"plays": [{"name": "x", "actoin": "intervene"}]}, "a play has no setting actoin; did you mean action"),
        ({"plays": [{"action": "intervene"}]}, "has no name; add name"),
        ({"plays": [{"name": "x", "action": "intervene", "cost": "1"}]}, "play x: cost=1 is of the wrong kind"),
        ({"plays": [{"name": "x", "action": "intervene"}] * 2}, "campaign x is listed twice"),
        ({"plays": [{"name": "x", "action": "intervene", "experiment": "nowhere"}]}, "no experiment at nowhere"),
    ],
)
def test_a_bad_request_is_one_sentence(settings: dict[str, Any], words: str, files: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Allocate(**files["paths"] | settings)(context())


def test_an_effect_is_found_in_every_shape_of_an_analysis(tmp_path: Path) -> None:
    cell = {"effect": 0.1, "low": 0.05, "high": 0.15, "verdict": "win"}
    shapes: list[Any] = [
        {"call": {"kept": cell}},
        {"effects": {"call": {"kept": cell}}},
        {"arms": {"call": {"outcomes": {"kept": cell}}}},
        {"effects": [{"arm": "call", "outcome": "kept", **cell}]},
    ]
    for shape in shapes:
        (tmp_path / "analysis.json").write_text(json.dumps(shape))
        assert effect_of(str(tmp_path), "call", None).value == 0.1
    with pytest.raises(ConfigurationError, match="has no arm 'mail'; it has call"):
        effect_of(str(tmp_path), "mail", None)
    with pytest.raises(ConfigurationError, match="has no outcome 'spend' of call; it has kept"):
        effect_of(str(tmp_path), "call", "spend")
    (tmp_path / "analysis.json").write_text("[]")
    with pytest.raises(DataError, match="is no analysis of an experiment"):
        effect_of(str(tmp_path), "call", None)
