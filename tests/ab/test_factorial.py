"""Factorial tests: cells share the treatment's customers, effects are in their intervals, the best cell is found."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.ab.analyse import Rules, analyse
from propensity.ab.contacts import experiment_table
from propensity.ab.design import Plan, detectable
from propensity.ab.design import design as designed
from propensity.ab.factorial import Cells, cells_and_best, cells_of_columns, factorial_arms, levels_of
from propensity.ab.split import assign
from propensity.ab.table import Columns, experiment_of
from propensity.ab.window import window
from propensity.cli import main
from propensity.errors import ConfigurationError, DataError
from random_log import random_log

FACTORS: dict[str, list[Any]] = {"depth": [10, 20, 30], "framing": ["gain", "loss"], "channel": ["mail", "sms"]}
ARMS = factorial_arms(FACTORS, {"treatment": 0.9, "holdout": 0.1})
CELLS = [arm for arm in ARMS if levels_of(arm) is not None]


def truth(seed: int, interaction: float = 0.1) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    main = {(f, str(level)): rng.normal(0, 0.5) for f, levels in FACTORS.items() for level in levels}
    return {
        arm: 1.0 + sum(main[each] for each in (levels_of(arm) or {}).items()) + rng.normal(0, interaction)
        for arm in CELLS
    }


def saved(seed: int, customers: int, effects: dict[str, float], noise: float = 2.0) -> dict[str, Any]:
    table = assign(pl.DataFrame({"customer_id": np.arange(customers)}), f"save {seed}", ARMS, global_holdout=0.0)
    effect = np.array([effects.get(arm, 0.0) for arm in table["arm"]])
    y = 3 + effect + np.random.default_rng(seed).normal(0, noise, customers)
    return analyse(experiment_of(table.with_columns(spend=pl.Series(y)), Columns("arm", "holdout", ["spend"])), Rules())


def test_the_cells_share_the_customers_of_the_treatment_evenly() -> None:
    table = assign(pl.DataFrame({"customer_id": np.arange(13_000)}), "save", ARMS, global_holdout=0.0)
    sizes = dict(table["arm"].value_counts().iter_rows())
    assert len(CELLS) == 12 and all(abs(sizes[arm] - 975) <= 2 for arm in CELLS)
    assert {tuple((levels_of(arm) or {}).values()) for arm in CELLS} == {
        (str(a), b, c) for a, b, c in itertools.product(*FACTORS.values())
    }


def measured(seed: int, effects: dict[str, float], error: float) -> dict[str, Any]:
    """The cells of an outcome, measured with a standard error."""
    rng = np.random.default_rng(seed)
    effect = np.array([effects[arm] for arm in CELLS]) + rng.normal(0, error, len(CELLS))
    levels = [levels_of(arm) or {} for arm in CELLS]
    return cells_and_best(Cells(CELLS, levels, effect, np.full(len(CELLS), error**2), 0.0), 0.05)


def test_the_best_cell_loses_less_than_the_largest_mean_and_says_how_much() -> None:
    regret, raw, stated = [], [], []
    for seed in range(60):
        effects = truth(seed)
        part = measured(seed, effects, 0.3)
        best = max(effects.values())
        regret.append(best - effects[part["best"]["cell"]])
        raw.append(best - effects[max(part["cells"], key=lambda cell: cell["effect"])["cell"]])
        stated.append(part["best"]["expected_regret"])
    assert np.mean(regret) <= np.mean(raw) + 1e-9
    assert 0.35 < np.mean(regret) / np.mean(stated) < 1.5, "what is stated is rather too much"


def test_shrunken_effects_are_inside_their_intervals_and_nearer_to_the_truth() -> None:
    inside, error, raw = [], [], []
    for seed in range(60):
        effects = truth(seed, 0.0)
        for cell in measured(seed, effects, 0.3)["cells"]:
            inside.append(cell["low"] <= effects[cell["cell"]] <= cell["high"])
            error.append((cell["shrunken"] - effects[cell["cell"]]) ** 2)
            raw.append((cell["effect"] - effects[cell["cell"]]) ** 2)
    assert 0.94 < np.mean(inside) < 0.985 and np.mean(error) < 0.7 * np.mean(raw)


def test_cells_without_a_difference_shrink_towards_their_mean() -> None:
    part = measured(3, dict.fromkeys(CELLS, 0.5), 0.1)
    spread = [np.std([cell[name] for cell in part["cells"]]) for name in ("shrunken", "effect")]
    assert spread[0] < 0.9 * spread[1]
    assert part["best"]["shrunken"] < part["best"]["effect"] and part["best"]["expected_regret"] > 0.01


def paid(seed: int, amount: float = 1.2) -> tuple[dict[str, float], pl.DataFrame]:
    """Offers that change who pays, not what is paid, with the deviation of log amounts; and their true effects."""
    rng = np.random.default_rng(seed)
    share = {arm: 1 / (1 + np.exp(1.2 - 0.5 * value)) for arm, value in truth(seed, 0.3).items()} | {"holdout": 0.15}
    table = assign(pl.DataFrame({"customer_id": np.arange(9000)}), f"paid {seed}", ARMS, global_holdout=0.0)
    pays = rng.random(9000) < np.array([share[arm] for arm in table["arm"]])
    spend = pays * rng.lognormal(3, amount, 9000)
    mean = np.exp(3 + amount**2 / 2)
    return {arm: (share[arm] - 0.15) * mean for arm in CELLS}, table.with_columns(spend=pl.Series(spend))


def cells_of(table: pl.DataFrame) -> list[dict[str, Any]]:
    columns = Columns("arm", "holdout", ["spend"], customer="customer_id")
    cells: list[dict[str, Any]] = analyse(experiment_of(table, columns), Rules())["factorial"]["spend"]["cells"]
    return cells


def test_amounts_that_many_customers_do_not_have_are_measured_better_in_two_parts() -> None:
    error: dict[str, list[float]] = {"two parts": [], "one": []}
    inside: list[bool] = []
    for seed in range(8):
        effects, table = paid(seed)
        everybody = table.with_columns(pl.col("spend") + 1e-9)  # nobody is at 0, so that there is one part
        for name, each in (("two parts", table), ("one", everybody)):
            error[name].append(np.var([cell["shrunken"] - effects[cell["cell"]] for cell in cells_of(each)]))
        inside += [cell["low"] <= effects[cell["cell"]] <= cell["high"] for cell in cells_of(table)]
    assert np.mean(error["two parts"]) < 0.9 * np.mean(error["one"])
    assert np.mean(inside) > 0.9


def test_equal_amounts_are_shrunken_as_who_pays_is() -> None:
    table = paid(2, amount=0.0)[1].with_columns(spend=20.0 * (pl.col("spend") > 0))
    shares = {each["cell"]: each["shrunken"] for each in cells_of(table.with_columns(pl.col("spend") / 20))}
    assert {each["cell"]: each["shrunken"] / 20 for each in cells_of(table)} == pytest.approx(shares)
    price = [(10 - float((levels_of(arm) or {}).get("depth", 0)) / 10) for arm in table["arm"]]
    cells = cells_of(table.with_columns(spend=pl.col("spend") / 20 * pl.Series(price)))
    assert all(cell["low"] < cell["shrunken"] < cell["high"] for cell in cells)


def test_a_level_is_compared_with_the_others_of_its_factor() -> None:
    effects = {arm: 1.0 if "framing=gain" in arm else 0.0 for arm in CELLS}
    levels = saved(4, 12_000, effects)["factorial"]["spend"]["levels"]
    assert levels["framing"]["gain"]["low"] < 1.0 < levels["framing"]["gain"]["high"]
    assert levels["framing"]["loss"]["effect"] == pytest.approx(-levels["framing"]["gain"]["effect"])
    assert levels["depth"]["10"]["p"] > 0.001


def test_other_arms_are_no_factorial_test() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"arm": rng.choice(["a", "b", "holdout"], 900), "y": rng.normal(size=900)})
    assert "factorial" not in analyse(experiment_of(frame, Columns("arm", "holdout", ["y"])), Rules())


@pytest.mark.parametrize(
    ("factors", "arms", "words"),
    [
        ({"depth": [10]}, {"treatment": 0.9, "holdout": 0.1}, "factor depth has the levels"),
        ({"depth": [10, 10]}, {"treatment": 0.9, "holdout": 0.1}, "two or more, each once"),
        ({"depth": ["a=b", "c"]}, {"treatment": 0.9, "holdout": 0.1}, "no | and no ="),
        ({"depth": [10, 20]}, {"mail": 0.9, "holdout": 0.1}, "divide the share of 'treatment'"),
        ({str(k): [1, 2] for k in range(8)}, {"treatment": 0.9, "holdout": 0.1}, "256 cells, more than 100"),
    ],
)
def test_factors_that_cannot_be_crossed_are_refused(factors: Any, arms: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        factorial_arms(factors, arms)


def test_columns_of_factors_name_the_cells() -> None:
    frame = pl.DataFrame({"arm": ["x", "x", "no"], "depth": [10, 20, None], "framing": ["gain", "loss", None]})
    found = cells_of_columns(frame, "arm", "no", ["depth", "framing"])["arm"].to_list()
    assert found == ["depth=10 | framing=gain", "depth=20 | framing=loss", "no"]
    with pytest.raises(DataError, match="a factor is missing in 2 rows"):
        cells_of_columns(frame.with_columns(depth=pl.lit(None)), "arm", "no", ["depth"])
    with pytest.raises(ConfigurationError, match="factors names 'size'"):
        cells_of_columns(frame, "arm", "no", ["size"])


def test_a_design_states_the_mde_of_cells_and_of_levels() -> None:
    log = random_log(5, customers=2500)
    plan = Plan(arms=ARMS, global_holdout=0.0)
    result = designed(log, log.last_day - 30, plan)
    assert set(result["factors"]) == set(FACTORS)
    assert result["factors"]["framing"] < result["factors"]["depth"] < result["adjusted"]["mde"]
    assert detectable(1.0, 2500, plan) > 0


def test_retention_is_a_purchase_after_the_horizon_and_within_90_days() -> None:
    log = random_log(5, customers=200)
    cutoff = log.last_day - 100
    arms = assign(pl.DataFrame({"customer_id": log.customers["customer"]}), "s", {"treatment": 0.5, "holdout": 0.5})
    table, _ = experiment_table(log, cutoff, 28, Columns("", "", ["visit", "retained_90"]), arms)
    expected = pl.DataFrame(
        {"customer_id": log.customers["customer"], "v": window(log, cutoff + 28, cutoff + 90)["visit"]}
    )
    joined = table.join(expected.cast({"customer_id": pl.String}), on="customer_id")
    assert joined["retained_90"].to_list() == joined["v"].to_list() and 0 < joined["v"].mean() < 1  # type: ignore[operator]


def test_the_commands_split_and_analyse_a_factorial_test(tmp_path: Path) -> None:
    pl.DataFrame({"customer_id": np.arange(2000)}).write_parquet(tmp_path / "c.parquet")
    words = [f"customers={tmp_path / 'c.parquet'}", "name=save", "global_holdout=0.0", f"out={tmp_path / 'a.parquet'}"]
    main(["ab", "split", *words, "factors={depth: [10, 20], framing: [gain, loss]}"])
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert (
        set(table["framing"].drop_nulls()) == {"gain", "loss"} and table.filter(pl.col("depth").is_null()).height == 200
    )
    y = np.random.default_rng(0).normal(size=2000) + (table["framing"] == "gain").fill_null(False).to_numpy()
    table.with_columns(
        y=pl.Series(y), arm=pl.when(pl.col("depth").is_null()).then(pl.lit("no")).otherwise(pl.lit("t"))
    ).write_parquet(tmp_path / "e.parquet")
    out = [f"data={tmp_path / 'e.parquet'}", "control=no", "outcomes=[y]", f"out={tmp_path / 'out'}"]
    main(["ab", "analyse", *out, "factors=[depth,framing]"])
    result = json.loads((tmp_path / "out/analysis.json").read_text())
    assert result["factorial"]["y"]["best"]["framing"] == "gain"
