"""Arrays between the log and the model. A batch has one cutoff: its customers share offers, context and season.

B customers, L last events, M offers, P pair columns, F customer columns, C context columns, A attributes, K item
attributes, S season terms; for outcomes, K channels that purchases came through. `NamedTuple`s: the loader pins them,
Lightning moves them, export flattens them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Inputs(NamedTuple):
    """Everything visible at the cutoff."""

    token: Tensor  # (B, L, K) int32, attribute codes of the items of the last events, oldest first
    kind: Tensor  # (B, L) int32, event kind
    channel: Tensor  # (B, L) int32, channel code, 0 for none
    age: Tensor  # (B, L) float32, days before the cutoff
    amount: Tensor  # (B, L) float32, revenue of the event
    length: Tensor  # (B,) int64, events that are real
    pair: Tensor  # (B, M, P) float32, customer x offer; NaN where undefined
    customer: Tensor  # (B, F) float32; NaN where undefined
    context: Tensor  # (M, C) float32, the offer's market at that date; NaN where undefined
    season: Tensor  # (S,) float32, the calendar at the cutoff
    offer: Tensor  # (M,) int64, offer code, 0 for one the model does not know by name
    attribute: Tensor  # (M, A) float32


class Outcomes(NamedTuple):
    """What happened in the horizon."""

    bought: Tensor  # (B, M) float32, 0 or 1
    revenue: Tensor  # (B, M) float32, net of returns
    visit: Tensor  # (B,) float32, 1 if anything was bought
    channel: Tensor  # (B, K) float32, purchase lines through each channel


class Batch(NamedTuple):
    """One training batch: all pairs, or K of them.

    Parameters
    ----------
    inputs, outcomes : Inputs, Outcomes
    weight : (M,) or (K,) float32
        Weight of the cutoff for each offer, or of each of K pairs.
    place : (K,) int64 or None
        Flat positions in (B, M) of the only pairs of the batch; pair columns are then (K, P), bought and revenue (K,).
        None: all pairs.
    """

    inputs: Inputs
    outcomes: Outcomes
    weight: Tensor
    place: Tensor | None = None


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
    """

    columns: int
    optional: tuple[int, ...] = ()
    ranked: tuple[int, ...] = ()
    gate: tuple[int, ...] = ()


class Sizes(NamedTuple):
    """Numbers that are known once the data are prepared, and fix the shapes of a model's parameters."""

    tokens: tuple[int, ...]  # codes of each item attribute
    kinds: int
    channels: int
    pair: BlockSizes
    customer: BlockSizes
    context: BlockSizes
    season: int
    offers: int  # offer codes, the unknown included
    attributes: int
    sold_through: tuple[int, ...]  # channel codes that purchases came through
