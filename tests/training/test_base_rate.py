"""Base rates: what the labels count, and what a network says before it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from conftest import SMALL
from propensity.data.event_log import EventLog
from propensity.model.base_rate import BaseRates
from propensity.model.offer_net import OfferNet
from propensity.task import TrainingSet
from propensity.training.base_rate import PRIOR_AMOUNTS, base_rates
from propensity.training.predict import predict
from propensity.training.run import untrained

Compose = Callable[..., Any]


def labels(training_set: TrainingSet) -> tuple[np.ndarray, np.ndarray]:
    """Purchases and revenue of all customers at all training cutoffs, as numbers (N, M)."""
    outcomes = [
        features.outcomes(market_stats.cutoff, row) for features, market_stats, row in training_set.cutoffs_data
    ]
    bought, revenue = ([np.asarray(getattr(each, name)) for each in outcomes] for name in ("bought", "revenue"))
    return np.concatenate(bought).astype(float), np.concatenate(revenue).astype(float)


@pytest.fixture(scope="module")
def counted(small_world: dict[str, Any]) -> tuple[BaseRates, np.ndarray, np.ndarray]:
    return base_rates(small_world["examples"]), *labels(small_world["examples"])


def network(compose: Compose, world: dict[str, Any], *more: str, seed: int = 3) -> OfferNet:
    """A network before its first step."""
    torch.manual_seed(seed)
    config = compose("train", *SMALL, *more)
    data = instantiate(config.training, _convert_="all").data_module(world["examples"], world["task"], 5)
    return untrained(config, world["task"], world["examples"], data)


def test_rates_are_the_shares_of_buyers_drawn_to_that_of_all_offers(
    counted: tuple[BaseRates, np.ndarray, np.ndarray],
) -> None:
    rates, bought, _ = counted
    share, mean = bought.mean(axis=0), bought.mean()
    assert rates.visit == pytest.approx((bought > 0).any(axis=1).mean(), rel=0.2)  # others buy what is no offer
    np.testing.assert_allclose(rates.purchase, share, rtol=0.1)
    assert np.all(np.abs(rates.purchase - mean) <= np.abs(share - mean) + 1e-3)
    assert np.all(rates.purchase > 0) and np.all(rates.purchase < rates.visit)


def test_amounts_are_geometric_means_in_units_drawn_to_that_of_all_offers(
    counted: tuple[BaseRates, np.ndarray, np.ndarray], small_world: dict[str, Any]
) -> None:
    rates, _, revenue = counted
    unit = small_world["examples"].vocabulary.unit
    logs = [np.log(column[column > 0] / unit) for column in revenue.T]
    overall = np.concatenate(logs).mean()
    drawn = [np.concatenate([each, np.full(int(PRIOR_AMOUNTS), overall)]).mean() for each in logs]
    np.testing.assert_allclose(rates.amount, drawn, rtol=1e-5)
    within = np.sqrt(np.concatenate([(each - each.mean()) ** 2 for each in logs]).mean())
    assert rates.deviation == pytest.approx(within, rel=0.05)


@pytest.mark.parametrize("more", [(), ("model/visit=none",), ("model/encoder=none", "model/explore=none")])
def test_an_untrained_network_predicts_about_the_base_rates(
    more: tuple[str, ...],
    composed: Compose,
    small_world: dict[str, Any],
    counted: tuple[BaseRates, np.ndarray, np.ndarray],
) -> None:
    """In the mean of four networks: one with random weights may be off by a third."""
    rates, bought, _ = counted
    models = [network(composed, small_world, *more, seed=seed) for seed in range(3, 7)]
    scores = [[predict(model, each) for each in small_world["examples"].cutoffs_data] for model in models]
    probability = np.mean([np.concatenate([each.probability for each in one]) for one in scores], axis=0)
    assert probability.sum() == pytest.approx(bought.sum(), rel=0.25)
    np.testing.assert_allclose(probability.mean(axis=0), rates.purchase, rtol=0.5)
    assert np.corrcoef(probability.mean(axis=0), rates.purchase)[0, 1] > 0.85


def test_untrained_amounts_are_about_the_geometric_means(
    composed: Compose, small_world: dict[str, Any], counted: tuple[BaseRates, np.ndarray, np.ndarray]
) -> None:
    rates = counted[0]
    model, unit = network(composed, small_world), small_world["examples"].vocabulary.unit
    scores = predict(model, small_world["examples"].cutoffs_data[0])
    log_amount = np.log(scores.revenue / scores.probability / unit)
    location = log_amount - 0.5 * rates.deviation**2  # the mean of a log-normal is above its geometric mean
    np.testing.assert_allclose(location, np.broadcast_to(rates.amount, location.shape), atol=1e-3)


def test_a_market_without_revenue_starts_from_amounts_of_nothing(small_world: dict[str, Any]) -> None:
    log: EventLog = small_world["log"]
    free = EventLog(
        **{name: getattr(log, name) for name in log.__dataclass_fields__} | {"revenue": np.zeros_like(log.revenue)}
    )
    rates = base_rates(small_world["task"].training_set(free))
    assert np.all(np.exp(rates.amount.astype(np.float32)) == 0) and np.isfinite(rates.deviation)
