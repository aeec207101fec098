"""Lift decay: what each age loses, and the advice that follows from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from propensity.metric.decay import lift_decay, retraining
from propensity.metric.evaluation import Labels, Prediction


def lost(low: float, high: float) -> dict[str, Any]:
    word = "win" if low > 0 else "loss" if high < 0 else "tie"
    return {
        "value": (low + high) / 2,
        "low": low,
        "high": high,
        "minimum_detectable_effect": 0.7 * (high - low),
        "verdict": word,
    }


def points(*intervals: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        {"weeks": 0},
        *({"weeks": 2 * k + 2, "lost": lost(*bootstrap_interval)} for k, bootstrap_interval in enumerate(intervals)),
    ]


@pytest.mark.parametrize(
    ("intervals", "weeks", "words"),
    [
        ([(-1, 1), (-1, 2), (0.5, 2.5), (1, 3)], 4, "from 6 weeks on, revenue lift is lost (1.50 [0.50, 2.50])"),
        ([(0.1, 1), (0.2, 2)], 1, "retrain every week: from 2 weeks on"),
        ([(0.1, 1), (-1, 2)], 4, "at least every 4 weeks: up to that age no loss of revenue lift is significant"),
        ([(-2, -1), (-1, 1)], 4, "(minimum detectable effect 1.40)"),
    ],
)
def test_the_advice_is_the_oldest_age_before_a_loss_that_stays(intervals, weeks, words):
    every, sentence = retraining(points(*intervals))
    assert every == weeks and words in sentence


def test_without_intervals_there_is_no_advice():
    bare: list[dict[str, Any]] = [
        {"weeks": 0},
        {"weeks": 1, "lost": {"value": 1.0, "low": None, "high": None, "verdict": None}},
    ]
    assert retraining(bare) == (None, "no interval, so no advice on when to retrain")
    assert retraining([{"weeks": 0}])[0] is None


def test_a_model_that_forgets_loses_more_with_age():
    random = np.random.default_rng(3)
    chance = random.beta(1.0, 4.0, (3000, 6))
    all_labels: list[Labels] = []
    aged: dict[int, list[Prediction]] = {weeks: [] for weeks in (0, 1, 6)}
    for date in ("2024-03-04", "2024-03-11"):
        bought = random.random(chance.shape) < chance
        revenue = np.where(bought, random.gamma(2.0, 3.0, chance.shape), 0.0)
        names, masks = np.arange(6).astype(str), {"all": np.ones_like(bought), "other": bought}
        all_labels.append(Labels(date, np.arange(3000), names, bought, revenue, masks))
        for weeks, answers in aged.items():
            answers.append(Prediction(chance + random.normal(0, 0.05 * weeks, chance.shape)))
    result = lift_decay(all_labels, aged, resamples=60, seed=1)
    costs = [point["lost"]["value"] for point in result["points"][1:]]
    assert 0 < costs[0] < costs[1] and result["points"][2]["lost"]["verdict"] == "win"
    assert result["dates"] == ["2024-03-04", "2024-03-11"] and "lost" not in result["points"][0]
    by_date = result["points"][1]["lost_by_date"]
    assert list(by_date) == result["dates"] and np.mean(list(by_date.values())) == pytest.approx(costs[0])
    assert result["retrain_every_weeks"] == 1
