"""Event and basket dropout: parts of a history that an encoder does not read in a training step."""

from __future__ import annotations

import torch
from torch import Tensor

from propensity.data.batch import HISTORY, Inputs
from propensity.model.event_token import basket_places


def drop_events(inputs: Inputs, events: float, baskets: float) -> Inputs:
    """Inputs without a random part of the histories; what is left keeps its order and its ages.

    Parameters
    ----------
    inputs : Inputs
        Of a batch.
    events : float
        Probability of each event to be left out, in [0, 1).
    baskets : float
        Probability of each day of a customer to be left out with all of its events, in [0, 1).

    Returns
    -------
    Inputs
        With other histories and lengths; positions past the new length hold events that were left out.
    """
    place_BL, real_BL = basket_places(inputs.age, inputs.length)
    chance_BL, chance_of_day_BL = torch.rand_like(inputs.age), torch.rand_like(inputs.age)
    keep_BL = real_BL & (chance_BL >= events) & (chance_of_day_BL.gather(1, place_BL) >= baskets)
    order_BL = torch.argsort((~keep_BL).to(torch.int8), dim=1, stable=True)
    columns = {name: _ordered(getattr(inputs, name), order_BL) for name in HISTORY}
    return inputs._replace(length=keep_BL.sum(1), **columns)


def _ordered(x: Tensor, order_BL: Tensor) -> Tensor:
    """A column (B, L) or (B, L, K) in another order of its events."""
    index = order_BL if x.ndim == 2 else order_BL[..., None].expand_as(x)
    return x.gather(1, index)
