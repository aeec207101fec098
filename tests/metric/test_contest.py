"""The verdict: whom it is about, what it says, and when the data cannot tell."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.metric.contest import effective_customers, strongest
from propensity.metric.evaluation import Prediction, Truth, evaluate


def market(seed: int, customers: int, buyers: float = 0.2, tail: float = 0.5, offers: int = 8):
    """Truth, and three rankings: what is known of each customer, the same blurred, and chance."""
    random = np.random.default_rng(seed)
    chance = random.beta(1.0, 1.0 / buyers, (customers, offers))
    bought = random.random(chance.shape) < chance
    revenue = np.where(bought, random.lognormal(1.0, tail, chance.shape), 0.0)
    everyone = {"all": np.ones_like(bought)}
    truth = Truth("2024-03-04", np.arange(customers), np.arange(offers).astype(str), bought, revenue, everyone)
    blurred = Prediction(np.clip(chance + random.normal(0, 0.1, chance.shape), 0, 1))
    return truth, Prediction(chance), blurred, Prediction(random.random(chance.shape))


def judged(seed: int, customers: int, resamples: int = 60, **kind):
    truth, known, blurred, chance = market(seed, customers, **kind)
    rivals = {"blurred": [blurred], "chance": [chance]}
    return evaluate([truth], {"network": [known], **rivals}, reference="network", resamples=resamples)


def test_the_verdict_is_that_of_the_revenue_lift_against_the_strongest_rival():
    made = judged(1, 4000)
    contest, cell = made["contest"], made["differences"]["blurred"]["mean"]["all"]["revenue_lift"]
    assert strongest(made["models"], "network") == contest["incumbent"] == "blurred"
    assert contest["metric"] == "revenue_lift" and {k: contest[k] for k in cell} == cell
    assert contest["winsorised"] == made["differences"]["blurred"]["mean"]["all"]["revenue_lift_winsorised"]
    assert made["verdict"] == contest["verdict"] == "win" and not contest["underpowered"]
    assert contest["signs"] == {"2024-03-04": "+"}


def test_a_network_alone_has_no_verdict():
    truth, known, _, _ = market(2, 200)
    made = evaluate([truth], {"network": [known]}, reference="network", resamples=10)
    assert made["verdict"] is None and made["contest"] is None


def test_few_customers_are_underpowered_and_the_smallest_difference_is_said():
    contest = judged(3, 90)["contest"]
    assert contest["underpowered"] and contest["verdict"] in ("win", "tie", "loss")
    assert f"a difference below {contest['smallest_seen']:.2f} would have gone unseen" in contest["weaknesses"][0]


def test_a_heavy_tail_is_underpowered_however_many_customers_there_are():
    contest = judged(4, 4000, tail=5.0)["contest"]
    assert contest["effective_customers"] < 50
    assert any("as concentrated as if" in sentence for sentence in contest["weaknesses"])


def test_winsorised_revenue_is_surer_under_a_heavy_tail():
    contest = judged(5, 4000, tail=2.5)["contest"]
    raw, capped = (cell["high"] - cell["low"] for cell in (contest, contest["winsorised"]))
    assert capped < 0.7 * raw


def test_without_resamples_there_is_no_verdict_and_a_reason():
    contest = judged(6, 400, resamples=0)["contest"]
    assert contest["verdict"] is None and contest["smallest_seen"] is None
    assert contest["weaknesses"] == ["there is no interval, because no customers were drawn again"]


def test_without_judged_offers_the_reason_stands_for_the_verdict():
    truth, known, blurred, _ = market(7, 30, buyers=0.02)
    truth = truth._replace(bought=truth.bought & False, revenue=truth.revenue * 0)
    contest = evaluate([truth], {"network": [known], "b": [blurred]}, reference="network", resamples=5)["contest"]
    assert contest["verdict"] is None and contest["underpowered"]
    reason = "no offer has 10 buyers or more, and one customer who is not, in slice 'all' at 2024-03-04"
    assert contest["weaknesses"] == [reason]


def test_effective_customers_count_equal_holders_once_over_all_dates():
    truth, *_ = market(8, 4)
    spent = np.zeros_like(truth.revenue)
    spent[:2, 0] = 5.0
    two = truth._replace(revenue=spent)
    assert effective_customers([two]) == effective_customers([two, two._replace(cutoff="2024-04-01")]) == 2.0
    spent[0, 1] = 10.0
    assert effective_customers([two._replace(revenue=spent)]) == pytest.approx((15 + 5) ** 2 / (15**2 + 5**2))
    assert effective_customers([two._replace(revenue=spent * 0)]) == 0.0
