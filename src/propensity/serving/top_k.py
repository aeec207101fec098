"""The best customers of each offer out of a stream of blocks, without ever holding the matrix.

N customers, M offers, K kept. Equal scores are ordered by a hash of the customer's id.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from propensity.atomic import whole_file


class TopK:
    """Up to 2 K candidates of each offer; once they are that many, the best K stay and the last of them sets the bar.

    Notable: what is kept depends neither on the order of the blocks nor on where a stream was interrupted.
    """

    def __init__(self, offers: int, kept: int, tie_break: np.ndarray) -> None:
        self.kept, self.tie_break = kept, tie_break
        self.score = np.empty((offers, 2 * kept), np.float32)
        self.revenue = np.empty((offers, 2 * kept), np.float32)
        self.row = np.empty((offers, 2 * kept), np.int64)
        self.count = np.zeros(offers, np.int64)
        self.bar = np.full(offers, -np.inf, np.float32)

    def add(self, rows: np.ndarray, score: np.ndarray, revenue: np.ndarray) -> None:
        """Customers `rows` (B,), their scores and expected revenue (B, M)."""
        done = 0
        while done < rows.size:
            done += fill(
                *(rows[done:], score[done:], revenue[done:]),
                *(self.score, self.revenue, self.row, self.count, self.bar),
            )
            for offer in np.flatnonzero(self.count == 2 * self.kept):
                self._shrink(int(offer))

    def _shrink(self, offer: int) -> None:
        best = self._order(offer)[: self.kept]
        for values in (self.score, self.revenue, self.row):
            values[offer, : best.size] = values[offer, best]
        self.count[offer] = best.size
        self.bar[offer] = self.score[offer, best.size - 1]

    def _order(self, offer: int) -> np.ndarray:
        size = self.count[offer]
        return np.lexsort((self.tie_break[self.row[offer, :size]], -self.score[offer, :size]))

    def of(self, offer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of the best customers of an offer, best first, their scores and expected revenue: (K,) each."""
        best = self._order(offer)[: self.kept]
        return self.row[offer, best], self.score[offer, best], self.revenue[offer, best]

    def save(self, path: Path, done: int) -> None:
        """What is known after `done` parts of the stream."""
        state = {name: getattr(self, name) for name in ("score", "revenue", "row", "count", "bar")}
        with whole_file(path) as draft, draft.open("wb") as file:
            np.savez(file, done=done, **state)

    def load(self, path: Path) -> int:
        """Goes on from a saved state; returns the number of parts that it knows."""
        with np.load(path, allow_pickle=False) as state:
            for name in ("score", "revenue", "row", "count", "bar"):
                getattr(self, name)[:] = state[name]
            return int(state["done"])


@njit(cache=True, nogil=True)
def fill(
    rows: np.ndarray,
    score: np.ndarray,
    revenue: np.ndarray,
    best: np.ndarray,
    best_revenue: np.ndarray,
    best_row: np.ndarray,
    count: np.ndarray,
    bar: np.ndarray,
) -> int:
    """Takes whoever reaches the bar of an offer, until an offer is full; returns how many customers were looked at."""
    for b in range(rows.size):
        full = False
        for m in range(count.size):
            if score[b, m] >= bar[m]:
                k = count[m]
                best[m, k], best_revenue[m, k], best_row[m, k] = score[b, m], revenue[b, m], rows[b]
                count[m] = k + 1
                full = full or k + 1 == best.shape[1]
        if full:
            return b + 1
    return rows.size
