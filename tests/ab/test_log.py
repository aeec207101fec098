"""Laws of experiments whose outcomes come from an event log, and of their design."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.ab.analyse import Rules, analyse
from propensity.ab.contacts import experiment_table
from propensity.ab.design import Plan, design, detectable, explained, sentences
from propensity.ab.split import GLOBAL, assign
from propensity.ab.table import Columns, RefusedError, experiment_of
from propensity.ab.window import covariates, known_customers, window
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DataError
from propensity.kernel.event import MESSAGE, PURCHASE
from propensity.scores import Scores
from random_log import random_log

LOG = random_log(5, customers=600)
CUTOFF = LOG.last_day - 30
COLUMNS = Columns(arm="", control="", outcomes=["visit", "revenue"])


def arms(log: EventLog, **more: Any) -> pl.DataFrame:
    customers = pl.DataFrame({"customer_id": log.customers["customer"]})
    return assign(customers, "spring", {"treatment": 0.5, "holdout": 0.5}, **more)


@pytest.mark.parametrize("seed", range(5))
def test_outcomes_of_a_window_match_their_definition(seed: int) -> None:
    log = random_log(seed, customers=40)
    start, end = log.last_day - 40, log.last_day - 10
    values = window(log, start, end)
    for n in range(len(log)):
        own = slice(log.offsets[n], log.offsets[n + 1])
        chosen = (log.day[own] >= start) & (log.day[own] < end) & (log.kind[own] == PURCHASE)
        assert values["revenue"][n] == pytest.approx(float(log.revenue[own][chosen].sum()), rel=1e-5)
        assert values["orders"][n] == np.unique(log.order[own][chosen]).size
        assert values["visit"][n] == float(chosen.any())


def test_covariates_and_design_do_not_see_the_cutoff() -> None:
    past = LOG.before(CUTOFF)
    for name, values in covariates(LOG, CUTOFF).items():
        of_past = values[np.isin(LOG.customer_id, past.customer_id)]
        np.testing.assert_array_equal(of_past, covariates(past, CUTOFF)[name])
    assert design(LOG, CUTOFF, PLAN) == design(past, CUTOFF, PLAN)


def test_an_experiment_from_a_log_has_every_customer_of_its_arms_once() -> None:
    split = arms(LOG, global_holdout=0.1)
    table, columns = experiment_table(LOG, CUTOFF, 14, COLUMNS, split)
    assert table["customer_id"].n_unique() == table.height == split.filter(pl.col("arm") != GLOBAL).height
    experiment = experiment_of(table, columns)
    assert experiment.control == "holdout" and experiment.before.keys() == {"visit_before", "revenue_before"}
    result = analyse(experiment, Rules())
    assert result["refused"] is None and result["arms"]["treatment"]["visit"]["verdict"] == "underpowered"


def test_who_got_a_message_is_no_experiment() -> None:
    day = np.asarray(LOG.day)[np.asarray(LOG.kind) == MESSAGE]
    sent = int(np.bincount(day[(day > LOG.first_day + 20) & (day < CUTOFF)]).argmax())
    experiment = experiment_of(*experiment_table(LOG, sent, 14, COLUMNS))
    refused = analyse(experiment, Rules())["refused"]
    assert "nobody drew at random" in refused and "placebo before the send: visit_before" in refused


def test_windows_outside_the_log_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="choose another cutoff"):
        experiment_table(LOG, LOG.last_day, 14, COLUMNS, arms(LOG))
    with pytest.raises(ConfigurationError, match="choose another cutoff"):
        design(LOG, LOG.first_day, PLAN)


def test_an_outcome_that_the_log_lacks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'profit' is not in the log; it has visit, orders, revenue"):
        experiment_table(LOG, CUTOFF, 14, Columns("", "", ["profit"]), arms(LOG))


def test_arms_of_other_customers_are_refused() -> None:
    strangers = arms(LOG).with_columns(customer_id=pl.lit("x") + pl.int_range(pl.len()).cast(pl.String))
    with pytest.raises(DataError, match="no customer of arms is in the log"):
        experiment_table(LOG, CUTOFF, 14, COLUMNS, strangers)


PLAN = Plan(arms={"treatment": 0.5, "holdout": 0.5}, global_holdout=0.0)


def test_four_times_the_customers_halve_the_effect_that_can_be_found() -> None:
    assert detectable(3.0, 4000, PLAN) == pytest.approx(detectable(3.0, 1000, PLAN) / 2)


def test_the_mde_of_the_design_is_found_with_its_power() -> None:
    rng, n, found = np.random.default_rng(0), 2000, 0
    effect = detectable(1.0, n, PLAN)
    for _ in range(1000):
        one, two = rng.normal(effect, 1, n // 2), rng.normal(0, 1, n // 2)
        found += abs(one.mean() - two.mean()) / math.sqrt((one.var() + two.var()) / (n / 2)) > 1.96
    assert 0.76 < found / 1000 < 0.84


def test_a_covariate_removes_the_variance_that_it_explains() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    assert explained(x + rng.normal(size=x.size), {"x": x}) == pytest.approx(0.5, abs=0.02)
    assert explained(rng.normal(size=x.size), {"x": x}) < 0.001


def test_a_design_states_its_figures() -> None:
    result = design(LOG, CUTOFF, PLAN)
    customers = int(known_customers(LOG, CUTOFF - 14).sum())
    assert result["customers"] == customers and result["holdout"]["customers"] == round(customers / 2)
    assert result["adjusted"]["mde"] == pytest.approx(
        result["mde"] * math.sqrt(1 - max(result["variance_reduction"].values()))
    )
    needed = detectable(result["deviation"] ** 2, result["sample_size"]["raw"], PLAN)
    assert needed == pytest.approx(result["relevant"] * result["mean"], rel=1e-3)
    assert len(sentences(result)) == 5 and "variance removed" in sentences(result)[1]


def test_scores_of_another_cutoff_are_no_covariate() -> None:
    customer = LOG.customer_id
    money = np.ones((customer.size, 1), np.float32)
    scores = Scores(customer, ("a",), money, money, str(to_date(CUTOFF)), "test")
    with pytest.raises(ConfigurationError, match=f"score the cutoff {to_date(CUTOFF - 14)}"):
        design(LOG, CUTOFF, PLAN, scores)


@pytest.mark.parametrize("shares", [{"treatment": 1.0}, {"a": 0.5, "b": 0.5}])
def test_a_design_without_a_holdout_is_refused(shares: dict[str, float]) -> None:
    with pytest.raises(RefusedError, match="holdout"):
        design(LOG, CUTOFF, Plan(arms=shares))


def test_a_log_command_leaves_its_refusal(tmp_path: Path) -> None:
    from propensity.ab.command import experiment_from
    from propensity.command import configuration

    settings = {"log": "somewhere", "out": str(tmp_path / "out")}
    with pytest.raises(ConfigurationError, match="log needs a cutoff"):
        experiment_from(configuration("ab_analyse", settings), "analysis")
    with pytest.raises(ConfigurationError, match="no data are given"):
        experiment_from(configuration("ab_analyse", {"out": str(tmp_path / "out")}), "analysis")
