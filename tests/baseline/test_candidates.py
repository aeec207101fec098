"""Candidates are functions of the inputs, do not depend on the currency, and come back from their files to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from propensity.baseline.amount import amount_caps
from propensity.baseline.candidate import Candidate
from propensity.baseline.frequency import Frequency
from propensity.baseline.lightgbm import LightGBM
from propensity.baseline.logistic import Logistic
from propensity.baseline.tree_text import check_trees
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, IntegrityError
from propensity.task import TrainingSet, Validation
from propensity.training.validation import validation_set, windows

BUILT: dict[str, Callable[[], Candidate]] = {
    "frequency": Frequency,
    "logistic": lambda: Logistic(rows=20_000),
    "lightgbm": lambda: LightGBM(rows=20_000, search_rows=8_000, n_estimators=30),
}


def prepared(world: dict[str, Any], log: EventLog) -> tuple[TrainingSet, Validation]:
    """Training and one validation window of the small market."""
    chosen = windows(world["task"], log, 1)
    training_set = chosen.task.training_set(log)
    validation = validation_set(chosen, log, training_set.vocabulary, None, 1)
    assert validation is not None
    return training_set, validation


@pytest.fixture(scope="module")
def market(small_world: dict[str, Any]) -> tuple[TrainingSet, Validation]:
    return prepared(small_world, small_world["log"])


@pytest.fixture(scope="module")
def fitted(market: tuple[TrainingSet, Validation]) -> dict[str, Candidate]:
    training_set, validation = market
    candidates = {name: build() for name, build in BUILT.items()}
    for candidate in candidates.values():
        candidate.fit(training_set, 3, validation)
    return candidates


@pytest.mark.parametrize("name", BUILT)
def test_a_candidate_comes_back_from_its_files_to_the_bit(
    name: str, fitted: dict[str, Candidate], market: tuple[TrainingSet, Validation], tmp_path: Path
) -> None:
    fitted[name].save(tmp_path)
    again = type(fitted[name]).load(tmp_path)
    inputs = next(market[1].cutoffs_data[0].blocks())[1]
    for ours, theirs in zip(fitted[name].outputs(inputs), again.outputs(inputs), strict=True):
        np.testing.assert_array_equal(theirs, ours)
    assert again.chosen == json.loads(json.dumps(fitted[name].chosen)) and again.name == name


@pytest.mark.parametrize("name", BUILT)
def test_a_customer_has_the_same_score_alone(
    name: str, fitted: dict[str, Candidate], market: tuple[TrainingSet, Validation]
) -> None:
    cutoff_data = market[1].cutoffs_data[0]
    base = fitted[name].predict(cutoff_data)
    alone = fitted[name].predict(cutoff_data._replace(row=cutoff_data.row[5:6]))
    np.testing.assert_allclose(alone.probability[0], base.probability[5], rtol=1e-6)
    np.testing.assert_allclose(alone.revenue[0], base.revenue[5], rtol=1e-6)


@pytest.mark.parametrize("name", BUILT)
def test_refit_keeps_the_choice_and_reads_the_new_windows(
    name: str, market: tuple[TrainingSet, Validation], small_world: dict[str, Any]
) -> None:
    training_set, validation = market
    candidate = BUILT[name]()
    candidate.fit(training_set, 3, validation)
    chosen, before = dict(candidate.chosen), candidate.predict(validation.cutoffs_data[0])
    candidate.refit(small_world["examples"], 3)
    assert candidate.chosen == chosen
    assert not np.array_equal(candidate.predict(validation.cutoffs_data[0]).probability, before.probability)


@pytest.mark.parametrize("factor", [0.01, 4.0, 16_000.0])
@pytest.mark.parametrize("name", BUILT)
def test_the_currency_changes_no_probability_and_scales_money(
    name: str,
    factor: float,
    fitted: dict[str, Candidate],
    market: tuple[TrainingSet, Validation],
    small_world: dict[str, Any],
) -> None:
    log = small_world["log"]
    scaled_log = replace(log, revenue=log.revenue * np.float32(factor), discount=log.discount * np.float32(factor))
    training_set, validation = prepared(small_world, scaled_log)
    scaled = BUILT[name]()
    scaled.fit(training_set, 3, validation)
    ours = fitted[name].predict(market[1].cutoffs_data[0])
    theirs = scaled.predict(validation.cutoffs_data[0])
    if factor == 4.0:
        np.testing.assert_array_equal(theirs.probability, ours.probability)
        np.testing.assert_array_equal(theirs.revenue, ours.revenue * np.float32(factor))
    np.testing.assert_allclose(theirs.probability, ours.probability, rtol=0, atol=1e-4)
    np.testing.assert_allclose(theirs.revenue, ours.revenue * factor, rtol=1e-3)


def test_one_enormous_line_hardly_moves_the_amounts_of_others(
    fitted: dict[str, Candidate], market: tuple[TrainingSet, Validation], small_world: dict[str, Any]
) -> None:
    log = small_world["log"]
    start = market[1].cutoffs_data[0].market_stats.cutoff.day
    line = int(np.flatnonzero((log.kind == 0) & (log.day >= start))[0])  # inside the validation window
    revenue = log.revenue.copy()
    revenue[line] = 38_970.0
    training_set, validation = prepared(small_world, replace(log, revenue=revenue))
    model = BUILT["lightgbm"]()
    model.fit(training_set, 3, validation)
    inputs = next(market[1].cutoffs_data[0].blocks())[1]
    moved = model.outputs(inputs).amount / fitted["lightgbm"].outputs(inputs).amount
    assert 0.9 < np.median(moved) < 1.1 and np.quantile(moved, 0.99) < 1.5


def test_amounts_agree_in_total_with_those_of_the_validation_buyers(
    fitted: dict[str, Candidate], market: tuple[TrainingSet, Validation]
) -> None:
    cutoff_data, complete = market[1].cutoffs_data[0], market[1].complete[0]
    rows = np.searchsorted(complete.log.customer_id, cutoff_data.customer_id)
    outcomes = complete.outcomes(cutoff_data.market_stats.cutoff, rows)
    bought = np.asarray(outcomes.bought) > 0
    amount = np.concatenate([fitted["lightgbm"].outputs(inputs).amount for _, inputs in cutoff_data.blocks()])
    assert 0.85 < amount[bought].sum() / np.asarray(outcomes.revenue)[bought].sum() < 1.15


def test_the_cap_leaves_purchases_of_a_known_wholesaler() -> None:
    usual = np.append(np.full(500, 10.0), np.full(20, 5_000.0))
    revenue = usual * np.exp(np.random.default_rng(1).normal(0.0, 0.5, usual.size))
    cap = amount_caps(revenue, usual)
    assert np.mean(revenue > cap.of(usual)) < 0.01
    assert cap.of(np.array([10.0]))[0] < 200 < cap.of(np.array([5_000.0]))[0]


def test_a_half_life_that_is_no_column_is_refused(market: tuple[TrainingSet, Validation]) -> None:
    with pytest.raises(ConfigurationError, match=r"half_lives names 77, which data\.feature\.half_lives lacks"):
        Frequency(half_lives=(77,)).fit(market[0], 1)


@pytest.mark.parametrize("name", BUILT)
def test_a_damaged_file_is_one_sentence(name: str, fitted: dict[str, Candidate], tmp_path: Path) -> None:
    kind = type(fitted[name])
    for file in ("{}.json", "{}.npz", "purchase.txt", "amount.txt"):
        fitted[name].save(tmp_path)
        path = tmp_path / file.format(name)
        if not path.is_file():
            continue
        whole = path.read_bytes()
        damages = [whole[: len(whole) // 2], b"", b"\x80\x04K\x01.", b"[1]", whole.replace(b"1", b"-7")]
        for damage in damages:
            path.write_bytes(damage)
            with pytest.raises(IntegrityError, match=f"{path.name} is damaged or no candidate .*; train again"):
                kind.load(tmp_path)
        path.unlink()
        with pytest.raises(ConfigurationError, match="no candidate at .*; train again"):
            kind.load(tmp_path)


def test_pickled_arrays_are_refused(fitted: dict[str, Candidate], tmp_path: Path) -> None:
    fitted["logistic"].save(tmp_path)
    objects: Any = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "logistic.npz", mean=objects, deviation=objects, coefficient=objects)
    with pytest.raises(IntegrityError, match=r"logistic\.npz is damaged"):
        Logistic.load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("left_child", "5", "not below"),
        ("left_child", "0", "not below"),
        ("right_child", "-9", "not below"),
        ("split_feature", "3", "a column that does not exist"),
        ("decision_type", "1", "a column that does not exist"),
        ("leaf_value", "1", "1 values of leaf_value instead of 2"),
        ("num_cat", "1", "categories"),
    ],
)
def test_a_tree_that_is_no_tree_is_refused(field: str, value: str, word: str) -> None:
    tree = {
        "num_leaves": "2",
        "num_cat": "0",
        "split_feature": "1",
        "threshold": "0.5",
        "decision_type": "8",
        "left_child": "-1",
        "right_child": "-2",
        "leaf_value": "0.1 0.2",
    }
    text = "tree\nmax_feature_idx=2\n\nTree=0\n" + "\n".join(f"{k}={v}" for k, v in tree.items()) + "\n\nend of trees\n"
    check_trees(text, 3)
    with pytest.raises(ValueError, match=word):
        check_trees(text.replace(f"{field}={tree[field]}", f"{field}={value}"), 3)
