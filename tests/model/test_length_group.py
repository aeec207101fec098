"""Groups of similar length hold all histories, little padding, and change nothing that an encoder says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from propensity.config import conf_folder
from propensity.data.batch import BlockSizes, Inputs, Sizes
from propensity.feature.calendar import season
from propensity.model.length_group import FEWEST, SHARE, length_groups
from propensity.model.member import EnsembleMember
from propensity.model.repeat.mlp import RepeatMLP

SIZES = Sizes((5, 7), 5, 3, BlockSizes(0), BlockSizes(0), BlockSizes(0), 9, 6, 4, (1, 2))
ENCODERS = sorted(path.stem for path in (conf_folder() / "model/encoder").glob("*.yaml") if path.stem != "none")


def histories() -> Inputs:
    """None, one event, 1,024 events, and a few hundred: several groups."""
    rng = np.random.default_rng(4)
    length = rng.permutation(np.concatenate([[0, 1, 1024, 700], rng.integers(2, 400, 26)]))
    real = np.arange(1024) < length[:, None]
    age = np.where(real, np.sort(rng.integers(1, 700, real.shape), axis=1)[:, ::-1], 0)
    columns: dict[str, Any] = {
        "token": rng.integers(0, 5, (*real.shape, 2)),
        "kind": rng.integers(0, 5, real.shape),
        "channel": rng.integers(0, 3, real.shape),
        "age": age.astype(np.float32),
        "amount": rng.gamma(2.0, 1.0, real.shape).astype(np.float32),
        "length": length,
        "season": season(19_000, 7),
    }
    empty = torch.zeros(0)
    return Inputs(*(torch.from_numpy(columns[name]) if name in columns else empty for name in Inputs._fields))


def member(encoder: str) -> EnsembleMember:
    """In training, without dropout."""
    torch.manual_seed(3)
    settings = instantiate(OmegaConf.load(conf_folder() / f"model/encoder/{encoder}.yaml"))
    built = EnsembleMember(SIZES, 2, 3, 1, 8, settings, RepeatMLP, None, None, None, 4, 0.0).train()
    for part in built.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        if isinstance(part, torch.nn.MultiheadAttention):
            part.dropout = 0.0
    return built


@pytest.mark.parametrize("seed", range(20))
def test_groups_hold_each_history_once_and_little_padding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    length = rng.lognormal(4.0, 1.5, rng.integers(0, 200)).astype(np.int64).clip(0, 1024)
    groups = length_groups(length)
    assert sorted(np.concatenate(groups).tolist() if groups else []) == list(range(length.size))
    for rows in groups:
        events, slots = int(length[rows].sum()), int(length[rows].max()) * rows.size
        assert events >= SHARE * slots or length[rows[:-1]].sum() < FEWEST


@pytest.mark.parametrize("encoder", ENCODERS)
def test_groups_change_neither_states_nor_gradients(encoder: str) -> None:
    network, inputs = member(encoder), histories()
    assert len(length_groups(inputs.length.numpy())) > 2
    weight = torch.randn(inputs.length.numel(), 8)
    grouped, padded = network.encode(inputs), network.encode_padded(inputs)
    torch.testing.assert_close(grouped, padded, rtol=0, atol=1e-5)
    assert network.encoder is not None
    parts = list(network.encoder.parameters())
    for one, other in zip(
        *(torch.autograd.grad((state * weight).sum(), parts, allow_unused=True) for state in (grouped, padded)),
        strict=True,
    ):
        if one is not None or other is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("encoder", ["hstu", "linear_recurrence", "time_filters"])
def test_groups_change_no_state_at_several_cutoffs(encoder: str) -> None:
    network, inputs = member(encoder), histories()
    query = torch.tensor([0.0, 14.0, 200.0]).expand(inputs.length.numel(), -1)
    hidden = torch.zeros_like(query)
    hidden[::3] = 30.0
    grouped = network.encode_at(inputs, query, hidden)
    torch.testing.assert_close(grouped, network.eval().encode_at(inputs, query, hidden), rtol=0, atol=1e-5)
