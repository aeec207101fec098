"""Laws of the analysis of experiments, of uplift and of policies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.ab.analyse import Rules, analyse
from propensity.ab.learn import learn
from propensity.ab.learner import Arms, fit_gcv, folds, uplift
from propensity.ab.policy import PolicyRules, policy_values
from propensity.ab.qini import Ranking, qini
from propensity.ab.table import Columns, Experiment, RefusedError, experiment_of, read_data
from propensity.ab.uplift import UpliftRules, learn_uplift
from propensity.errors import ConfigurationError, DataError

HILLSTROM = Path(__file__).parents[3] / "shared/data/hillstrom_email/experiment.parquet"
needs_hillstrom = pytest.mark.skipif(not HILLSTROM.is_file(), reason="the Hillstrom experiment is not here")
COVARIATES = ["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"]


def table(seed: int, n: int = 3000, effect: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, treated = rng.normal(size=n), rng.permutation(n) % 2 == 0
    spend = np.where(rng.random(n) < 0.2, rng.lognormal(3, 1, n), 0.0) + effect * treated * (x > 0)
    arm = np.where(treated, "mail", "none")
    return pl.DataFrame({"id": np.arange(n), "arm": arm, "x": x, "past": x + rng.normal(size=n), "spend": spend})


def checked(frame: pl.DataFrame, **more: Any) -> Experiment:
    return experiment_of(
        frame,
        Columns(
            **({"arm": "arm", "control": "none", "outcomes": ["spend"], "covariates": ["x"], "customer": "id"} | more)
        ),
    )


def hillstrom(*outcomes: str) -> Experiment:
    return experiment_of(read_data(HILLSTROM), Columns("segment", "No E-Mail", outcomes, COVARIATES))


@needs_hillstrom
def test_effects_of_hillstrom_are_known_to_four_digits() -> None:
    arms = analyse(hillstrom("visit", "spend"), Rules())["arms"]
    effects = {arm: [round(cell["effect"], 4) for cell in arms[arm].values()] for arm in arms}
    assert effects == {"Mens E-Mail": [0.0766, 0.7698], "Womens E-Mail": [0.0452, 0.4244], "any": [0.0609, 0.5968]}


@needs_hillstrom
def test_hillstrom_is_answered_by_one_mail_for_everybody() -> None:
    result = policy_values(hillstrom("spend"), PolicyRules())[0]
    assert result["recommendation"] == "send Mens E-Mail to everybody"


@pytest.mark.slow
@needs_hillstrom
def test_only_rankings_of_visits_are_claimed_on_hillstrom() -> None:
    arms = learn_uplift(hillstrom("visit", "spend"), UpliftRules(orderings=2000, resamples=20))[0]["arms"]
    best = {(arm, name): cell["qini"] for arm in arms for name, cell in arms[arm].items()}
    claimed = {(arm, name) for arm in arms for name, cell in arms[arm].items() if cell["claimed"]}
    assert best["Womens E-Mail", "visit"] >= 0.0064 and best["any", "visit"] >= 0.0041
    assert claimed == {("Womens E-Mail", "visit"), ("any", "visit")}
    alone = learn_uplift(hillstrom("visit"), UpliftRules(orderings=200, resamples=50))[0]["arms"]
    assert [alone[arm]["visit"]["claimed"] for arm in ("Mens E-Mail", "Womens E-Mail", "any")] == [False, True, True]


def test_a_ranking_is_claimed_only_where_its_interval_is_above_0() -> None:
    rules = UpliftRules(learners=("t",), orderings=99, resamples=50)
    tables = [table(seed, 1000, effect=5.0) for seed in range(30)]
    cells = [learn_uplift(checked(each), rules)[0]["arms"]["mail"]["spend"] for each in tables]
    small = [cell for cell in cells if cell["p_adjusted"] <= 0.05]
    assert [cell["claimed"] for cell in small] == [cell["low"] > 0 for cell in small]
    assert {cell["claimed"] for cell in small} == {True, False}


def test_a_null_experiment_rarely_claims_anything() -> None:
    verdicts = [analyse(checked(table(seed)), Rules())["arms"]["mail"]["spend"]["verdict"] for seed in range(100)]
    assert verdicts.count("win") <= 7 and verdicts.count("underpowered") > 75


@pytest.mark.long
def test_daily_looks_at_aa_experiments_claim_at_most_five_percent() -> None:
    rules, false = Rules(planned=4000), 0
    for seed in range(500):
        frame = table(seed, 3990)
        looks = (analyse(checked(frame.head(size)), rules)["arms"] for size in range(285, 3991, 285))
        false += any(arms["mail"]["spend"]["p"] <= 0.05 for arms in looks if arms)
    assert false <= 25


def test_the_order_of_rows_changes_nothing() -> None:
    frame, rules = table(1, effect=20.0), UpliftRules(regressor="ridge", orderings=20, resamples=0)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=2)
    one, two = (learn_uplift(checked(each), rules)[0]["arms"]["mail"]["spend"] for each in (frame, shuffled))
    assert one["qini"] == pytest.approx(two["qini"])
    first, second = (analyse(checked(each), Rules())["arms"]["mail"]["spend"] for each in (frame, shuffled))
    assert first["effect"] == pytest.approx(second["effect"]) and first["p"] == pytest.approx(second["p"])


def test_another_currency_scales_money_only() -> None:
    frame = table(3, effect=20.0)
    cents = frame.with_columns(pl.col("spend") * 100)
    one, two = (analyse(checked(each), Rules())["arms"]["mail"]["spend"] for each in (frame, cents))
    for name in ("effect", "low", "high", "mde"):
        assert two[name] == pytest.approx(100 * one[name])
    assert two["p"] == pytest.approx(one["p"]) and two["verdict"] == one["verdict"]


def test_equal_scores_are_one_step_of_the_curve() -> None:
    rng = np.random.default_rng(0)
    y, treated, score = rng.random(500), rng.random(500) < 0.5, rng.integers(0, 5, 500).astype(float)
    order = rng.permutation(500)
    one = qini(Ranking(y, treated, np.ones(500)), score, 0, 0)
    two = qini(Ranking(y[order], treated[order], np.ones(500)), score[order], 0, 0)
    assert one.qini == pytest.approx(two.qini) and one.auuc == pytest.approx(two.auuc)


def test_arms_that_lost_customers_are_refused() -> None:
    frame = table(4).filter((pl.col("arm") == "mail") | (pl.col("id") % 3 > 0))
    result = analyse(checked(frame), Rules())
    assert "sample ratio mismatch" in result["refused"] and result["arms"] == {}


def test_arms_that_follow_a_covariate_are_refused_with_the_placebo() -> None:
    frame = table(5).with_columns(arm=pl.when(pl.col("x") > 0).then(pl.lit("mail")).otherwise(pl.lit("none")))
    result = policy_values(checked(frame, before=["past"]), PolicyRules(regressor="ridge"))[0]
    assert "placebo before the send: past" in result["refused"] and result["recommendation"] is None


def test_a_small_effective_sample_has_no_policy_value() -> None:
    refused = policy_values(checked(table(6, 300)), PolicyRules(regressor="ridge"))[0]["refused"]
    assert "effective sample" in refused and "below 200" in refused


def test_a_deterministic_log_is_refused() -> None:
    frame = table(7).with_columns(p=pl.lit(1.0))
    assert (
        "deterministic" in policy_values(checked(frame, probability="p"), PolicyRules(regressor="ridge"))[0]["refused"]
    )


@pytest.mark.parametrize(
    ("change", "more", "error", "words"),
    [
        ({"p": pl.lit(None)}, {"probability": "p"}, DataError, "p is missing in 3,000 rows"),
        ({"p": pl.lit(0.0)}, {"probability": "p"}, DataError, "p is 0 in a row"),
        ({"p": pl.lit(1.5)}, {"probability": "p"}, DataError, "p is 1.5 in a row"),
        ({"id": pl.col("id") // 2}, {}, DataError, "in two arms"),
        ({"probability": pl.lit(0.0)}, {}, DataError, "probability is 0 in a row"),
        ({"arm": pl.lit("mail")}, {}, RefusedError, "everyone was treated"),
        ({"arm": pl.lit("none")}, {}, RefusedError, "without a treatment"),
        ({"arm": pl.when(pl.col("id") == 0).then(pl.lit("one")).otherwise("arm")}, {}, RefusedError, "has 1 customer"),
        ({"s": pl.lit("2017-02-01"), "h": pl.lit("2017-01-31")},
            {"sent": "s", "happened": "h"}, DataError, "lies before"),
        ({"spend": pl.lit(None)}, {}, DataError, "spend is missing"),
        ({}, {"arm": "am"}, ConfigurationError, "did you mean 'arm'"),
    ],
)  # fmt: skip
def test_a_table_that_breaks_a_rule_is_answered_by_a_sentence(
    change: dict[str, Any], more: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        checked(table(8).with_columns(**change), **more)


def test_an_experiment_that_is_in_the_table_twice_is_refused() -> None:
    with pytest.raises(DataError, match="3,000 rows are in the table twice"):
        checked(pl.concat([table(8)] * 2))


def overlapping(other_arm: pl.Expr) -> pl.DataFrame:
    one = table(12).with_columns(experiment=pl.lit("spring"))
    return pl.concat([one, one.with_columns(experiment=pl.lit("summer"), arm=other_arm)])


def test_experiments_that_overlap_at_random_are_noted() -> None:
    independent = pl.when(pl.col("id") % 2 == 0).then(pl.lit("mail")).otherwise(pl.lit("none"))
    assert "also in another experiment" in checked(overlapping(independent), name="spring").notes[0]


def test_experiments_whose_arms_depend_on_each_other_are_refused() -> None:
    with pytest.raises(RefusedError, match="depend on each other"):
        checked(overlapping(pl.col("arm")), name="spring")


def test_columns_of_a_split_are_found_by_their_names() -> None:
    frame = table(13).rename({"id": "customer_id"}).with_columns(probability=pl.lit(0.5))
    experiment = checked(frame, customer=None)
    assert experiment.probability is not None and (experiment.customer == frame["customer_id"].to_numpy()).all()


def test_amounts_below_zero_are_counted_and_noted() -> None:
    experiment = checked(table(9).with_columns(pl.col("spend") - 1.0))
    assert "below zero" in experiment.notes[0]


def test_a_refusal_is_written_and_ends_with_exit_code_4(tmp_path: Path) -> None:
    from propensity.ab.command import experiment_from
    from propensity.command import configuration

    table(10).with_columns(arm=pl.lit("mail")).write_parquet(tmp_path / "e.parquet")
    settings = {"data": str(tmp_path / "e.parquet"), "arm": "arm", "control": "none", "outcomes": ["spend"]}
    cfg = configuration("ab_analyse", settings | {"out": str(tmp_path / "out")})
    with pytest.raises(RefusedError) as caught:
        experiment_from(cfg, "analysis")
    assert caught.value.exit_code == 4
    assert "everyone was treated" in json.loads((tmp_path / "out/analysis.json").read_text())["refused"]


def test_a_challenger_replaces_a_champion_only_where_it_ranks_better() -> None:
    frame, rules = table(14, 6000, effect=60.0), UpliftRules(regressor="ridge", orderings=100, resamples=60)
    columns = checked(frame)
    truth = frame.select(customer="id", mean="x").with_columns(arm=pl.lit("mail"), outcome=pl.lit("spend"))
    reverse = truth.with_columns(-pl.col("mean"))
    comparisons = [learn(columns, rules, champion)[1]["comparison"]["mail"]["spend"] for champion in (truth, reverse)]
    assert [cell["winner"] for cell in comparisons] == ["champion", "challenger"]
    assert learn(columns, rules, None)[1]["comparison"]["mail"]["spend"]["winner"] == "challenger"


def test_a_known_multiple_is_ranked_without_further_pairs_too() -> None:
    known = checked(table(16, 600, effect=9.0))
    amount = np.full(600, 2.0)
    both = replace(
        known,
        outcomes=known.outcomes | {"value": 2 * known.outcomes["spend"]},
        multiple={"value": ("spend", amount)},
    )
    found = learn_uplift(both, UpliftRules(learners=("t",), orderings=20, resamples=0))
    cells = found[0]["arms"]["mail"]
    assert cells["value"]["qini"] == pytest.approx(2 * cells["spend"]["qini"])
    assert cells["value"]["multiple_of"] == "spend" and found[1].height == 1200


def test_nothing_goes_on_from_a_null_experiment() -> None:
    rules = UpliftRules(regressor="ridge", orderings=100, resamples=20)
    assert learn(checked(table(15)), rules, None)[1]["comparison"]["mail"]["spend"]["winner"] is None


@pytest.mark.parametrize("count", [2, 3])
def test_few_folds_leave_both_halves_of_a_doubly_robust_score(count: int) -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(3000, 2)), rng.random(3000) < 0.5
    y = x[:, 0] + np.where(t, 1.0 + x[:, 1], 0.0) + rng.normal(size=3000)
    found = uplift(Arms(x, y, t, np.ones(3000)), folds(np.arange(3000), count, 1), ("dr",), fit_gcv)["dr"]
    assert np.corrcoef(found, x[:, 1])[0, 1] > 0.95 and abs(found.mean() - 1.0) < 0.15
