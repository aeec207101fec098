"""The verdict: its baseline, its words, and when the test has little power."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.metric.evaluation import Labels, Prediction, evaluate
from propensity.metric.headline import effective_customers, strongest


def market(seed: int, customers: int, buyers: float = 0.2, tail: float = 0.5, offers: int = 8):
    """Truth, and three rankings: what is known of each customer, the same blurred, and chance."""
    random = np.random.default_rng(seed)
    chance = random.beta(1.0, 1.0 / buyers, (customers, offers))
    bought = random.random(chance.shape) < chance
    revenue = np.where(bought, random.lognormal(1.0, tail, chance.shape), 0.0)
    everyone = {"all": np.ones_like(bought)}
    labels = Labels("2024-03-04", np.arange(customers), np.arange(offers).astype(str), bought, revenue, everyone)
    blurred = Prediction(np.clip(chance + random.normal(0, 0.1, chance.shape), 0, 1))
    return labels, Prediction(chance), blurred, Prediction(random.random(chance.shape))


def evaluated(seed: int, customers: int, resamples: int = 60, **kind):
    labels, known, blurred, chance = market(seed, customers, **kind)
    baselines = {"blurred": [blurred], "chance": [chance]}
    return evaluate([labels], {"network": [known], **baselines}, reference="network", resamples=resamples)


def test_the_verdict_is_that_of_the_revenue_lift_against_the_strongest_baseline():
    result = evaluated(1, 4000)
    headline, cell = result["headline"], result["differences"]["blurred"]["mean"]["all"]["revenue_lift"]
    assert strongest(result["models"], ["blurred", "chance"]) == headline["baseline"] == "blurred"
    assert headline["metric"] == "revenue_lift" and {k: headline[k] for k in cell} == cell
    assert headline["winsorised"] == result["differences"]["blurred"]["mean"]["all"]["revenue_lift_winsorised"]
    assert result["verdict"] == headline["verdict"] == "win" and not headline["underpowered"]
    assert headline["signs"] == {"2024-03-04": "+"}


def test_a_network_alone_has_no_verdict():
    labels, known, _, _ = market(2, 200)
    result = evaluate([labels], {"network": [known]}, reference="network", resamples=10)
    assert result["verdict"] is None and result["headline"] is None


def test_few_customers_are_underpowered_and_the_minimum_detectable_effect_is_named():
    headline = evaluated(3, 90)["headline"]
    assert headline["underpowered"] and headline["verdict"] in ("win", "tie", "loss")
    assert (
        f"the minimum detectable effect is {headline['minimum_detectable_effect']:.2f}, above"
        in headline["weaknesses"][0]
    )


def test_a_heavy_tail_is_underpowered_however_many_customers_there_are():
    headline = evaluated(4, 4000, tail=5.0)["headline"]
    assert headline["effective_customers"] < 50
    assert any("as concentrated as if" in sentence for sentence in headline["weaknesses"])


def test_winsorised_revenue_is_surer_under_a_heavy_tail():
    headline = evaluated(5, 4000, tail=2.5)["headline"]
    raw, capped = (cell["high"] - cell["low"] for cell in (headline, headline["winsorised"]))
    assert capped < 0.7 * raw


def test_without_resamples_there_is_no_verdict_and_a_reason():
    headline = evaluated(6, 400, resamples=0)["headline"]
    assert headline["verdict"] is None and headline["minimum_detectable_effect"] is None
    assert headline["weaknesses"] == ["there is no interval without resamples"]


def test_without_judged_offers_the_reason_stands_for_the_verdict():
    labels, known, blurred, _ = market(7, 30, buyers=0.02)
    labels = labels._replace(bought=labels.bought & False, revenue=labels.revenue * 0)
    headline = evaluate([labels], {"network": [known], "b": [blurred]}, reference="network", resamples=5)["headline"]
    assert headline["verdict"] is None and headline["underpowered"]
    reason = "no offer has 10 buyers or more and a customer who did not buy, in slice 'all' at 2024-03-04"
    assert headline["weaknesses"] == [reason]


def test_effective_customers_count_equal_holders_once_over_all_cutoffs():
    labels, *_ = market(8, 4)
    spent = np.zeros_like(labels.revenue)
    spent[:2, 0] = 5.0
    two = labels._replace(revenue=spent)
    assert effective_customers([two]) == effective_customers([two, two._replace(cutoff="2024-04-01")]) == 2.0
    spent[0, 1] = 10.0
    assert effective_customers([two._replace(revenue=spent)]) == pytest.approx((15 + 5) ** 2 / (15**2 + 5**2))
    assert effective_customers([two._replace(revenue=spent * 0)]) == 0.0


def test_the_baseline_is_the_one_with_the_best_revenue_lift_and_by_auc_only_without_revenue():
    labels, known, blurred, _ = market(9, 2000)
    spender = Prediction(blurred.probability[:, ::-1] * 0 + 0.5, labels.revenue)  # knows amounts, and no chance
    models = {"network": [known], "blurred": [blurred], "spender": [spender]}
    result = evaluate([labels], models, reference="network", resamples=5)
    auc = {name: cells["mean"]["all"]["auc"]["value"] for name, cells in result["models"].items()}
    assert auc["blurred"] > auc["spender"] and result["headline"]["baseline"] == "spender"
    free = labels._replace(revenue=labels.revenue * 0)
    assert evaluate([free], models, reference="network", resamples=5)["headline"]["baseline"] == "blurred"


def test_the_headline_compares_with_a_baseline_and_not_with_another_candidate():
    labels, known, blurred, chance = market(10, 2000)
    models = {"network": [known], "stack": [blurred], "frequency": [chance]}
    result = evaluate([labels], models, reference="stack", baselines=["frequency"], resamples=5)
    assert result["headline"]["baseline"] == "frequency" and set(result["differences"]) == {"network", "frequency"}
    alone = evaluate([labels], models, reference="stack", baselines=[], resamples=5)
    assert alone["headline"] is None and alone["verdict"] is None
