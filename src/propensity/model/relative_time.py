"""How attention knows the days between two tokens. Only differences of times have an effect.

Legend: B customers, H heads, R rows that attend, L tokens, K dimensions of a head, F periods.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from propensity.errors import ConfigurationError

DAYS = 4096  # longer times between two tokens count as so many days
KNOTS = 17  # of the log age, of the days 0 to DAYS
PERIODS = (7, 14, 28, 56, 91, 182, 364, 728)  # days
LONGEST = 9  # doublings of a week, of the longest period of a rotation


class RelativeTime(nn.Module):
    """Queries and keys with their times, and a term for each pair of a row and a token. This base ignores times.

    Parameters
    ----------
    heads : int
        H.
    head_width : int
        K.
    """

    def __init__(self, heads: int, head_width: int) -> None:
        super().__init__()

    def rotate(self, x_BHLK: Tensor, age_BL: Tensor, row: bool) -> Tensor:
        """Queries (`row`) or keys whose inner products depend on the difference of their times."""
        return x_BHLK

    def bias(self, row_BR: Tensor, age_BL: Tensor) -> Tensor | None:
        """A term (B, H, R, L) that is added to the inner products; None: none."""
        return None


class LogAge(RelativeTime):
    """A term of each head that is piecewise linear in the logarithm of 1 plus the days between."""

    hat: Tensor

    def __init__(self, heads: int, head_width: int) -> None:
        super().__init__(heads, head_width)
        place = torch.log1p(torch.arange(DAYS + 1, dtype=torch.float32)) / math.log1p(DAYS) * (KNOTS - 1)
        hat = (1 - (place[:, None] - torch.arange(KNOTS)).abs()).clamp(min=0.0)
        self.register_buffer("hat", hat, persistent=False)
        self.knot = nn.Parameter(torch.zeros(KNOTS, heads))

    def bias(self, row_BR: Tensor, age_BL: Tensor) -> Tensor | None:
        between_BRL = (age_BL[:, None] - row_BR[..., None]).clamp(0, DAYS).long()
        by_day = self.hat @ self.knot
        return nn.functional.embedding(between_BRL, by_day).permute(0, 3, 1, 2)


class FourierTime(RelativeTime):
    """A term of each head that is a Fourier series of the days between, of `PERIODS`."""

    def __init__(self, heads: int, head_width: int) -> None:
        super().__init__(heads, head_width)
        self.cosine = nn.Parameter(torch.zeros(heads, 1, len(PERIODS)))
        self.sine = nn.Parameter(torch.zeros(heads, 1, len(PERIODS)))

    def rotate(self, x_BHLK: Tensor, age_BL: Tensor, row: bool) -> Tensor:
        angle_B1LF = angles(age_BL, torch.tensor(PERIODS, device=age_BL.device))[:, None]
        cosine, sine = angle_B1LF.cos(), angle_B1LF.sin()
        if not row:
            shape = (*x_BHLK.shape[:-1], len(PERIODS))
            return torch.cat([x_BHLK, cosine.expand(shape), sine.expand(shape)], dim=-1)
        by_cosine = self.cosine * cosine - self.sine * sine
        by_sine = self.cosine * sine + self.sine * cosine
        return torch.cat([x_BHLK, by_cosine, by_sine], dim=-1)


class RotaryTime(RelativeTime):
    """Pairs of dimensions are rotated by the time, with periods that are doublings of a week.

    Notes
    -----
    Source: Su et al., RoFormer, 2021, with days in place of positions.

    Raises
    ------
    ConfigurationError
        For an odd number of dimensions of a head.
    """

    def __init__(self, heads: int, head_width: int) -> None:
        super().__init__(heads, head_width)
        if head_width % 2:
            raise ConfigurationError(
                f"a head of {head_width} dimensions cannot be rotated in pairs; change model.encoder.heads or "
                "model.encoder.time"
            )
        half = head_width // 2
        self.periods = [7 * 2 ** round(k * LONGEST / max(half - 1, 1)) for k in range(half)]

    def rotate(self, x_BHLK: Tensor, age_BL: Tensor, row: bool) -> Tensor:
        angle = angles(age_BL, torch.tensor(self.periods, device=age_BL.device))[:, None]
        first, second = x_BHLK.chunk(2, dim=-1)
        cosine, sine = angle.cos(), angle.sin()
        return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def angles(age_BL: Tensor, period_F: Tensor) -> Tensor:
    """The phase of each time in each period, (B, L, F); whole days lose no precision, however many they are."""
    return torch.remainder(age_BL[..., None], period_F) * (2 * math.pi / period_F)


TIMES: dict[str, type[RelativeTime]] = {
    "log_age": LogAge,
    "fourier": FourierTime,
    "rotary": RotaryTime,
    "none": RelativeTime,
}


def relative_time(name: str, heads: int, head_width: int) -> RelativeTime:
    """The encoding of relative time by its name; ConfigurationError for another."""
    if name not in TIMES:
        raise ConfigurationError(f"model.encoder.time={name} is no encoding of time; choose one of: {', '.join(TIMES)}")
    return TIMES[name](heads, head_width)
