"""Which customer and which offer each row of pair columns belongs to."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Pairs(NamedTuple):
    """All B x M pairs, laid out (B, M); or K of them, laid out (K,), with the `row` (K,) and `offer` (K,) of each.

    What belongs to a customer or an offer is computed once for each, and met with the pairs' columns last.
    """

    row: Tensor | None = None
    offer: Tensor | None = None

    @classmethod
    def at(cls, place: Tensor | None, offers: int) -> Pairs:
        """The pairs at `place` (K,), flat positions in (B, M); None: all."""
        return cls() if place is None else cls(place // offers, place % offers)

    def of_customer(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, 1, ...) or (K, ...)."""
        return x[:, None] if self.row is None else x.index_select(0, self.row)

    def of_offer(self, x: Tensor) -> Tensor:
        """(M, ...) -> itself, or (K, ...)."""
        return x if self.offer is None else x.index_select(0, self.offer)

    def of_both(self, x: Tensor) -> Tensor:
        """(B, M) -> itself, or (K,)."""
        return x if self.row is None or self.offer is None else x[self.row, self.offer]
