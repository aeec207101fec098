"""Laws of causal encoders: one pass equals separate passes, and only days before a query have an effect."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from propensity.config import conf_folder
from propensity.data.batch import BlockSizes, Inputs, Sizes
from propensity.errors import ConfigurationError
from propensity.model.causal import CausalEncoder, visible_tokens
from propensity.model.encoder import hstu, time_filters
from propensity.model.encoder.hstu import Hstu
from propensity.model.encoder.linear_recurrence import LinearRecurrence, RecurrentLayer
from propensity.model.encoder.time_filters import TimeFilters
from propensity.model.member import EnsembleMember
from propensity.model.repeat.mlp import RepeatMLP
from propensity.model.scan import Complex, linear_scan, sequential_scan

WIDTH = 8
BY_TIME: dict[str, list[str | None]] = {
    "hstu": ["log_age", "fourier", "rotary", "none"],
    "linear_recurrence": ["days", "events"],
    "time_filters": [None],
}
VARIANTS = [(name, time) for name, times in BY_TIME.items() for time in times]
OF_DAYS = [(name, time) for name, time in VARIANTS if time != "events"]
QUERIES = torch.tensor([0.0, 1.0, 14.0, 28.0, 400.0, 5000.0])


def build(variant: tuple[str, str | None]) -> CausalEncoder:
    """The encoder with parameters other than those it starts from, so that every term counts."""
    torch.manual_seed(0)
    name, time = variant
    settings = OmegaConf.load(conf_folder() / f"model/encoder/{name}.yaml")
    encoder: CausalEncoder = instantiate(settings, **({} if time is None else {"time": time}))(width=WIDTH).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


@pytest.fixture(params=VARIANTS, ids=str, scope="module")
def encoder(request: pytest.FixtureRequest) -> CausalEncoder:
    return build(request.param)


@pytest.fixture(params=OF_DAYS, ids=str, scope="module")
def encoder_of_days(request: pytest.FixtureRequest) -> CausalEncoder:
    return build(request.param)


def histories(length: tuple[int, ...] = (0, 1, 12, 12, 30, 5)) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, ages and lengths: no event, one event, all on one day, the last day, years, and a few."""
    torch.manual_seed(1)
    lengths, width = torch.tensor(length), max(length)
    age = torch.randint(1, 60, (len(length), width)).float()
    age[2:3], age[3:4] = 17.0, 1.0
    age[4:5] = torch.randint(1, 4000, (1, width)).float()
    age = age.sort(dim=1, descending=True).values
    event = torch.randn(len(length), width, WIDTH)
    real = torch.arange(width) < lengths[:, None]
    return torch.where(real[..., None], event, 7.0), torch.where(real, age, 0.0), lengths


def at(encoder: CausalEncoder, hidden: float = 0.0) -> Tensor:
    event, age, length = histories()
    query = QUERIES.expand(len(length), -1)
    return encoder.at(event, age, query, visible_tokens(age, length, query, torch.full_like(query, hidden)))


def test_every_causal_encoder_is_among_the_variants() -> None:
    causal = {path.stem for path in (conf_folder() / "model/encoder").glob("*.yaml") if "tokens:" in path.read_text()}
    assert causal == set(BY_TIME)


@pytest.mark.parametrize("hidden", [0.0, 21.0])
def test_one_pass_equals_separate_passes(encoder: CausalEncoder, hidden: float) -> None:
    event, age, _ = histories()
    together = at(encoder, hidden)
    for q, query in enumerate(QUERIES.tolist()):
        seen = (age > query + hidden).sum(1)
        most = max(int(seen.max()), 1)
        separate = encoder(event[:, :most], seen, age[:, :most] - query)
        torch.testing.assert_close(together[:, q], separate, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_TIME)
def test_gradients_of_one_pass_equal_those_of_separate_passes(name: str) -> None:
    encoder = build((name, None))
    event, age, length = histories((9, 9, 9, 9, 9, 9))
    query = torch.tensor([0.0, 9.0, 25.0]).expand(len(length), -1)
    visible = visible_tokens(age, length, query, torch.zeros_like(query))
    weight = torch.randn(len(length), 3, WIDTH)
    parameters = list(encoder.parameters())
    together = torch.autograd.grad((encoder.at(event, age, query, visible) * weight).sum(), parameters)
    separate = [torch.zeros_like(parameter) for parameter in parameters]
    for q in range(3):
        state = encoder(event, visible[:, q], age - query[:, q : q + 1])
        for total, part in zip(separate, torch.autograd.grad((state * weight[:, q]).sum(), parameters), strict=True):
            total += part
    for one, other in zip(together, separate, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_tokens_on_the_day_of_a_query_or_later_change_nothing(encoder: CausalEncoder) -> None:
    event, age, length = histories()
    expected = at(encoder)
    for q, query in enumerate(QUERIES.tolist()):
        other = torch.where((age <= query)[..., None], event * 3 - 1, event)
        queries = torch.full((len(length), 1), query)
        visible = visible_tokens(age, length, queries, torch.zeros_like(queries))
        torch.testing.assert_close(encoder.at(other, age, queries, visible)[:, 0], expected[:, q], atol=1e-5, rtol=0)


def test_a_query_does_not_see_the_others(encoder: CausalEncoder) -> None:
    event, age, length = histories()
    chosen = torch.tensor([3, 0, 3])
    query = QUERIES[chosen].expand(len(length), -1)
    visible = visible_tokens(age, length, query, torch.zeros_like(query))
    torch.testing.assert_close(encoder.at(event, age, query, visible), at(encoder)[:, chosen], atol=1e-5, rtol=0)


def test_only_differences_of_times_have_an_effect(encoder: CausalEncoder) -> None:
    event, age, length = histories()
    query = (QUERIES + 1000).expand(len(length), -1)
    moved = age + 1000 * (torch.arange(age.shape[1]) < length[:, None])
    visible = visible_tokens(moved, length, query, torch.zeros_like(query))
    torch.testing.assert_close(encoder.at(event, moved, query, visible), at(encoder), atol=1e-5, rtol=0)


def test_the_order_of_events_within_a_day_has_no_effect(encoder_of_days: CausalEncoder) -> None:
    event, age, length = histories()
    order = torch.argsort(-age + 0.5 * torch.rand_like(age), dim=1)
    assert (order != torch.arange(age.shape[1])).any() and torch.equal(age.gather(1, order), age)
    real = torch.arange(age.shape[1]) < length[:, None]
    assert torch.equal(real.gather(1, order), real)
    other = event.gather(1, order[..., None].expand_as(event))
    query = QUERIES.expand(len(length), -1)
    visible = visible_tokens(age, length, query, torch.zeros_like(query))
    torch.testing.assert_close(encoder_of_days.at(other, age, query, visible), at(encoder_of_days), atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", [each for each in OF_DAYS if each[1] != "none"], ids=str)
def test_the_days_between_events_have_an_effect(variant: tuple[str, str | None]) -> None:
    event, age, length = histories()
    encoder = build(variant)
    moved = (encoder(event, length, 9 * age) - encoder(event, length, age)).abs().amax(1)
    assert ((moved > 1e-4) == (length > 0)).all()


def test_blocks_of_rows_change_nothing(encoder: CausalEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = at(encoder)
    for module in (hstu, time_filters):
        monkeypatch.setattr(module, "AT_ONCE", 2_000)
    blocks = at(encoder)
    torch.testing.assert_close(blocks, whole, atol=1e-5, rtol=0)
    blocks.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 13, 31, 64, 100])
def test_the_parallel_scan_equals_the_recurrence(length: int) -> None:
    torch.manual_seed(length)
    size, angle = torch.rand(2, length, 3, dtype=torch.float64), torch.randn(2, length, 3, dtype=torch.float64)
    decay = Complex(*(x.requires_grad_() for x in (size * angle.cos(), size * angle.sin())))
    value = Complex(*(torch.randn(2, length, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)))
    found, expected = linear_scan(decay, value), sequential_scan(decay, value)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    parts = [*decay, *value]

    def total(states: Complex) -> Tensor:
        return (states.real.sin() + states.imag.square()).sum() + 0 * decay.real.sum() + 0 * decay.imag.sum()

    gradients = [torch.autograd.grad(total(states), parts) for states in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_recurrence_is_stable_for_every_parameter() -> None:
    layer = RecurrentLayer(WIDTH, 0.0)
    with torch.no_grad():
        layer.nu.copy_(torch.linspace(-12, 12, WIDTH))
    decay = layer.decay(torch.tensor([1.0, 100.0]))
    assert (torch.hypot(decay.real, decay.imag) < 1).all()
    states = layer.states(torch.randn(1, 50, WIDTH), torch.ones(1, 50))
    assert all(torch.isfinite(part).all() for part in states)


@pytest.mark.slow
def test_100_000_events_give_a_finite_state() -> None:
    torch.manual_seed(0)
    event, age = torch.randn(1, 100_000, 4), torch.arange(100_000, 0, -1.0)[None] // 25 + 1
    encoders = [LinearRecurrence(4).eval(), Hstu(4, layers=1).eval(), time_filters.TimeFilters(4).eval()]
    with torch.no_grad():
        for encoder in encoders:
            assert torch.isfinite(encoder(event, torch.tensor([100_000]), age)).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"width": 30}, "a width of 30 cannot be shared by 4 heads; change model.encoder.heads"),
        ({"width": 12, "time": "rotary"}, "a head of 3 dimensions cannot be rotated in pairs"),
        ({"width": 8, "time": "fuorier"}, "time=fuorier is no encoding of time; choose one of: log_age, fourier"),
        ({"width": 8, "tokens": "orders"}, "tokens=orders is no kind of token; choose one of: items, baskets"),
    ],
)
def test_settings_that_make_no_attention_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Hstu(**arguments)


def test_a_time_that_no_recurrence_knows_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="time=weeks is no unit of time; choose one of: days, events"):
        LinearRecurrence(WIDTH, time="weeks")


def test_a_rotation_does_not_lose_precision_after_many_years() -> None:
    torch.manual_seed(0)
    encoder = Hstu(WIDTH, time="rotary").eval()
    event, age = torch.randn(1, 5, WIDTH), torch.tensor([[9.0, 7.0, 7.0, 3.0, 1.0]])
    far = age + 36_500
    visible = torch.tensor([[5]])
    near_state = encoder.at(event, age, torch.zeros(1, 1), visible)
    torch.testing.assert_close(
        encoder.at(event, far, torch.full((1, 1), 36_500.0), visible), near_state, atol=1e-6, rtol=0
    )


def values_of(inputs: Inputs) -> tuple[EnsembleMember, Tensor]:
    """A network whose time filters have a channel for each value, and its states of the histories."""
    torch.manual_seed(0)
    sizes = Sizes((5, 7), 5, 3, BlockSizes(0), BlockSizes(0), BlockSizes(0), 9, 6, 4, (1, 2))
    encoder = functools.partial(TimeFilters, tokens="values", filters=3)
    member = EnsembleMember(sizes, 2, 3, 1, WIDTH, encoder, RepeatMLP, None, None, None, 4, 0.0).eval()
    return member, member.encode(inputs)


def purchases() -> Inputs:
    """Three customers: none, one event, and six of which two are no purchases; two attributes."""
    torch.manual_seed(5)
    length = torch.tensor([0, 1, 6])
    real = torch.arange(6) < length[:, None]
    age = torch.where(real, torch.tensor([300.0, 90, 21, 21, 7, 1]), torch.zeros(()))
    token = torch.stack([torch.randint(0, 5, (3, 6)), torch.randint(0, 7, (3, 6))], dim=-1)
    kind = torch.zeros(3, 6, dtype=torch.int64)
    kind[2, 2:4] = 1
    fields = {"token": token, "kind": kind, "channel": kind, "age": age, "amount": age, "length": length}
    return Inputs(**{name: fields.get(name, torch.zeros(0)) for name in Inputs._fields})


def test_filters_of_values_are_those_of_tokens_that_hold_one_value_in_each_channel() -> None:
    given = purchases()
    member, found = values_of(given)
    encoder = member.encoder
    assert isinstance(encoder, TimeFilters) and encoder.squeeze.in_features == 3 * (5 + 7)
    one_hot = torch.nn.functional.one_hot
    dense = torch.cat([one_hot(given.token[..., 0], 5), one_hot(given.token[..., 1], 7)], dim=-1).float()
    dense[given.kind != 0] = 0.0
    torch.testing.assert_close(encoder(dense, given.length, given.age), found, rtol=0, atol=1e-5)


def test_filters_of_values_read_neither_padding_nor_events_that_are_no_purchases() -> None:
    given = purchases()
    real = torch.arange(6) < given.length[:, None]
    read = (real & (given.kind == 0))[..., None]
    other = given._replace(token=torch.where(read, given.token, 4), kind=torch.where(real, given.kind, 0))
    torch.testing.assert_close(values_of(other)[1], values_of(given)[1], rtol=0, atol=1e-6)
    bought = given._replace(kind=torch.zeros_like(given.kind))
    assert not torch.allclose(values_of(bought)[1][2], values_of(given)[1][2], atol=1e-3)


def test_several_cutoffs_of_values_equal_separate_passes() -> None:
    given = purchases()
    member = values_of(given)[0]
    query = torch.tensor([0.0, 7.0, 50.0]).expand(3, -1)
    together = member.encode_at(given, query, torch.zeros_like(query))
    for q, days in enumerate(query[0].tolist()):
        earlier = ((given.age > days) & (torch.arange(6) < given.length[:, None])).sum(1)
        separate = member.encode(given._replace(age=given.age - days, length=earlier))
        torch.testing.assert_close(together[:, q], separate, rtol=0, atol=1e-5)
