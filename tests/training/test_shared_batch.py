"""Batches of several cutoffs: everybody once at each, and the outputs and gradients of batches of one cutoff."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from conftest import QUICK, SMALL
from propensity.errors import ConfigurationError
from propensity.feature.history_mask import NoHistoryMask, RandomHistoryMask
from propensity.model.offer_net import OfferNet
from propensity.training.checkpoint import load_trained
from propensity.training.data_module import PropensityDataModule, TrainingBatches
from propensity.training.module import mean_terms, shared_terms
from propensity.training.run import train
from propensity.training.shared_batch import SharedBatch, SharedBatches, SharedIndex, SharedSampler

CUTOFFS = 4
MASKS = {"none": NoHistoryMask(), "random": RandomHistoryMask(offer=0.3, recent=0.3, everything=0.1, launched=0.1)}

CASES = [("hstu", "items", "random"), ("linear_recurrence", "baskets", "random"), ("time_filters", "items", "none")]


def batches_of(world: dict[str, Any], history: int, mask: str = "none") -> SharedBatches:
    """Batches of the small world with another length of history."""
    training_set = world["examples"]
    features = copy.copy(training_set.features)
    features.config = replace(features.config, history=history)
    cutoffs_data = [each._replace(features=features) for each in training_set.cutoffs_data]
    task = replace(world["task"], history_mask=MASKS[mask])
    return SharedBatches(TrainingBatches(training_set._replace(cutoffs_data=cutoffs_data), task), CUTOFFS)


def draws(shop: dict[str, Any], size: int = 64, epoch: int = 0, rank: int = 0, world: int = 1) -> Iterator[SharedIndex]:
    sampler = SharedSampler(shop["examples"].cutoffs_data, CUTOFFS, size, 5, rank, world)
    sampler.set_epoch(epoch)
    return iter(sampler)


def network(world: dict[str, Any], composed: Callable[..., Any], encoder: str, *more: str) -> OfferNet:
    """A network whose encoder counts."""
    torch.manual_seed(3)
    sizes = world["task"].feature.sizes(world["examples"].vocabulary)
    cfg = composed("train", "model.width=8", "model.members=1", f"model/encoder={encoder}", *more)
    model: OfferNet = instantiate(cfg.model, sizes=sizes)
    return model.eval()


def test_an_epoch_draws_every_customer_of_every_cutoff_once(small_world: dict[str, Any]) -> None:
    cutoffs_data = small_world["examples"].cutoffs_data
    groups = SharedSampler(cutoffs_data, CUTOFFS, 64, 5).groups
    found = sorted(
        (place, row)
        for index in draws(small_world)
        for place in groups[index.group].tolist()
        for row in np.intersect1d(index.rows, cutoffs_data[place].row).tolist()
    )
    assert found == [(k, row) for k, each in enumerate(cutoffs_data) for row in each.row.tolist()]
    assert sum(len(group) for group in groups) == len(cutoffs_data) and max(map(len, groups)) <= CUTOFFS


def test_draws_follow_from_seed_and_epoch_and_processes_share_them(small_world: dict[str, Any]) -> None:
    def plain(**settings: int) -> list[Any]:
        return [(each.group, each.rows.tolist(), each.seed) for each in draws(small_world, **settings)]

    assert plain(epoch=2) == plain(epoch=2) and plain(epoch=2) != plain(epoch=3)
    parts = [plain(rank=rank, world=2) for rank in range(2)]
    assert len(parts[0]) == len(parts[1]) and not {str(each) for each in parts[0]} & {str(each) for each in parts[1]}


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "tokens", "mask"), CASES)
def test_outputs_at_several_cutoffs_equal_those_of_one_cutoff_each(
    small_world: dict[str, Any], composed: Callable[..., Any], encoder: str, tokens: str, mask: str
) -> None:
    model = network(small_world, composed, encoder, f"model.encoder.tokens={tokens}")
    shared = batches_of(small_world, 500, mask)[next(draws(small_world))]
    assert len(shared.batches) == CUTOFFS and max(len(rows) for rows in shared.rows) >= 8
    encoded = model.encode_at(shared.history, shared.query, shared.hidden)
    for place, (rows, batch) in enumerate(zip(shared.rows, shared.batches, strict=True)):
        separate = model.member_outputs(batch.inputs, batch.place)
        together = model.member_outputs(batch.inputs, batch.place, [states[rows, place] for states in encoded])
        for one, other in zip(together, separate, strict=True):
            for name in one._fields:
                torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.slow
def test_gradients_at_several_cutoffs_are_the_mean_over_the_customers(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    model, shared = (
        network(small_world, composed, "time_filters"),
        batches_of(small_world, 500)[next(draws(small_world))],
    )
    loss, parameters = instantiate(composed("train").loss), list(model.parameters())
    together = torch.autograd.grad(shared_terms(model, loss, shared).total, parameters, materialize_grads=True)
    sizes = [len(rows) for rows in shared.rows]
    total = torch.stack(
        [size * mean_terms(model, loss, batch).total for size, batch in zip(sizes, shared.batches, strict=True)]
    ).sum()
    for one, other in zip(
        together, torch.autograd.grad(total / sum(sizes), parameters, materialize_grads=True), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_query_sees_at_least_the_events_that_a_batch_of_its_cutoff_holds(small_world: dict[str, Any]) -> None:
    shared: SharedBatch = batches_of(small_world, 4)[next(draws(small_world))]
    assert 4 < shared.history.kind.shape[1] < 24
    for place, (rows, batch) in enumerate(zip(shared.rows, shared.batches, strict=True)):
        age = shared.history.age[rows] - shared.query[rows, place][:, None]
        for b in range(len(rows)):
            seen = [each for each in age[b, : shared.history.length[rows[b]]].tolist() if each > 0]
            own = batch.inputs.age[b, : batch.inputs.length[b]].tolist()
            assert seen[len(seen) - len(own) :] == own


@pytest.mark.slow
def test_a_network_trains_at_several_cutoffs_in_one_pass(
    small_world: dict[str, Any], composed: Callable[..., Any], tmp_path: Any
) -> None:
    settings = [*SMALL, *QUICK, f"data.log={small_world['folder']}", "model/encoder=linear_recurrence"]
    more = ["training.cutoffs_per_batch=3", "model.event_dropout=0.2", "model.closed_gate=true", "data.cutoff.count=5"]
    train(composed("train", *settings, *more, f"out={tmp_path}"))
    model = load_trained(tmp_path).model
    assert isinstance(model, OfferNet)
    moved = [member.encoder_gate.abs().sum() > 0 for member in model.members]  # type: ignore[operator]
    assert all(moved)


@pytest.mark.parametrize("encoder", ["none", "gru"])
def test_several_cutoffs_need_a_causal_encoder(composed: Callable[..., Any], encoder: str) -> None:
    words = "training.cutoffs_per_batch=2 needs an encoder that reads a history once for many cutoffs; choose model/enc"
    with pytest.raises(ConfigurationError, match=words):
        train(composed("train", *SMALL, f"model/encoder={encoder}", "training.cutoffs_per_batch=2"))


def test_several_cutoffs_are_refused_with_a_log_on_the_device(small_world: dict[str, Any]) -> None:
    arguments = small_world["examples"], small_world["task"], 1024, 1
    with pytest.raises(ConfigurationError, match="cutoffs_per_batch=2 reads histories on the host; set"):
        PropensityDataModule(*arguments, log_on_device=True, cutoffs_per_batch=2)
