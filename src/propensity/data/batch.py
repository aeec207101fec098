"""Batch types that pass from the log to the model. A batch has one cutoff: its offers, context and season are shared.

Shapes: B customers, L events of the history, M offers, P pair columns, F customer columns, C context columns,
A offer attributes, K item attributes, S season terms; for `Outcomes`, K channels with purchases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Empty = Callable[[Sequence[int], Any], "np.ndarray"]  # makes an array of a shape and type, as numpy.empty

HISTORY = ("token", "kind", "channel", "age", "amount")  # the fields of `Inputs` that hold events


class Inputs(NamedTuple):
    """Model inputs: everything visible at the cutoff. Undefined values are NaN."""

    token: Tensor  # (B, L, K) int32, attribute codes of the items of the last events, oldest first
    kind: Tensor  # (B, L) int32, event kind
    channel: Tensor  # (B, L) int32, channel code, 0 for none
    age: Tensor  # (B, L) float32, days from the event to the cutoff
    amount: Tensor  # (B, L) float32, revenue of the event
    length: Tensor  # (B,) int64, number of events; later positions are padding
    pair: Tensor  # (B, M, P) float32, customer-offer columns; NaN where undefined
    customer_features: Tensor  # (B, F) float32, customer columns; NaN where undefined
    context: Tensor  # (M, C) float32, market columns of the offer at the cutoff; NaN where undefined
    season: Tensor  # (S,) float32, calendar terms of the cutoff
    offer: Tensor  # (M,) int64, offer code, 0 for an offer that is not in the vocabulary
    attribute: Tensor  # (M, A) float32, offer attributes
    standardisation: Tensor  # (M, 2, P) float32, mean and inverse standard deviation of the signed logs of `pair` among
    # the customers for each offer, both 0 where there is none; (M, 2, 0) without the group within_offer


class Outcomes(NamedTuple):
    """Labels: what happened in the horizon."""

    bought: Tensor  # (B, M) float32, 0 or 1
    revenue: Tensor  # (B, M) float32, currency, net of returns
    visit: Tensor  # (B,) float32, 1 if anything was bought
    channel: Tensor  # (B, K) float32, purchase lines by channel


class Batch(NamedTuple):
    """One training batch with the weight of each offer at its cutoff."""

    inputs: Inputs
    outcomes: Outcomes
    weight: Tensor  # (M,), or (K,) with `place`
    place: Tensor | None = None  # (K,) int64, flat positions in (B, M) of the sampled pairs; None for all pairs.
    # With `place`, pair columns have shape (K, P), bought and revenue have shape (K,).


class BlockSizes(NamedTuple):
    """Columns of one block of inputs: how many, and the indices of those that are scaled or read in a special way.

    Parameters
    ----------
    columns : int
        Number of columns.
    optional : tuple of int
        Columns for which a flag says where they are missing.
    ranked : tuple of int
        Columns whose rank in the training data is given beside their scaled logarithm.
    gate : tuple of int
        Columns that the gate between the experts reads, in its order.
    money : tuple of int
        Columns in the log's currency.
    within_offer : bool
        Whether each column is also given as compared among the customers for the same offer.
    """

    columns: int
    optional: tuple[int, ...] = ()
    ranked: tuple[int, ...] = ()
    gate: tuple[int, ...] = ()
    money: tuple[int, ...] = ()
    within_offer: bool = False


class Sizes(NamedTuple):
    """Sizes that are known after preparation and set the shapes of a model's parameters."""

    tokens: tuple[int, ...]  # number of codes of each item attribute
    kinds: int
    channels: int
    pair: BlockSizes
    customer: BlockSizes
    context: BlockSizes
    season: int
    offers: int  # number of offer codes, including the unknown
    attributes: int
    sold_through: tuple[int, ...]  # codes of the channels with purchases
    unit: float = 1.0  # revenue that counts as 1, in the log's currency
