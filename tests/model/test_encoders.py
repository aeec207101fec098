"""Every encoder in conf/model/encoder keeps the same promises, from the moment its YAML exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from propensity.config import conf_folder
from propensity.errors import ConfigurationError
from propensity.model.encoder.transformer import Transformer

WIDTH = 8
NAMES = sorted(path.stem for path in (conf_folder() / "model/encoder").glob("*.yaml") if path.stem != "none")


@pytest.fixture(params=NAMES)
def encoder(request: pytest.FixtureRequest, composed: Callable[..., Any]) -> nn.Module:
    torch.manual_seed(0)
    cfg = composed("train", f"model/encoder={request.param}")
    return instantiate(cfg.model["encoder"])(width=WIDTH).eval()


@pytest.fixture
def events() -> tuple[Tensor, Tensor]:
    """Lengths 0, 1, some and all of 7."""
    torch.manual_seed(1)
    return torch.randn(4, 7, WIDTH), torch.tensor([0, 1, 4, 7])


def test_a_customer_without_history_gets_a_finite_state(encoder: nn.Module, events: tuple[Tensor, Tensor]) -> None:
    state = encoder(*events)
    assert state.shape == (4, WIDTH)
    assert torch.isfinite(state).all()


def test_padding_changes_nothing(encoder: nn.Module, events: tuple[Tensor, Tensor]) -> None:
    event, length = events
    longer = torch.cat([event, torch.full((4, 5, WIDTH), 9.0)], dim=1)
    position = torch.arange(7)
    noisy = torch.where((position < length[:, None])[..., None], event, -7.0)
    for other in (longer, noisy):
        torch.testing.assert_close(encoder(other, length), encoder(event, length), rtol=1e-5, atol=1e-6)


def test_a_customer_does_not_see_the_others(encoder: nn.Module, events: tuple[Tensor, Tensor]) -> None:
    event, length = events
    for row in range(4):
        alone = encoder(event[row : row + 1], length[row : row + 1])
        torch.testing.assert_close(alone, encoder(event, length)[row : row + 1], rtol=1e-5, atol=1e-6)


def test_every_real_event_counts(encoder: nn.Module, events: tuple[Tensor, Tensor]) -> None:
    event, length = events
    event = event.clone().requires_grad_()
    encoder(event, length).square().sum().backward()
    assert event.grad is not None
    moved = event.grad.abs().sum(-1) > 0
    assert (moved == (torch.arange(7) < length[:, None])).all()


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a width of 30 cannot be shared by 4 heads"):
        Transformer(width=30, heads=4)


def test_weights_learn(encoder: nn.Module, events: tuple[Tensor, Tensor]) -> None:
    encoder(*events).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())
