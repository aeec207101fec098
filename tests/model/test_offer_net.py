"""The network's laws, on inputs from the synthetic log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from propensity.command import own_cause
from propensity.data.batch import Inputs
from propensity.errors import ConfigurationError
from propensity.model.head import PRIOR, ChannelHead
from propensity.model.inference import to_tensors
from propensity.model.member import within_visit
from propensity.model.offer_net import OfferNet
from propensity.model.season.drift import Drift

PARTS = [
    "model/season=fourier",
    "model/season=drift",
    "model/visit=none",
    "model/repeat=none",
    "model/explore=none",
    "model/encoder=none",
]


def network(world: dict[str, Any], cfg: Any) -> OfferNet:
    torch.manual_seed(3)
    sizes = world["task"].feature.sizes(world["examples"].vocabulary)
    model: OfferNet = instantiate(cfg.model, sizes=sizes)
    model.fit_scales(inputs_of(world, slice(0, 64)))
    return model.eval()


def inputs_of(world: dict[str, Any], rows: slice) -> Inputs:
    cutoff_data = world["examples"].cutoffs_data[-1]
    return to_tensors(cutoff_data.features.inputs(cutoff_data.market_stats, cutoff_data.row[rows]))


@pytest.mark.parametrize("override", ["model.width=8", *PARTS])
def test_every_composition_answers_for_every_pair(
    small_world: dict[str, Any], composed: Callable[..., Any], override: str
) -> None:
    inputs = inputs_of(small_world, slice(0, 5))
    outputs = network(small_world, composed("train", "model.width=8", override))(inputs)
    pairs = inputs.pair.shape[:2]
    assert outputs.purchase.shape == pairs and outputs.value.shape == (*pairs, 2)
    assert outputs.visit.shape == pairs[:1] and outputs.state.shape == (pairs[0], 8)
    assert outputs.channel.shape == (pairs[0], len(small_world["examples"].vocabulary.sold_through)) == (pairs[0], 2)
    assert all(torch.isfinite(part).all() for part in outputs)
    assert ((outputs.probability() > 0) & (outputs.probability() < 1)).all()
    assert (outputs.expected_revenue() > 0).all()


def test_a_score_does_not_depend_on_the_rest_of_the_batch(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    model = network(small_world, composed("train", "model.width=8"))
    together = model(inputs_of(small_world, slice(0, 7)))
    alone = model(inputs_of(small_world, slice(3, 4)))
    torch.testing.assert_close(alone.purchase[0], together.purchase[3], rtol=1e-4, atol=1e-5)


def test_an_offer_does_not_depend_on_which_others_are_asked_for(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    model = network(small_world, composed("train", "model.width=8"))
    inputs = inputs_of(small_world, slice(0, 4))
    kept = torch.tensor([2, 0])
    fewer = inputs._replace(
        pair=inputs.pair[:, kept],
        context=inputs.context[kept],
        offer=inputs.offer[kept],
        attribute=inputs.attribute[kept],
        standardisation=inputs.standardisation[kept],
    )
    torch.testing.assert_close(model(fewer).purchase, model(inputs).purchase[:, kept], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("override", ["model.width=8", *PARTS])
def test_some_pairs_are_answered_for_as_they_are_among_all(
    small_world: dict[str, Any], composed: Callable[..., Any], override: str
) -> None:
    model = network(small_world, composed("train", "model.width=8", override))
    inputs = inputs_of(small_world, slice(0, 5))
    place = torch.tensor([1, 0, 17, 4, 4])
    some = inputs._replace(pair=inputs.pair.flatten(0, 1)[place])
    for one, all_pairs in zip(model.member_outputs(some, place), model.member_outputs(inputs), strict=True):
        for name in ("purchase", "value"):
            wanted = getattr(all_pairs, name).flatten(0, 1)[place]
            torch.testing.assert_close(getattr(one, name), wanted, rtol=1e-4, atol=1e-5, msg=name)
        assert torch.equal(one.visit, all_pairs.visit) and torch.equal(one.state, all_pairs.state)


def test_an_offer_without_a_name_is_answered_for_from_its_attributes(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    model = network(small_world, composed("train", "model.width=8"))
    inputs = inputs_of(small_world, slice(0, 4))
    unnamed = inputs._replace(offer=torch.zeros_like(inputs.offer))
    other = unnamed._replace(attribute=unnamed.attribute + 1)
    assert torch.isfinite(model(unnamed).purchase).all()
    assert not torch.equal(model(unnamed).purchase, model(other).purchase)


def test_a_network_says_what_its_members_say_on_average(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    model = network(small_world, composed("train", "model.width=8", "model.members=4"))
    inputs = inputs_of(small_world, slice(0, 4))
    member_outputs = model.member_outputs(inputs)
    assert len(member_outputs) == 4 and not torch.equal(member_outputs[0].purchase, member_outputs[1].purchase)
    for name in ("purchase", "value", "visit", "channel"):
        mean = torch.stack([getattr(answer, name) for answer in member_outputs]).mean(0)
        torch.testing.assert_close(getattr(model(inputs), name), mean, msg=name)
    alone = network(small_world, composed("train", "model.width=8", "model.members=1"))
    assert torch.equal(alone(inputs).purchase, alone.member_outputs(inputs)[0].purchase)


def test_channels_leave_the_rest_of_a_network_as_it_is(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    cfg, vocabulary = composed("train", "model.width=8", "model.members=1"), small_world["examples"].vocabulary
    inputs = inputs_of(small_world, slice(0, 4))
    knowing = network(small_world, cfg)
    fewer = small_world["task"].feature.sizes(vocabulary)._replace(sold_through=(1,))
    torch.manual_seed(3)
    plain: OfferNet = instantiate(cfg.model, sizes=fewer)
    plain.fit_scales(inputs_of(small_world, slice(0, 64)))
    answer = plain.eval()(inputs)
    assert answer.channel.shape == (4, 0)
    assert torch.equal(answer.purchase, knowing(inputs).purchase)


def test_the_channel_head_begins_with_the_shares_of_a_customers_last_purchases(small_world: dict[str, Any]) -> None:
    inputs, width = inputs_of(small_world, slice(0, 40)), 8
    codes = small_world["task"].feature.sizes(small_world["examples"].vocabulary).sold_through
    head = ChannelHead(codes, width)
    torch.nn.init.zeros_(head.state.weight)
    torch.nn.init.zeros_(head.state.bias)
    share = head(inputs, torch.randn(40, width)).softmax(dim=-1)
    for b in range(40):
        events = range(int(inputs.length[b]))
        count = [sum(int(inputs.channel[b, e]) == c and int(inputs.kind[b, e]) == 0 for e in events) for c in codes]
        expected = [(n + PRIOR / len(codes)) / (sum(count) + PRIOR) for n in count]
        assert share[b].tolist() == pytest.approx(expected, rel=1e-5)


def test_a_network_without_members_is_refused(small_world: dict[str, Any], composed: Callable[..., Any]) -> None:
    from hydra.errors import InstantiationException

    with pytest.raises(InstantiationException, match="model.members=0 makes no network; give 1 or more"):
        network(small_world, composed("train", "model.members=0"))


def test_a_network_without_an_opinion_is_refused(small_world: dict[str, Any], composed: Callable[..., Any]) -> None:
    from hydra.errors import InstantiationException

    with pytest.raises(InstantiationException, match="keep model.repeat or model.explore") as caught:
        network(small_world, composed("train", "model/repeat=none", "model/explore=none"))
    assert isinstance(own_cause(caught.value), ConfigurationError)


def test_a_visit_joins_a_purchase_as_a_product_of_probabilities() -> None:
    visit, given = torch.linspace(-30, 30, 61)[:, None], torch.linspace(-30, 30, 61)
    expected = torch.sigmoid(visit.double()) * torch.sigmoid(given.double())
    found = torch.sigmoid(within_visit(visit, given).double())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-6)
    assert torch.isfinite(within_visit(visit * 10, given * 10)).all()


def test_log_odds_drift_with_the_years_and_stop_with_the_newest_that_training_saw() -> None:
    drift, offers = Drift(season=3, width=2), torch.eye(2)
    with torch.no_grad():
        drift.slope.weight.copy_(torch.tensor([[1.0, -2.0]]))
    for years in (24.0, 25.0, 23.0):
        drift.train()(torch.tensor([0.5, 0.5, years]), offers)
    drift.eval()
    torch.testing.assert_close(drift(torch.tensor([0.0, 0.0, 24.5]), offers), torch.tensor([24.5, -49.0]))
    torch.testing.assert_close(drift(torch.tensor([9.0, 9.0, 26.0]), offers), torch.tensor([25.0, -50.0]))
