"""Draws and batches: everybody once an epoch, the same after a resume, shared fairly, and hiding what dropout says."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from propensity.data.batch import Batch
from propensity.errors import ConfigurationError
from propensity.feature.history_mask import EVERYTHING, HistoryMask, NoHistoryMask, RandomHistoryMask
from propensity.feature.weight import Even, HalfLife
from propensity.task import Task
from propensity.training.data_module import (
    HISTORY,
    CutoffSampler,
    PropensityDataModule,
    TrainingBatches,
    sample_negatives,
    to_tensors,
)


def seen(sampler: CutoffSampler) -> list[tuple[int, int]]:
    return sorted((draw.cutoff, int(row)) for draw in sampler for row in draw.rows)


def test_an_epoch_draws_every_customer_of_every_date_once() -> None:
    sampler = CutoffSampler([7, 1, 10], batch_size=3, seed=5)
    assert seen(sampler) == [(d, r) for d, n in enumerate([7, 1, 10]) for r in range(n)]
    assert len(list(sampler)) == len(sampler)


def test_what_an_epoch_draws_follows_from_seed_and_epoch_alone() -> None:
    def draws(seed: int, epoch: int) -> list[Any]:
        sampler = CutoffSampler([40, 30], batch_size=8, seed=seed)
        sampler.set_epoch(epoch)
        return [(d.cutoff, d.rows.tolist(), d.seed) for d in sampler]

    assert draws(1, 2) == draws(1, 2)
    assert draws(1, 2) != draws(1, 3) and draws(1, 2) != draws(2, 2)


def test_processes_share_an_epoch_without_overlap_in_equal_numbers() -> None:
    parts = [CutoffSampler([40, 31], batch_size=8, seed=1, rank=rank, world=2) for rank in range(2)]
    assert len(list(parts[0])) == len(list(parts[1])) == len(parts[0])
    assert not set(seen(parts[0])) & set(seen(parts[1]))


def test_more_processes_than_batches_are_refused() -> None:
    with pytest.raises(
        ConfigurationError, match="2 batches cannot be shared by 3 processes; lower training.pairs_per_batch"
    ):
        CutoffSampler([8, 8], batch_size=8, seed=1, rank=0, world=3)


def test_a_batch_holds_what_the_features_say(small_world: dict[str, Any]) -> None:
    training_set = small_world["examples"]
    batches = TrainingBatches(training_set, small_world["task"])
    batches.task.history_mask = NoHistoryMask()
    draw = next(iter(CutoffSampler([o.row.size for o in training_set.cutoffs_data], 16, seed=2)))
    batch = batches[draw]
    features, market_stats, customer = training_set.cutoffs_data[draw.cutoff]
    expected = to_tensors(features.inputs(market_stats, customer[draw.rows]))
    for name, found, wanted in zip(expected._fields, batch.inputs, expected, strict=True):
        torch.testing.assert_close(found, wanted, equal_nan=True, msg=name)
    assert batch.outcomes.bought.shape == batch.inputs.pair.shape[:2]
    assert (batch.outcomes.visit >= batch.outcomes.bought.amax(1)).all()
    assert batch.weight.shape == (batch.inputs.pair.shape[1],)


def has_past(batch: Batch, task: Task) -> torch.Tensor:
    return batch.inputs.pair[..., task.feature.pair.index("purchase_days")] > 0


def test_a_thinned_batch_keeps_every_pair_with_a_past_or_a_purchase_as_it_was(small_world: dict[str, Any]) -> None:
    training_set, task = small_world["examples"], small_world["task"]
    whole, thin = (TrainingBatches(training_set, task, negative_rate=share) for share in (1.0, 0.2))
    for draw in list(CutoffSampler([o.row.size for o in training_set.cutoffs_data], 64, seed=2))[:4]:
        all_pairs, kept = whole[draw], thin[draw]
        place = kept.place
        assert all_pairs.place is None and place is not None
        known = has_past(all_pairs, task) | (all_pairs.outcomes.bought > 0)
        assert torch.isin(known.flatten().nonzero().squeeze(1), place).all()
        unknown = int((~known).sum())
        assert abs((place.numel() - int(known.sum())) / unknown - 0.2) < 4 * (0.16 / unknown) ** 0.5
        for found, wanted in (
            (kept.inputs.pair, all_pairs.inputs.pair),
            (kept.outcomes.bought, all_pairs.outcomes.bought),
            (kept.outcomes.revenue, all_pairs.outcomes.revenue),
        ):
            torch.testing.assert_close(found, wanted.flatten(0, 1)[place], rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(
            kept.inputs.customer_features, all_pairs.inputs.customer_features, rtol=0, atol=0, equal_nan=True
        )
        assert torch.equal(kept.outcomes.visit, all_pairs.outcomes.visit)


def test_the_weights_of_a_thinned_batch_stand_for_all_pairs(small_world: dict[str, Any]) -> None:
    training_set, task = small_world["examples"], small_world["task"]
    batches = TrainingBatches(training_set, task)
    batch = batches[next(iter(CutoffSampler([o.row.size for o in training_set.cutoffs_data], 64, seed=2)))]
    batch = batch._replace(weight=torch.linspace(0.5, 2.0, len(batch.weight)))
    terms = torch.rand(batch.outcomes.bought.shape, generator=torch.Generator().manual_seed(1))
    whole, found = (terms * batch.weight).mean(), []
    for seed in range(400):
        kept = sample_negatives(batch, has_past(batch, task), 0.2, seed)
        assert kept.place is not None
        found.append((terms.flatten()[kept.place] * kept.weight).mean())
    means = torch.stack(found)
    assert abs(means.mean() - whole) < 4 * means.std() / len(means) ** 0.5


def test_a_batch_of_which_nothing_would_be_kept_stays_whole(small_world: dict[str, Any]) -> None:
    training_set, task = small_world["examples"], small_world["task"]
    batches = TrainingBatches(training_set, task)
    batch = batches[next(iter(CutoffSampler([o.row.size for o in training_set.cutoffs_data], 4, seed=2)))]
    nothing = torch.zeros_like(batch.outcomes.bought)
    strangers = batch._replace(outcomes=batch.outcomes._replace(bought=nothing))
    assert sample_negatives(strangers, nothing > 0, 1e-9, seed=1) is strangers


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_of_pairs_is_a_share(small_world: dict[str, Any], share: float) -> None:
    words = f"training.negative_rate={share} is no sampling rate; give one above 0 and at most 1"
    with pytest.raises(ConfigurationError, match=words):
        PropensityDataModule(
            small_world["examples"], small_world["task"], pairs_per_batch=100, seed=1, negative_rate=share
        )


def test_batches_hold_about_as_many_pairs_as_asked_for(small_world: dict[str, Any]) -> None:
    loader = PropensityDataModule(small_world["examples"], small_world["task"], pairs_per_batch=100, seed=1)
    offers = len(small_world["examples"].features.offers)
    assert loader.batch_size == 100 // offers
    assert PropensityDataModule(small_world["examples"], small_world["task"], pairs_per_batch=1, seed=1).batch_size == 1


def test_bucketed_batches_hold_like_lengths_and_nothing_but_empty_slots_is_cut(small_world: dict[str, Any]) -> None:
    training_set, task = small_world["examples"], small_world["task"]
    loader = PropensityDataModule(training_set, task, pairs_per_batch=60, seed=3, length_bucketing=True)
    lengths, sizes = loader.lengths(), [o.row.size for o in training_set.cutoffs_data]
    plain, cut = (TrainingBatches(training_set, task, trim) for trim in (False, True))
    draws = list(CutoffSampler(sizes, loader.batch_size, 3, lengths=lengths))
    for date, size in enumerate(sizes):
        own = [draw.rows for draw in draws if draw.cutoff == date]
        assert sorted(np.concatenate(own).tolist()) == list(range(size))
        spans = sorted((lengths[date][rows].min(), lengths[date][rows].max()) for rows in own)
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
    for draw in draws[:6]:
        whole, short = plain[draw].inputs, cut[draw].inputs
        width = max(int(whole.length.max()), 1)
        assert (whole.length <= torch.from_numpy(lengths[draw.cutoff][draw.rows])).all()  # less where history is hidden
        for name in whole._fields:
            wanted = getattr(whole, name)[:, :width] if name in HISTORY else getattr(whole, name)
            torch.testing.assert_close(getattr(short, name), wanted, rtol=0, atol=0, equal_nan=True)
    assert sum(batch.inputs.kind.shape[0] for batch in loader.train_dataloader()) == sum(sizes)


def test_hiding_everything_makes_a_customer_without_history_who_is_marked(small_world: dict[str, Any]) -> None:
    features, market_stats, customer = small_world["examples"].cutoffs_data[-1]
    mask = HistoryMask.nothing(4)._replace(days=np.full(4, EVERYTHING))
    inputs = features.inputs(market_stats, customer[:4], mask)
    names = features.config.pair
    assert (inputs.length == 0).all()
    assert (inputs.pair[:, :, names.index("purchase_days")] == 0).all()
    assert (inputs.pair[:, :, names.index("masked")] == 1).all()
    assert (inputs.customer_features[:, features.config.customer.index("masked")] > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_history_dropout_draws_its_shares(seed: int) -> None:
    rule = RandomHistoryMask(offer=0.2, recent=0.3, everything=0.1, shortest=10, longest=20)
    mask = rule.draw(np.random.default_rng(seed), 20_000, 5)
    recent = (mask.days > 0) & (mask.days < EVERYTHING)
    assert abs((mask.offer >= 0).mean() - 0.2) < 0.015
    assert abs((mask.days == EVERYTHING).mean() - 0.1) < 0.015
    assert abs(recent.mean() - 0.3 * 0.9) < 0.015
    assert mask.days[recent].min() == 10 and mask.days[recent].max() == 20
    assert set(np.unique(mask.offer)) == {-1, 0, 1, 2, 3, 4}
    launched = RandomHistoryMask(launched=0.3).draw(np.random.default_rng(seed), 1, 20_000).launched
    assert abs(launched.size / 20_000 - 0.3) < 0.015 and launched.max() < 20_000


def test_weights_halve_every_half_life_in_the_offer_s_own_rhythm() -> None:
    interpurchase_time = np.array([10.0, 50.0, np.nan, 1000.0])
    assert (Even()(70, interpurchase_time) == 1).all()
    np.testing.assert_allclose(HalfLife(days=70)(70, interpurchase_time), 0.5)
    own = HalfLife(days=120, rhythm=2, shortest=60, longest=720)(60, interpurchase_time)
    np.testing.assert_allclose(own, 0.5 ** (60 / np.array([60, 100, 120, 720])), rtol=1e-6)
