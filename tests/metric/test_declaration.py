"""The contract of every declared metric, and what a declaration refuses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from propensity.errors import ConfigurationError
from propensity.metric.builtin import METRICS
from propensity.metric.context import eval_context
from propensity.metric.declaration import Function, Metric, declared
from propensity.metric.evaluation import evaluate
from propensity.metric.interval import resample_weights
from propensity.metric.labels import Labels, Prediction
from propensity.metric.lift import revenue_capture
from propensity.metric.metric_table import MetricTable, metric_table
from propensity.metric.ranking import auc, average_precision, lift


def brier(probability: np.ndarray, bought: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average((probability - bought) ** 2, weights=weight))


def bias(expected: np.ndarray, revenue: np.ndarray, weight: np.ndarray) -> float:
    return float(abs(weight @ (expected - revenue)) / weight.sum())


OWN = (
    Metric("brier", "Brier score", "lower", "probability", brier),
    Metric("bias", "Revenue bias", "lower", "revenue", bias, slices=False),
)
EVERY = declared(METRICS, OWN)
FULL_SAMPLE = {  # metrics whose resamples share something with the full sample
    "ece": "its bins",
    "revenue_lift_winsorised": "the amounts at which revenue is capped",
    "revenue_capture_winsorised": "the amounts at which revenue is capped",
    "pooled_auc": "everything: it has no resamples",
}
by_name = pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)


def market(seed: int = 0, customers: int = 150, offers: int = 4) -> tuple[Labels, Prediction]:
    """Coarse numbers: equal probabilities and amounts are many, so that quantiles of the sample are stable."""
    random = np.random.default_rng(seed)
    chance = random.integers(1, 7, (customers, offers)) / 10
    bought = random.random(chance.shape) < chance
    revenue = np.where(bought, random.integers(1, 4, chance.shape), 0).astype(float)
    names = np.array([f"offer {m}" for m in range(offers)])
    inside = np.broadcast_to(np.arange(customers)[:, None] % 3 > 0, chance.shape)
    masks = {"all": np.ones_like(bought), "some": inside, "empty": np.zeros_like(bought)}
    labels = Labels("2024-03-04", np.arange(customers), names, bought, revenue, masks)
    return labels, Prediction(chance, np.round(2 * chance, 1))


def taken(labels: Labels, prediction: Prediction, rows: np.ndarray) -> tuple[Labels, Prediction]:
    """The customers `rows`, each time they are named, under new ids."""
    masks = {name: mask[rows] for name, mask in labels.slices.items()}
    chosen = labels._replace(
        customer=np.arange(rows.size), bought=labels.bought[rows], revenue=labels.revenue[rows], slices=masks
    )
    assert prediction.revenue is not None
    return chosen, Prediction(prediction.probability[rows], prediction.revenue[rows])


def table(labels: Labels, prediction: Prediction, *columns: np.ndarray, metrics: Any = EVERY) -> MetricTable:
    """The metric table for a column of ones, then the given weights."""
    weight = np.stack([np.ones(labels.customer.size), *columns], axis=1).astype(np.uint8)
    return metric_table(eval_context(labels, weight, 0.1), prediction, metrics)


def values(metric: Metric, result: MetricTable, column: int) -> list[float]:
    """A metric's value in each slice that it is computed in."""
    return [row[metric.name][column] for row in result.values() if metric.name in row]


@by_name
def test_no_prediction_is_better_than_a_perfect_one(metric: Metric) -> None:
    labels, good = market()
    perfect = metric.objective(table(labels, Prediction(labels.bought * 1.0, labels.revenue))["all"][metric.name])[0]
    rest = [good, *(market(seed)[1] for seed in range(1, 6)), Prediction(good.probability * 0, labels.revenue * 0)]
    for other in rest:
        value = metric.objective(table(labels, other)["all"][metric.name])[0]
        assert value >= perfect if metric.lower_is_better else value <= perfect


@by_name
def test_the_order_of_customers_changes_nothing(metric: Metric) -> None:
    labels, result = market(1)
    mixed = np.random.default_rng(0).permutation(labels.customer.size)
    before, after = values(metric, table(labels, result), 0), values(metric, table(*taken(labels, result, mixed)), 0)
    np.testing.assert_allclose(after, before, rtol=1e-12)


@by_name
def test_doubling_all_customers_changes_nothing(metric: Metric) -> None:
    labels, result = market(2)
    twice = np.repeat(np.arange(labels.customer.size), 2)
    before = values(metric, table(labels, result), 0)
    np.testing.assert_allclose(values(metric, table(*taken(labels, result, twice)), 0), before, rtol=1e-12)


@by_name
def test_a_weight_counts_as_so_many_customers(metric: Metric) -> None:
    labels, result = market(3)
    times = np.random.default_rng(1).integers(0, 4, labels.customer.size)
    if metric.name in FULL_SAMPLE:
        times[:] = 2
    weighted = table(labels, result, times)
    repeated = table(*taken(labels, result, np.repeat(np.arange(times.size), times)))
    if metric.name == "pooled_auc":
        assert weighted["all"][metric.name].shape == (1,)
    else:
        np.testing.assert_allclose(values(metric, weighted, 1), values(metric, repeated, 0), rtol=1e-12)


@by_name
def test_what_is_undefined_is_none_with_a_reason(metric: Metric) -> None:
    labels, result = market(4)
    nothing = labels._replace(bought=labels.bought & False, revenue=labels.revenue * 0)
    scores = {"ours": [Prediction(result.probability * 4 - 1)], "theirs": [Prediction(result.probability * 4 - 1)]}
    report = evaluate([nothing], scores, reference="ours", resamples=4, metrics=OWN)
    for cell in (report["models"]["ours"], report["differences"]["theirs"]):
        found = cell["mean"]["all"][metric.name]
        assert found["value"] is found["low"] is found["high"] is None and len(found["reason"]) > 20
    assert report["differences"]["theirs"]["mean"]["all"][metric.name]["verdict"] is None
    sold = evaluate([labels], {"ours": [result]}, reference="ours", resamples=0, metrics=OWN)["models"]["ours"]["mean"]
    assert (metric.name in sold["empty"]) == (metric.name in sold["some"]) == metric.slices
    if metric.slices:
        assert sold["empty"][metric.name]["reason"] == "no pair lies in slice 'empty' at 2024-03-04"


@by_name
def test_a_verdict_follows_the_direction(metric: Metric) -> None:
    labels, _ = market(5, customers=400)
    perfect = Prediction(labels.bought * 1.0, labels.revenue)
    wrong = Prediction(np.where(labels.bought, 0.1, 0.9), np.where(labels.bought, 0.1, 9.0))
    for reference, other, word in ((perfect, wrong, "win"), (wrong, perfect, "loss"), (wrong, wrong, "tie")):
        result = {"ours": [reference], "theirs": [other]}
        report = evaluate([labels], result, reference="ours", resamples=40, metrics=OWN)
        cell = report["differences"]["theirs"]["mean"]["all"][metric.name]
        expected = {"revenue_capture_oracle": "tie", "pooled_auc": None}.get(metric.name, word)
        assert cell["verdict"] == expected


@by_name
def test_a_declaration_is_told_to_readers_of_the_report(metric: Metric) -> None:
    labels, result = market(6)
    report = evaluate([labels], {"ours": [result]}, reference="ours", resamples=0, fraction=0.2, metrics=OWN)
    told = json.loads(json.dumps(report["metrics"][metric.name]))
    assert told["direction"] == metric.direction and "{" not in told["title"] + told["meaning"]
    assert ("20\u00a0%" in told["title"]) == ("{fraction}" in metric.title)


def test_names_and_titles_are_used_once() -> None:
    assert len({metric.name for metric in EVERY}) == len({metric.title for metric in EVERY}) == len(EVERY)


@pytest.mark.parametrize(
    ("name", "needs", "function"),
    [
        ("auc", "ranking", lambda score, bought, weight: auc(score, bought, weight)),
        ("average_precision", "ranking", lambda score, bought, weight: average_precision(score, bought, weight)),
        ("lift", "ranking", lambda score, bought, weight: lift(score, bought, 0.1, weight)),
        ("revenue_capture", "revenue ranking", lambda value, spent, weight: revenue_capture(value, spent, 0.1, weight)),
        ("expected_over_observed", "probability", lambda chance, bought, weight: weight @ chance / (weight @ bought)),
        ("expected_over_observed_revenue", "revenue", lambda value, spent, weight: weight @ value / (weight @ spent)),
    ],
)
def test_a_plain_function_gives_what_the_computation_of_all_columns_gives(
    name: str, needs: Any, function: Function
) -> None:
    labels, result = market(7)
    (weight,) = resample_weights([labels.customer], 5, seed=7)
    plain = Metric("plain", "Plain", "higher", needs, function)
    found = table(labels, result, *weight.T[1:], metrics=(*METRICS, plain))
    for slice_ in ("all", "some"):
        np.testing.assert_allclose(found[slice_]["plain"], found[slice_][name], rtol=1e-12)


def test_a_ratio_is_compared_by_its_distance_from_one_on_a_log_scale() -> None:
    ratio = next(metric for metric in METRICS if metric.name == "expected_over_observed")
    half, twice, near, none = (np.array([value]) for value in (0.5, 2.0, 1.1, 0.0))
    assert ratio.difference(half, twice) == pytest.approx(0.0)
    assert ratio.difference(near, half)[0] < 0 < ratio.difference(none, twice)[0] < np.inf


def test_what_a_model_lacks_is_the_reason() -> None:
    labels, result = market(8)
    report = evaluate([labels], {"ours": [Prediction(result.probability)]}, reference="ours", resamples=0)
    cells = report["models"]["ours"]["mean"]["all"]
    assert cells["expected_over_observed_revenue"]["reason"] == "the model predicts no revenue"
    assert cells["expected_over_observed"]["value"] == pytest.approx(result.probability.sum() / labels.bought.sum())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "my metric"}, "a metric is named 'my metric'; give letters, digits and underscores"),
        ({"direction": "up"}, "metric mine: direction is 'up'; give one of higher, lower, closest to 1"),
        ({"needs": "scores"}, "metric mine: needs is 'scores'; give one of ranking, pooled ranking, probability"),
        ({"function": None}, "metric mine: give either function or columns"),
    ],
)
def test_a_declaration_that_is_none_is_refused(fields: dict[str, Any], words: str) -> None:
    right: dict[str, Any] = {"name": "mine", "title": "Mine", "direction": "lower", "needs": "probability"}
    with pytest.raises(ConfigurationError, match=words):
        Metric(**(right | {"function": brier} | fields))


def test_own_metrics_have_names_of_their_own_and_are_declarations() -> None:
    again = Metric("auc", "Again", "lower", "probability", brier)
    with pytest.raises(ConfigurationError, match=r"metrics\[1\] is named auc, as another metric; rename it"):
        declared(METRICS, (OWN[0], again))
    number: Any = 0.3
    with pytest.raises(ConfigurationError, match=r"metrics\[0\] is a float; name a function that returns a Metric"):
        declared(METRICS, (number,))
