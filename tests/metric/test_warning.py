"""Warnings: a total that is off, a better baseline and an in-sample cutoff each say so with figures, once."""

from __future__ import annotations

import re

import numpy as np
import pytest

from propensity.metric.evaluation import Labels, Prediction, evaluate
from propensity.metric.warning import better_baselines, in_sample, meets, merged


def market(seed: int, cutoff: str, customers: int = 1500, offers: int = 6):
    """The true chances of a market, whose buyers pay 8 on average."""
    random = np.random.default_rng(seed)
    chance = random.beta(1.0, 4.0, (customers, offers))
    bought = random.random(chance.shape) < chance
    revenue = np.where(bought, random.gamma(4.0, 2.0, chance.shape), 0.0)
    names, everyone = np.arange(offers).astype(str), {"all": np.ones_like(bought)}
    return Labels(cutoff, np.arange(customers), names, bought, revenue, everyone), chance


def warnings_of(chances: float = 1.0, amounts: float = 1.0, resamples: int = 40, late: float = 1.0) -> list[str]:
    """Warnings about one model whose probabilities and amounts are off by factors, later by `late` too."""
    markets = [market(1, "2024-03-04"), market(2, "2024-04-01")]
    factors = (1.0, late)
    predictions = [
        Prediction(np.minimum(chance * chances * factor, 1.0), 8 * chance * amounts * factor)
        for (_, chance), factor in zip(markets, factors, strict=True)
    ]
    result = evaluate([labels for labels, _ in markets], {"ours": predictions}, reference="ours", resamples=resamples)
    return list(result["warnings"])


def test_calibrated_totals_give_no_warning():
    assert warnings_of() == []


@pytest.mark.parametrize("resamples", [40, 0])
def test_purchases_that_are_off_are_named_with_their_ratio_and_revenue_is_left_alone(resamples):
    (first,) = warnings_of(chances=0.7, resamples=resamples)
    assert re.match(r"expected purchases are 0\.\d\d ", first) and ("[0." in first) == (resamples > 0)
    assert "of the observed ones (" in first and "at 2024-03-04, " in first and " at 2024-04-01)" in first
    assert first.endswith(": do not use expected counts for budgets; train longer, or on later label windows")


def test_revenue_that_is_off_is_named_overall_by_cutoff_and_in_the_top_pairs():
    overall, top = warnings_of(amounts=1.5)
    assert overall.startswith("expected revenue is 1.") and "do not use expected revenue for budgets" in overall
    assert "at 2024-03-04, " in overall
    assert "of the 5 % of pairs with the highest expected revenue: campaign plans" in top


def test_a_cutoff_that_is_off_is_named_although_the_total_is_not():
    sentences = [sentence for sentence in warnings_of(late=0.85) if "purchases" in sentence]
    assert len(sentences) == 1 and "at 2024-04-01" in sentences[0] and "2024-03-04" not in sentences[0]
    assert sentences[0].endswith(
        "though level over all cutoffs: do not use expected counts for budgets of a single cutoff"
    )


def test_a_better_baseline_is_named_with_figures_and_a_worse_or_equal_one_is_not():
    labels, chance = market(3, "2024-03-04")
    blurred = np.clip(chance + np.random.default_rng(3).normal(0, 0.1, chance.shape), 0.01, 1)
    known, guess = Prediction(chance, 8 * chance), Prediction(blurred, 8 * blurred)
    models = {"network": [guess], "frequency": [known], "logistic": [guess]}
    result = evaluate([labels], models, reference="network", resamples=40)
    better = [sentence for sentence in result["warnings"] if "is better than" in sentence]
    assert len(better) == 1 and better[0].startswith("frequency is better than the network: log loss 0.")
    cell = result["differences"]["frequency"]["mean"]["all"]["log_loss"]
    assert f"(difference {-cell['value']:+.4f} [{-cell['high']:+.4f}, {-cell['low']:+.4f}])" in better[0]
    assert "; AUC 0." in better[0] and better[0].endswith("use frequency.parquet, or train longer or on more cutoffs")
    assert "log_loss" in better_baselines(result["models"], result["differences"], "network")["frequency"]
    turned = evaluate([labels], models, reference="frequency", resamples=40)
    assert not any("is better than" in sentence for sentence in turned["warnings"])


def test_equal_scores_are_a_warning_unless_they_are_the_definition_of_the_model():
    labels, chance = market(3, "2024-03-04")
    flat = Prediction(np.broadcast_to(chance.mean(axis=0), chance.shape))
    models = {"network": [Prediction(chance)], "popularity": [flat], "mine": [flat]}
    result = evaluate([labels], models, reference="network", resamples=0, constant=["popularity"])
    equal = [sentence for sentence in result["warnings"] if "the same score" in sentence]
    assert equal == ["mine gives all customers the same score at 2024-03-04: its ranking is random"]


def test_cutoffs_inside_the_training_labels_are_in_sample():
    days = ["2024-01-08", "2024-02-05"]
    assert in_sample(days, None) == in_sample(days, "2024-01-08") == []
    (sentence,) = in_sample(days, "2024-02-01")
    assert sentence.startswith("in-sample cutoff: ") and "2024-01-08" in sentence and "2024-02-05" not in sentence


def test_an_interval_meets_limits_where_they_share_a_value_and_an_undefined_ratio_always_does():
    assert meets({"value": 1.2, "low": 1.1, "high": 1.3}, 0.9, 1.1)
    assert not meets({"value": 1.2, "low": 1.11, "high": 1.3}, 0.9, 1.1)
    assert not meets({"value": 0.8, "low": 0.7, "high": 0.89}, 0.9, 1.1)
    assert meets({"value": None, "low": None, "high": None}, 0.9, 1.1)


def test_a_sentence_is_shown_once_and_the_first_list_comes_first():
    assert merged(["b", "a"], ["a", "c"], ["b"]) == ["b", "a", "c"]
