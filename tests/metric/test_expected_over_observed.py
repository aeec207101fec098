"""Expected over observed: sums over the pairs of each group, the same for any order of customers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from metric.test_evaluation import numbers, random_market, shuffled
from propensity.metric.context import EvalContext, eval_context
from propensity.metric.expected_over_observed import expected_over_observed, share_between
from propensity.metric.interval import resample_weights
from propensity.metric.labels import Labels, Prediction

QUANTITIES = ("purchases", "revenue")


def contexts_of(all_labels: list[Labels], resamples: int = 40) -> list[EvalContext]:
    weights = resample_weights([labels.customer for labels in all_labels], resamples, 1)
    return [eval_context(labels, weight, 0.1) for labels, weight in zip(all_labels, weights, strict=True)]


def measured(markets, resamples: int = 40):
    all_labels, predictions = zip(*markets, strict=True)
    return expected_over_observed(contexts_of(list(all_labels), resamples), list(predictions), by_offer=True)


@pytest.fixture(scope="module")
def markets():
    return [random_market(1, "2024-03-04"), random_market(2, "2024-04-01")]


def test_every_ratio_is_the_quotient_of_its_sums_and_lies_in_its_interval(markets):
    for quantity in measured(markets).values():
        groups = [quantity, quantity["top"], *quantity["deciles"]]
        groups += [cell for kind in ("cutoffs", "slices", "offers") for cell in quantity[kind].values()]
        for cell in (cell for cell in groups if cell["value"] is not None):
            assert cell["value"] == pytest.approx(cell["expected"] / cell["observed"])
            assert cell["low"] is None or cell["low"] <= cell["value"] <= cell["high"]


def test_cutoffs_offers_and_deciles_each_add_up_to_all_pairs(markets):
    result = measured(markets)
    expected = {
        "purchases": sum(prediction.probability.sum(dtype=float) for _, prediction in markets),
        "revenue": sum(prediction.revenue.sum(dtype=float) for _, prediction in markets),
    }
    observed = {
        "purchases": sum(labels.bought.sum() for labels, _ in markets),
        "revenue": sum(labels.revenue.sum() for labels, _ in markets),
    }
    for name in QUANTITIES:
        assert result[name]["expected"] == pytest.approx(expected[name])
        assert result[name]["observed"] == pytest.approx(observed[name])
        for parts in (result[name]["cutoffs"].values(), result[name]["offers"].values(), result[name]["deciles"]):
            for key in ("expected", "observed"):
                assert sum(part[key] for part in parts) == pytest.approx(result[name][key])


def test_slices_hold_their_pairs_only(markets):
    result = measured(markets)["revenue"]["slices"]
    assert set(result) == {"light", "empty"}
    inside = sum(labels.revenue[labels.slices["light"]].sum() for labels, _ in markets)
    assert result["light"]["observed"] == pytest.approx(inside)
    assert result["empty"]["value"] is None and result["empty"]["reason"] == "nothing was spent"


def test_the_top_is_the_twentieth_of_the_pairs_of_each_cutoff_with_the_highest_prediction():
    customers, offers = 40, 5
    random = np.random.default_rng(3)
    value = random.permutation(customers * offers).reshape(customers, offers) + 1.0
    bought = random.random(value.shape) < 0.3
    revenue = np.where(bought, 7.0, 0.0)
    names, everyone = np.arange(offers).astype(str), {"all": np.ones_like(bought)}
    labels = Labels("2024-03-04", np.arange(customers), names, bought, revenue, everyone)
    top = expected_over_observed(contexts_of([labels]), [Prediction(value / 1000, value)])["revenue"]["top"]
    best = value > customers * offers * 0.95
    assert best.sum() == 10
    assert (top["expected"], top["observed"]) == pytest.approx((value[best].sum(), revenue[best].sum()))


def test_deciles_ascend_by_the_prediction(markets):
    for quantity in measured(markets).values():
        expected = [cell["expected"] for cell in quantity["deciles"]]
        assert len(expected) == 10 and expected == sorted(expected)


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_a_ranking_fill_it_whatever_is_equal(seed):
    values = np.random.default_rng(seed).integers(0, 4, (13, 3)).astype(float)
    shares = [share_between(values, k / 10, (k + 1) / 10) for k in range(10)]
    np.testing.assert_allclose(sum(shares), 1.0)
    np.testing.assert_allclose([share.sum() for share in shares], values.size / 10)
    assert all(np.unique(share[values == value]).size == 1 for share in shares for value in np.unique(values))


def test_a_constant_prediction_has_the_same_ratio_in_all_deciles(markets):
    flat = [(labels, Prediction(np.full(labels.bought.shape, 0.25))) for labels, _ in markets]
    result = measured(flat)["purchases"]
    for cell in (*result["deciles"], result["top"]):
        assert cell["value"] == pytest.approx(result["value"])


def test_the_order_of_customers_does_not_matter(markets):
    before, after = measured(markets), measured([shuffled(*market) for market in markets])
    np.testing.assert_allclose(numbers(before), numbers(after), rtol=1e-9)


def test_doubling_every_prediction_doubles_every_ratio(markets):
    once = measured(markets)["revenue"]
    doubled = [(labels, prediction._replace(revenue=2 * prediction.revenue)) for labels, prediction in markets]
    twice = measured(doubled)["revenue"]
    for key in ("value", "low", "high"):
        assert twice[key] == pytest.approx(2 * once[key])
        assert twice["top"][key] == pytest.approx(2 * once["top"][key])


def test_amounts_in_another_unit_have_the_same_ratios(markets):
    scaled = [
        (labels._replace(revenue=labels.revenue * 16_000), prediction._replace(revenue=prediction.revenue * 16_000))
        for labels, prediction in markets
    ]
    one, other = measured(markets)["revenue"], measured(scaled)["revenue"]
    for cell, cell_scaled in zip([one["top"], *one["deciles"]], [other["top"], *other["deciles"]], strict=True):
        assert cell["value"] == pytest.approx(cell_scaled["value"])
    assert one["value"] == pytest.approx(other["value"])


def test_what_cannot_be_measured_says_why(markets):
    labels, prediction = markets[0]
    free = [(labels._replace(revenue=labels.revenue * 0), prediction)]
    assert measured(free)["revenue"]["reason"] == "nothing was spent"
    raw = measured([(labels, Prediction(prediction.probability * 4 - 1))])
    assert raw["purchases"]["value"] is None
    assert raw["purchases"]["reason"] == "scores outside [0, 1] are no probabilities"
    assert raw["revenue"]["reason"] == "the model predicts no revenue"
    nobody = [(labels._replace(bought=labels.bought & False, revenue=labels.revenue * 0), prediction)]
    result = measured(nobody)
    assert result["purchases"]["reason"] == "nobody bought anything"
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_without_resamples_there_is_a_point_and_no_interval(markets):
    cell = measured(markets, resamples=0)["revenue"]
    assert cell["value"] > 0 and cell["low"] is None and cell["high"] is None
