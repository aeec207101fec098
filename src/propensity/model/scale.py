"""Scaling of columns. The fitted values are buffers, so a checkpoint and an exported graph contain them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from propensity.model.pairs import Pairs

WIDEST = 6.0  # standard deviations from the mean
SPREAD = 1.7  # ranks lie in [-SPREAD, SPREAD], with a standard deviation of about 1 like the other inputs
KNOTS = 17  # quantiles of a column's distribution
RANGE = 3.0  # standard deviations that comparisons within the offer approach: differences far out say little
NEAREST, ROUNDING = 1e-4, 1e-6  # of a quantile, and of the largest: nearer ones are equal, or ranks amplify rounding


def signed_log(x: Tensor) -> Tensor:
    """log(1 + |x|) with the sign of x."""
    return torch.sign(x).mul_(torch.abs(x).log1p_())


class Standardisation(NamedTuple):
    """Mean signed log of K columns among the customers for an offer, and one over its standard deviation.

    Both can be broadcast to the columns (..., K).
    """

    mean: Tensor
    inverse: Tensor

    @classmethod
    def of_pairs(cls, table_M2K: Tensor, pairs: Pairs) -> Standardisation:
        """That of the offer of each pair."""
        mean_MK, inverse_MK = table_M2K.unbind(1)
        return cls(pairs.of_offer(mean_MK), pairs.of_offer(inverse_MK))


def comparisons(logs: Tensor, standardisation: Standardisation) -> Tensor:
    """Signed logs (..., K) standardised among the customers for the same offer, 0 where missing.

    The standardised value z is pulled towards 0 so that it stays within `RANGE`: z / sqrt(1 + (z / RANGE) ** 2).
    """
    z = (logs - standardisation.mean).nan_to_num_().mul_(standardisation.inverse)
    return z.mul_(z.square().mul_(RANGE**-2).add_(1.0).rsqrt_())


class FeatureScaler(nn.Module):
    """Standardised signed logs, 0 where missing; ranks of the `ranked` columns; flags for missing `optional` columns.

    With `within_offer`, also the signed logs standardised among the customers for the same offer.

    Parameters
    ----------
    columns : int
        Number of columns K.
    optional : tuple of int
        Columns for which a flag says where they are missing.
    ranked : tuple of int
        Columns whose rank in the training data is appended.
    money : tuple of int
        Columns in the log's currency, which are divided by `unit`.
    unit : float
        Revenue that counts as 1.
    within_offer : bool
        Whether columns are also compared within the offer.

    Notes
    -----
    Shape: (..., K) with NaN -> (..., K + number of `ranked` columns + number of `optional` columns), and K more with
    `within_offer`.

    Values are clipped to the range of the training data, as trees do implicitly, so a column that grows with the
    calendar stops at the edge. Ranks separate small values of skewed columns: most affinities and most hazards are
    about a hundredth of the largest, and standardised logs would hardly tell them apart.
    """

    factor: Tensor
    mean: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor
    flagged: Tensor
    ranked: Tensor
    knots: Tensor

    def __init__(
        self,
        columns: int,
        optional: tuple[int, ...] = (),
        ranked: tuple[int, ...] = (),
        money: tuple[int, ...] = (),
        unit: float = 1.0,
        within_offer: bool = False,
    ) -> None:
        super().__init__()
        factor = torch.ones(columns)
        factor[list(money)] = 1.0 / unit
        self.register_buffer("factor", factor)
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("deviation", torch.ones(columns))
        self.register_buffer("low", torch.full((columns,), -WIDEST))
        self.register_buffer("high", torch.full((columns,), WIDEST))
        self.register_buffer("flagged", torch.tensor(optional, dtype=torch.int64))
        self.register_buffer("ranked", torch.tensor(ranked, dtype=torch.int64))
        self.register_buffer("knots", torch.zeros(KNOTS, len(ranked)))
        self.within_offer = within_offer
        self.size = columns + len(ranked) + len(optional) + within_offer * columns

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Estimates mean, deviation, range and quantiles from the values that are not NaN.

        A constant column is scaled to 0.

        Parameters
        ----------
        x : (..., K) float
            Raw columns of the training data.
        """
        rows = x.reshape(-1, x.shape[-1]) * self.factor
        flat = signed_log(rows).double()
        present = ~torch.isnan(flat)
        count = present.sum(0).clamp(min=1)
        mean = torch.where(present, flat, 0.0).sum(0) / count
        variance = torch.where(present, (flat - mean) ** 2, 0.0).sum(0) / count
        deviation = torch.where(variance > 1e-10, variance.sqrt(), 1e12)
        scaled = (flat - mean) / deviation
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        self.low.copy_(torch.where(present, scaled, math.inf).amin(0).clamp(-WIDEST, 0.0))
        self.high.copy_(torch.where(present, scaled, -math.inf).amax(0).clamp(0.0, WIDEST))
        for column, k in enumerate(self.ranked.tolist()):
            self.knots[:, column] = quantiles(rows[:, k])

    def forward(self, x: Tensor, standardisation: Standardisation | None = None) -> Tensor:
        x = x * self.factor
        logs = signed_log(x)
        scaled = (logs - self.mean).nan_to_num_().mul_(1.0 / self.deviation)
        parts = [scaled.clamp_(self.low, self.high)]
        if self.ranked.numel():
            values = x.index_select(-1, self.ranked)
            parts.append(ranks(values, self.knots).masked_fill_(torch.isnan(values), 0.0))
        if self.flagged.numel():
            parts.append(torch.isnan(x.index_select(-1, self.flagged)).to(scaled.dtype))
        if self.within_offer:
            assert standardisation is not None
            parts.append(comparisons(logs, standardisation))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def quantiles(column: Tensor) -> Tensor:
    """Quantiles of the values that are neither missing nor 0, the extremes included: (K,) -> (KNOTS,)."""
    values = column[~torch.isnan(column) & (column != 0)].double().sort().values
    if values.numel() == 0:
        return values.new_zeros(KNOTS)
    place = torch.linspace(0, values.numel() - 1, KNOTS, dtype=torch.float64).round().long()
    knots = values[place]
    size = torch.maximum(knots.abs() * NEAREST, knots.abs().max() * ROUNDING)
    for k in range(1, KNOTS):
        knots[k] = torch.where(knots[k] - knots[k - 1] > size[k], knots[k], knots[k - 1])
    return knots


def ranks(x: Tensor, knots: Tensor) -> Tensor:
    """Ranks of x (..., R) among `knots` (KNOTS, R), linear in between, in [-SPREAD, SPREAD]."""
    width = knots[1:] - knots[:-1]
    steep = torch.where(width > 0, 1.0 / width.clamp(min=1e-12), 0.0)
    passed = torch.zeros_like(x)
    for start, slope in zip(knots[:-1], steep, strict=True):
        passed += (x - start).mul_(slope).clamp_(0.0, 1.0)
    return passed.mul_(2.0 * SPREAD / (KNOTS - 1)).sub_(SPREAD)
