"""Losses of pretraining: each reads what it should, and histories of any length give a finite one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from propensity.data.batch import BlockSizes, Inputs, Sizes
from propensity.errors import ConfigurationError
from propensity.model.encoder.gru import Gru
from propensity.model.encoder.hstu import Hstu
from propensity.model.encoder.linear_recurrence import LinearRecurrence
from propensity.model.encoder.time_filters import TimeFilters
from propensity.pretrain.batch import PretrainBatch
from propensity.pretrain.network import EDGES, PretrainNet, Weights, visit_loss, without_day

NONE = BlockSizes(0)
SIZES = Sizes((20, 5), 8, 3, NONE, NONE, NONE, 9, 4, 0, ())
ALL = Weights(1.0, 1.0, 1.0, 1.0)
ENCODERS: dict[str, Any] = {
    "hstu": lambda width: Hstu(width, dropout=0.0),
    "baskets": lambda width: Hstu(width, dropout=0.0, tokens="baskets"),
    "linear_recurrence": lambda width: LinearRecurrence(width, dropout=0.0),
    "time_filters": lambda width: TimeFilters(width, dropout=0.0),
}


def network(encoder: str = "hstu") -> PretrainNet:
    torch.manual_seed(0)
    return PretrainNet(SIZES, 8, ENCODERS[encoder], torch.tensor([1, 2, 3])).eval()


def inputs_of(age: Tensor, length: Tensor) -> Inputs:
    """Histories with random items."""
    torch.manual_seed(1)
    shape = age.shape
    fields: dict[str, Tensor] = {
        "token": torch.stack([torch.randint(0, 20, shape), torch.randint(0, 5, shape)], dim=-1).int(),
        "kind": torch.zeros(shape, dtype=torch.int32),
        "channel": torch.randint(0, 3, shape).int(),
        "age": age,
        "amount": torch.rand(shape) * 9,
        "length": length,
        "season": torch.zeros(9),
    }
    return Inputs(**{name: fields.get(name, torch.zeros(0)) for name in Inputs._fields})


def batch_of(customers: int = 6, events: int = 12) -> PretrainBatch:
    """One customer has a single event, and one has all events on a day."""
    age = torch.arange(events * 10, 0, -10).float().repeat(customers, 1)
    age[1:2] = 40.0
    length = torch.full((customers,), events)
    length[0] = 1
    query = torch.tensor([30.0, 45.0]).repeat(customers, 1)
    masked = torch.full((customers,), 50.0)
    masked[:2] = 0.0
    torch.manual_seed(2)
    bought = (torch.rand(customers, 2, 3, 3) < 0.4).float()
    basket = (torch.rand(customers, 3) < 0.4).float()
    wait = torch.tensor([5.0, math.inf]).repeat(customers, 1)
    valid = torch.ones(customers, 2, dtype=torch.bool)
    slices = torch.rand(customers, 2, 2)
    return PretrainBatch(inputs_of(age, length), query, valid, bought, wait, masked, basket, slices)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_task_has_a_finite_loss_and_gradients_for_the_encoder(encoder: str) -> None:
    model = network(encoder)
    terms = model.losses(batch_of(), ALL)
    assert set(terms.parts) == {"next_period", "next_visit", "masked_basket", "contrastive"}
    for part in terms.parts.values():
        assert part.isfinite() and part > 0
        grads = torch.autograd.grad(part, list(model.encoder.parameters()), allow_unused=True, retain_graph=True)
        assert any(grad is not None and grad.abs().sum() > 0 for grad in grads)


def test_a_task_without_a_weight_is_not_computed_and_the_total_is_weighted() -> None:
    terms = network().losses(batch_of(), Weights(2.0, 0.0, 3.0, 0.0))
    assert set(terms.parts) == {"next_period", "masked_basket"}
    expected = 2 * terms.parts["next_period"] + 3 * terms.parts["masked_basket"]
    torch.testing.assert_close(terms.total, expected)


def test_no_weight_at_all_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="next_period=0, .*contrastive=0 leave nothing to learn"):
        Weights(0.0, 0.0, 0.0, 0.0)


def test_an_encoder_that_is_not_causal_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Gru is none; choose model/encoder=hstu, linear_recurrence"):
        PretrainNet(SIZES, 8, Gru, torch.tensor([1]))


def test_histories_without_an_event_and_without_any_valid_question_give_a_loss_of_zero() -> None:
    batch = batch_of()
    empty = batch.history._replace(length=torch.zeros_like(batch.history.length))
    nothing = batch._replace(history=empty, valid=torch.zeros_like(batch.valid), masked=torch.zeros_like(batch.masked))
    terms = network().losses(nothing, ALL)
    assert terms.total == 0
    terms.total.backward()


def test_the_next_period_reads_no_event_of_its_query_or_later() -> None:
    model, batch = network(), batch_of()
    loss = Weights(1.0, 1.0, 0.0, 0.0)
    other = batch.history._replace(amount=torch.where(batch.history.age > 45, batch.history.amount, 99.0))
    only = batch._replace(valid=batch.valid & torch.tensor([False, True]))  # queries 45 days before the end
    before = model.losses(only, loss).total
    torch.testing.assert_close(model.losses(only._replace(history=other), loss).total, before, rtol=0, atol=0)
    earlier = batch.history._replace(amount=torch.where(batch.history.age > 45, 99.0, batch.history.amount))
    assert model.losses(only._replace(history=earlier), loss).total != before


def test_the_masked_basket_is_predicted_from_all_days_but_its_own() -> None:
    model, batch, loss = network(), batch_of(), Weights(0.0, 0.0, 1.0, 0.0)
    before = model.losses(batch, loss).total
    age, amount = batch.history.age, batch.history.amount
    hidden = batch.history._replace(amount=torch.where(age == 50, 99.0, amount))
    torch.testing.assert_close(model.losses(batch._replace(history=hidden), loss).total, before, rtol=0, atol=0)
    for near in (40, 60):
        shown = batch.history._replace(amount=torch.where(age == near, 99.0, amount))
        assert model.losses(batch._replace(history=shown), loss).total != before


def test_leaving_out_a_day_keeps_the_order_of_the_others() -> None:
    history = inputs_of(torch.tensor([[9.0, 5.0, 5.0, 2.0, 0.0]]), torch.tensor([4]))
    left = without_day(history, torch.tensor([5.0]))
    assert left.length.tolist() == [2] and left.age[0, :2].tolist() == [9.0, 2.0]
    torch.testing.assert_close(left.token[0, :2], history.token[0, [0, 3]])


def test_the_loss_of_the_waiting_time_is_that_of_hazards_and_leaves_out_what_the_end_cuts_off() -> None:
    def loss(wait: float, seen: float, logit: float = 0.0) -> float:
        batch = batch_of(1)._replace(
            query=torch.tensor([[seen]]), wait=torch.tensor([[wait]]), valid=torch.tensor([[True]])
        )
        return float(visit_loss(torch.full((1, 1, len(EDGES) - 1), logit), batch))

    high, low = math.log1p(math.exp(-2.0)), math.log1p(math.exp(2.0))
    assert loss(3.0, 200.0, 2.0) == pytest.approx(high)  # in the first step, and later ones do not count
    assert loss(10.0, 200.0, 2.0) == pytest.approx((low + high) / 2)
    assert loss(math.inf, 30.0, 2.0) == pytest.approx(low)  # three steps closed without a purchase
    assert loss(math.inf, 5.0, 2.0) == 0.0  # no step closed by the end


def test_slices_of_one_customer_are_found_among_those_of_others_after_training() -> None:
    model, batch = network().train(), batch_of(16, 24)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        total = model.losses(batch, Weights(0.0, 0.0, 0.0, 1.0)).total
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < 0.7 * losses[0]
