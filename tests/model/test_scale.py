"""Laws of scaling: present values are standardised, and values stay in the range of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from propensity.model.scale import (
    KNOTS,
    RANGE,
    SPREAD,
    FeatureScaler,
    Standardisation,
    quantiles,
    ranks,
    signed_log,
)


def test_scales_standardise_what_is_present_and_flag_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.lognormal(size=(500, 3)))
    x[::3, 1] = torch.nan
    x[:, 2] = 4.0
    scale = FeatureScaler(3, optional=(1,))
    scale.fit(x)
    y = scale(x)
    logs = signed_log(x[:, 0])
    torch.testing.assert_close(y[:, 0], (logs - logs.mean()) / logs.std(correction=0), rtol=1e-5, atol=1e-5)
    assert (y[::3, 1] == 0).all() and abs(float(y[:, 1].mean())) < 1e-5
    assert (y[:, 2].abs() < 1e-6).all(), "a constant column is scaled to 0"
    assert torch.equal(y[:, 3].bool(), torch.isnan(x[:, 1]))


def test_values_outside_the_training_range_count_as_its_extremes() -> None:
    x = torch.from_numpy(np.random.default_rng(1).lognormal(size=(400, 2)).astype(np.float32))
    scale = FeatureScaler(2, ranked=(1,))
    scale.fit(x)
    lowest, highest = scale(x.amin(0)), scale(x.amax(0))
    torch.testing.assert_close(scale(torch.full((2,), 1e6)), highest)
    torch.testing.assert_close(scale(torch.full((2,), -1e6)), lowest)
    assert (lowest < 0).all() and (highest > 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_rank_is_linear_between_knots(seed: int) -> None:
    rng = np.random.default_rng(seed)
    column = torch.from_numpy(rng.normal(size=300) ** 3)
    knots = quantiles(column)
    asked = torch.from_numpy(rng.normal(size=(50, 1)) * 2)
    expected = np.interp(asked[:, 0].numpy(), knots.numpy(), np.linspace(-SPREAD, SPREAD, KNOTS))
    np.testing.assert_allclose(ranks(asked, knots[:, None])[:, 0].numpy(), expected, atol=1e-9)


def test_ranks_leave_out_zeros_and_missing_values() -> None:
    """Neither missing values nor the many zeros of what never happened take places, and a missing value has none."""
    there = torch.arange(1, KNOTS + 1, dtype=torch.float64)
    rare = torch.cat([torch.zeros(900, dtype=torch.float64), torch.full((50,), torch.nan, dtype=torch.float64), there])
    assert torch.equal(quantiles(rare), there)
    scale = FeatureScaler(1, ranked=(0,))
    scale.fit(rare[:, None])
    y = scale(torch.tensor([[float("nan")], [(KNOTS + 1) / 2], [float(KNOTS)], [0.0]]))[:, 1]
    torch.testing.assert_close(y, torch.tensor([0.0, 0.0, SPREAD, -SPREAD]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("empty", [0.0, float("nan")])
def test_a_column_without_values_is_finite(empty: float) -> None:
    scale = FeatureScaler(1, ranked=(0,))
    scale.fit(torch.full((10, 1), empty))
    assert torch.isfinite(scale(torch.tensor([[empty], [2.0]]))).all()


def test_ranks_do_not_amplify_the_rounding_of_a_nearly_constant_column() -> None:
    random = np.random.default_rng(5)
    column = torch.from_numpy(np.float32(1) + 2e-7 * random.normal(size=500)).float()
    knots = quantiles(column).float()[:, None]
    beside = ranks(column[:, None] * (1 + 1e-7), knots) - ranks(column[:, None], knots)
    assert beside.abs().max() < 1e-6


def test_comparisons_within_the_offer_follow_the_columns_and_stay_in_a_range() -> None:
    """The raw columns of 40 customers and two offers, of which one is not compared."""
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(40, 2, 3)).astype(np.float32)) * 1e3
    x[:5, :, 1] = torch.nan
    scale, plain = FeatureScaler(3, optional=(1,), money=(2,), unit=8.0, within_offer=True), FeatureScaler(3, (1,))
    logs = signed_log(x / torch.tensor([1.0, 1.0, 8.0]))
    mean, inverse = logs.nan_to_num().mean(0), torch.tensor([[2.0], [0.0]]).expand(2, 3)
    y = scale(x, Standardisation(mean, inverse))
    assert y.shape[-1] == scale.size == plain.size + 3
    compared, z = y[..., plain.size :], torch.nan_to_num(logs - mean) * inverse
    assert (compared[:, 1] == 0).all() and (compared[:5, 0, 1] == 0).all() and float(compared.abs().max()) < RANGE
    assert torch.equal(compared[:, 0].argsort(dim=0)[:, [0, 2]], z[:, 0].argsort(dim=0)[:, [0, 2]])
    small = z.abs() < 0.1
    torch.testing.assert_close(compared[small], z[small], rtol=1e-3, atol=1e-6)
