"""Questions of pretraining: their answers equal a plain reading of the log, and no event of the end or later counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from propensity.data.cutoff import Cutoff
from propensity.feature.features import Features
from propensity.kernel.event import PURCHASE
from propensity.pretrain.batch import (
    PERIODS,
    PretrainBatch,
    PretrainBatches,
    PretrainIndex,
    PretrainSampler,
    draw_queries,
)


@pytest.fixture(scope="module")
def world(small_world: dict[str, Any]) -> tuple[Features, Cutoff]:
    task, log, examples = small_world["task"], small_world["log"], small_world["examples"]
    end = task.end_day(log)
    past = task.past(log, end)
    features = Features(past, examples.features.offers, examples.vocabulary, task.feature)
    return features, Cutoff(end, task.horizon)


def batch_of(world: tuple[Features, Cutoff], size: int = 60) -> tuple[PretrainBatch, np.ndarray]:
    features, end = world
    rows = features.log.purchasers(end.day)[:size]
    return PretrainBatches(features, end, 5)[PretrainIndex(rows, 3)], rows


def purchases(features: Features, row: int) -> list[tuple[int, list[int]]]:
    """Day and offers of each purchase of a customer, by a plain loop."""
    log, sets = features.log, features.sets
    lines = []
    for e in range(log.offsets[row], log.offsets[row + 1]):
        if log.kind[e] == PURCHASE:
            item = int(log.item[e])
            offers = sets.offer[sets.offsets[item] : sets.offsets[item + 1]].tolist() if item >= 0 else []
            lines.append((int(log.day[e]), offers))
    return lines


def test_the_answers_equal_a_plain_reading_of_the_log(world: tuple[Features, Cutoff]) -> None:
    features, end = world
    batch, rows = batch_of(world)
    for b, row in enumerate(rows.tolist()):
        lines = purchases(features, row)
        for q in range(batch.query.shape[1]):
            day = end.day - int(batch.query[b, q])
            for w, days in enumerate(PERIODS):
                wanted = {offer for at, offers in lines if day <= at < day + days for offer in offers}
                assert set(batch.bought[b, q, w].nonzero().flatten().tolist()) == wanted
            assert float(batch.wait[b, q]) == min((at - day for at, _ in lines if at >= day), default=np.inf)
        masked = end.day - int(batch.masked[b])
        hidden = {offer for at, offers in lines if at == masked for offer in offers}
        assert set(batch.basket[b].nonzero().flatten().tolist()) == hidden
    assert batch.bought.sum() > 100 and (batch.basket.sum(1) > 0).sum() > 40


def test_queries_lie_after_the_first_event_and_before_the_last_whole_period(world: tuple[Features, Cutoff]) -> None:
    batch, _ = batch_of(world)
    oldest = batch.history.age[:, :1]
    assert batch.valid.any() and not batch.valid.all()
    assert ((batch.query < oldest) & (batch.query >= PERIODS[-1]))[batch.valid].all()


def test_a_batch_follows_from_its_index_alone(world: tuple[Features, Cutoff]) -> None:
    (one, _), (other, _) = batch_of(world), batch_of(world)
    for name in ("query", "masked", "slices", "bought"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_histories_of_few_events_have_defined_questions(size: int) -> None:
    age = np.full((1, 2), 60.0)
    query, valid = draw_queries(np.random.default_rng(0), age, np.array([size]), 3)
    assert query.shape == (1, 3) and bool(valid.all()) == (size > 0)


def test_an_epoch_draws_no_customer_twice_in_batches_of_one_size() -> None:
    sampler = PretrainSampler(np.arange(50), 16, seed=1)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 3 and {index.rows.size for index in drawn} == {16}
    assert np.unique(np.concatenate([index.rows for index in drawn])).size == 48
    again = list(sampler)
    assert all((a.rows == b.rows).all() and a.seed == b.seed for a, b in zip(drawn, again, strict=True))
    sampler.set_epoch(1)
    assert any((a.rows != b.rows).any() for a, b in zip(drawn, sampler, strict=True))
    parts = [list(PretrainSampler(np.arange(50), 8, 1, rank, 2)) for rank in range(2)]
    assert len(parts[0]) == len(parts[1]) == 3
