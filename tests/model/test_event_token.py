"""Tokens of causal encoders, the dropout of events and baskets, and the gate that starts closed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from propensity.data.batch import HISTORY, BlockSizes, Inputs, Sizes
from propensity.feature.calendar import season
from propensity.model.event_dropout import drop_events
from propensity.model.event_token import EventToken
from propensity.model.inference import to_tensors
from propensity.model.offer_net import OfferNet

WIDTH, MONDAY = 4, 18_267  # 2020-01-06
NONE = BlockSizes(0)
SIZES = Sizes((5, 7), 5, 3, NONE, NONE, NONE, 9, 6, 4, (1, 2))


def inputs(day: int = MONDAY) -> Inputs:
    """Four customers: no event, one, eight on few days, and eight on one day."""
    torch.manual_seed(2)
    length = torch.tensor([0, 1, 8, 8])
    age = torch.tensor([[9.0, 9, 9, 4, 4, 3, 1, 1]]).repeat(4, 1)
    age[3] = 5.0
    real = torch.arange(8) < length[:, None]
    fields = {
        "token": torch.randint(0, 5, (4, 8, 2)),
        "kind": torch.randint(0, 5, (4, 8)),
        "channel": torch.randint(0, 3, (4, 8)),
        "age": torch.where(real, age, 0.0),
        "amount": torch.where(real, 5 * torch.randn(4, 8), 0.0),
        "length": length,
        "season": torch.from_numpy(season(day, 7)),
    }
    return Inputs(**{name: fields.get(name, torch.zeros(0)) for name in Inputs._fields})


def test_a_basket_is_what_happened_on_a_day() -> None:
    given, embed = inputs(), EventToken(SIZES, WIDTH, "baskets")
    tokens = embed(given)
    assert tokens.length.tolist() == [0, 1, 4, 1] and tokens.token.shape == (4, 4, WIDTH)
    assert tokens.age[2].tolist() == [9, 4, 3, 1] and tokens.age[3, 0] == 5
    for customer in (1, 2, 3):
        for k, age in enumerate(tokens.age[customer, : tokens.length[customer]].tolist()):
            events = [e for e in range(int(given.length[customer])) if given.age[customer, e] == age]
            total = embed.kind(given.kind[customer, events]).sum(0)
            for a, table in enumerate(embed.attribute):
                total = total + table(given.token[customer, events, a]).sum(0)
            total = total + embed.channel(given.channel[customer, events]).mean(0)
            total = total + embed.weekday(torch.tensor((7 - int(age)) % 7))
            size = int((given.kind[customer, events] == 0).sum())
            money = float(given.amount[customer, events].sum())
            number = torch.tensor([math.log1p(size), math.copysign(math.log1p(abs(money)), money)])
            expected = total + embed.number(number)
            torch.testing.assert_close(tokens.token[customer, k], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", ["items", "baskets"])
def test_tokens_hold_no_time_that_is_relative_to_the_cutoff(tokens: str) -> None:
    embed = EventToken(SIZES, WIDTH, tokens)
    now, later = inputs(), inputs(MONDAY + 3)
    moved = torch.where(later.age > 0, later.age + 3, 0.0)
    one, other = embed(now), embed(later._replace(age=moved))
    real = torch.arange(one.token.shape[1]) < one.length[:, None]
    torch.testing.assert_close(one.token[real], other.token[real], rtol=1e-5, atol=1e-6)
    assert (other.age - one.age)[real].unique().tolist() == [3]


@pytest.mark.parametrize("tokens", ["items", "baskets"])
def test_padding_of_a_history_changes_no_token(tokens: str) -> None:
    given, embed = inputs(), EventToken(SIZES, WIDTH, tokens)
    real = torch.arange(8) < given.length[:, None]
    noise = {"token": 4, "kind": 1, "channel": 2, "age": 77.0, "amount": -3.0}
    columns = {
        name: torch.where(real[..., None] if name == "token" else real, getattr(given, name), value)
        for name, value in noise.items()
    }
    one, other = embed(given), embed(given._replace(**columns))
    assert torch.equal(one.length, other.length)
    shown = torch.arange(one.token.shape[1]) < one.length[:, None]
    torch.testing.assert_close(one.token[shown], other.token[shown], rtol=1e-5, atol=1e-6)


def test_dropped_events_are_a_share_of_them_and_the_rest_keeps_its_order() -> None:
    given = inputs()
    for events, baskets in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5)):
        counts = []
        for seed in range(80):
            torch.manual_seed(seed)
            dropped = drop_events(given, events, baskets)
            counts.append(dropped.length)
            for customer, length in enumerate(dropped.length.tolist()):
                ages = dropped.age[customer, :length].tolist()
                assert ages == sorted(ages, reverse=True)
                if baskets:  # a day is there with all of its events or not at all
                    assert all(ages.count(a) == given.age[customer].tolist().count(a) for a in ages)
        share = torch.stack(counts).float().mean(0)[1:] / given.length[1:]
        assert ((share - (1 - events - baskets)).abs() < 0.2).all()
        if not events and not baskets:
            assert all(torch.equal(getattr(dropped, name), getattr(given, name)) for name in (*HISTORY, "length"))


def build(world: dict[str, Any], composed: Callable[..., Any], *settings: str) -> tuple[OfferNet, Inputs]:
    torch.manual_seed(3)
    sizes = world["task"].feature.sizes(world["examples"].vocabulary)
    model: OfferNet = instantiate(composed("train", "model.width=8", "model.members=1", *settings).model, sizes=sizes)
    features, market_stats, row = world["examples"].cutoffs_data[-1]
    return model, to_tensors(features.inputs(market_stats, row[:6]))


@pytest.mark.parametrize("encoder", ["hstu", "gru"])
def test_a_closed_gate_leaves_the_encoder_out_until_it_learns(
    small_world: dict[str, Any], composed: Callable[..., Any], encoder: str
) -> None:
    model, given = build(small_world, composed, f"model/encoder={encoder}", "model.closed_gate=true")
    other = given._replace(kind=(given.kind + 1) % 5, amount=given.amount + 3)
    model.eval()
    assert torch.equal(model(given).state, model(other).state)
    model(given).state.square().sum().backward()
    (member,) = model.members
    gate = member.encoder_gate
    assert isinstance(gate, torch.nn.Parameter) and gate.grad is not None and gate.grad.abs().min() > 0
    with torch.no_grad():
        gate.add_(0.1)
    assert not torch.equal(model(given).state, model(other).state)


def test_dropout_of_events_is_for_training_alone(small_world: dict[str, Any], composed: Callable[..., Any]) -> None:
    settings = ("model/encoder=mean_pool", "model.basket_dropout=0.5", "model.dropout=0")
    model, given = build(small_world, composed, *settings)
    assert torch.equal(model.eval()(given).state, model(given).state)
    assert not torch.equal(model.train()(given).state, model(given).state)


@pytest.mark.parametrize("name", ["event_dropout", "basket_dropout"])
def test_a_dropout_of_everything_is_refused(
    small_world: dict[str, Any], composed: Callable[..., Any], name: str
) -> None:
    with pytest.raises(InstantiationException, match=f"model.{name}=1.0 is no share to leave out; give 0 or more and"):
        build(small_world, composed, f"model.{name}=1.0")
