"""A linear recurrence over the events, with complex diagonal decay by the days between them, scanned in parallel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from propensity.errors import ConfigurationError
from propensity.model.causal import ITEMS, CausalEncoder, no_padding
from propensity.model.scan import Complex, linear_scan

SHORTEST, LONGEST = 2.0, 512.0  # half-lives before training, in the unit of time
PERIODS = (7.0, 364.0)  # shortest and longest period before training, of the half of the units that turn
TIMES = ("days", "events")


class LinearRecurrence(CausalEncoder):
    """Layers of linear recurrent units; each unit decays and turns with time.

    Parameters
    ----------
    width : int
        D; each layer has as many complex units.
    layers : int
        Number of layers.
    time : str
        `days`: units decay with the days between events; `events`: by the same at every event.
    tokens : str
        `items` or `baskets`.
    dropout : float
        Of the output of each layer.

    Raises
    ------
    ConfigurationError
        For unknown times and tokens.

    Notes
    -----
    A decay is exp(-exp(nu) + i theta) for each day, so its absolute value is below 1 for every parameter. Inputs are
    scaled such that a unit's state has the variance of its inputs. With `days` the events of one day are added up, and
    what the next layer reads is the state at the end of the day: their order has no effect. Source: Orvieto et al.,
    Resurrecting Recurrent Neural Networks for Long Sequences, ICML 2023, with time in days in place of steps.
    """

    def __init__(
        self, width: int, layers: int = 2, time: str = "days", tokens: str = ITEMS, dropout: float = 0.1
    ) -> None:
        super().__init__(width, tokens)
        if time not in TIMES:
            raise ConfigurationError(f"model.encoder.time={time} is no unit of time; choose one of: {', '.join(TIMES)}")
        self.by_days = time == "days"
        self.layers = nn.ModuleList(RecurrentLayer(width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def at(self, event_BLD: Tensor, age_BL: Tensor, query_BQ: Tensor, visible_BQ: Tensor) -> Tensor:
        event_BLD, age_BL, real_BL = no_padding(event_BLD, age_BL, visible_BQ)
        query_BQD = self.query_tokens(visible_BQ)
        last_BQ = (visible_BQ - 1).clamp(min=0)
        step_BL, since_BQ = torch.ones_like(age_BL), torch.ones_like(query_BQ)
        read_BL = None
        if self.by_days:
            step_BL = torch.cat([step_BL[:, :1], (age_BL[:, :-1] - age_BL[:, 1:]).clamp(min=0.0)], dim=1)
            since_BQ = (age_BL.gather(1, last_BQ) - query_BQ).clamp(min=0.0)
            read_BL = ends_of_days(age_BL, real_BL)
        for number, layer in enumerate(self.layers, 1):
            assert isinstance(layer, RecurrentLayer)
            state = layer.states(event_BLD, step_BL)
            at_query = taken(state, last_BQ).times(layer.decay(since_BQ))
            seen_BQ1 = (visible_BQ > 0)[..., None]
            query_BQD = layer.add(query_BQD, Complex(*(torch.where(seen_BQ1, part, 0.0) for part in at_query)))
            if number < len(self.layers):
                event_BLD = layer.add(event_BLD, state if read_BL is None else taken(state, read_BL))
        state_BQD: Tensor = self.norm(query_BQD)
        return state_BQD


class RecurrentLayer(nn.Module):
    """A recurrence and a gated output, added to what the layer reads."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        half_life = torch.logspace(math.log10(SHORTEST), math.log10(LONGEST), width)
        period = torch.logspace(math.log10(PERIODS[0]), math.log10(PERIODS[1]), width)
        turning = torch.arange(width) % 2
        self.nu = nn.Parameter((math.log(2) / half_life).log())
        self.theta = nn.Parameter(turning * 2 * math.pi / period)
        self.norm = nn.LayerNorm(width)
        self.input = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(2 * width, width)
        self.output = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def decay(self, time: Tensor) -> Complex:
        """The decay over a time (...,): (..., D)."""
        size = torch.exp(-self.nu.exp() * time[..., None])
        angle = self.theta * time[..., None]
        return Complex(size * angle.cos(), size * angle.sin())

    def states(self, event_BLD: Tensor, step_BL: Tensor) -> Complex:
        """The recurrence's states after each event."""
        scale = torch.sqrt(-torch.expm1(-2 * self.nu.exp()))
        real, imag = self.input(self.norm(event_BLD)).chunk(2, dim=-1)
        return linear_scan(self.decay(step_BL), Complex(scale * real, scale * imag))

    def add(self, x_BLD: Tensor, state: Complex) -> Tensor:
        """The layer's output for each state, added to x."""
        value, gate = self.output(gelu(self.mix(torch.cat(state, dim=-1)))).chunk(2, dim=-1)
        out_BLD: Tensor = x_BLD + self.dropout(value * gate.sigmoid())
        return out_BLD


def taken(state: Complex, place_BQ: Tensor) -> Complex:
    """The states at some steps: (B, Q, S)."""
    index = place_BQ[..., None].expand(-1, -1, state.real.shape[2])
    return Complex(*(part.gather(1, index) for part in state))


def ends_of_days(age_BL: Tensor, real_BL: Tensor) -> Tensor:
    """The place of the last event of each event's day: (B, L) int64.

    >>> ends_of_days(torch.tensor([[9.0, 9.0, 4.0, 4.0, 0.0]]), torch.tensor([[True, True, True, True, False]]))
    tensor([[1, 1, 3, 3, 4]])
    """
    place = torch.arange(age_BL.shape[1], device=age_BL.device)
    # padding has an age of 0, less than any event's
    new_BL = torch.cat([age_BL[:, :-1] != age_BL[:, 1:], torch.ones_like(real_BL[:, :1])], dim=1)
    end_BL = torch.where(new_BL, place, age_BL.shape[1] - 1)
    if torch.compiler.is_exporting():
        later_LL = place[None, :] >= place[:, None]
        return torch.where(later_LL, end_BL[:, None], age_BL.shape[1] - 1).amin(-1)
    return end_BL.flip(1).cummin(1).values.flip(1)
