"""The K highest-scored customers of each offer, from blocks of scores, without storing the whole matrix.

B customers of a block, M offers. Equal scores are ordered by a hash of the customer id.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numba import njit

from propensity.atomic import whole_file
from propensity.ingest.source.unfold import check_arrays

STATE = ("score", "revenue", "row", "count", "threshold")


class TopK:
    """Streaming selection of the K highest scores of each offer.

    Parameters
    ----------
    offers : int
        Number of offers, M.
    k : int
        Customers to keep per offer.
    tie_break : ndarray of shape (N,)
        Rank of each customer among equal scores; lower is first.

    Notes
    -----
    A buffer holds up to 2 K candidates per offer. When it is full, the best K stay, and the lowest of their scores
    becomes the threshold for further candidates. The result depends neither on the order of the blocks nor on
    interruptions.
    """

    def __init__(self, offers: int, k: int, tie_break: np.ndarray) -> None:
        self.k, self.tie_break = k, tie_break
        self.score = np.empty((offers, 2 * k), np.float32)
        self.revenue = np.empty((offers, 2 * k), np.float32)
        self.row = np.empty((offers, 2 * k), np.int64)
        self.count = np.zeros(offers, np.int64)
        self.threshold = np.full(offers, -np.inf, np.float32)

    def clear(self) -> None:
        """Drop all candidates."""
        self.count[:], self.threshold[:] = 0, -np.inf

    def add(self, rows: np.ndarray, score: np.ndarray, revenue: np.ndarray) -> None:
        """Add a block of customers.

        Parameters
        ----------
        rows : ndarray of shape (B,)
            Rows of the customers in the log.
        score, revenue : ndarray of shape (B, M), float32
            Probabilities, and expected revenue in the log's currency.
        """
        start = 0
        while start < rows.size:
            start += add_candidates(
                *(rows[start:], score[start:], revenue[start:]),
                *(self.score, self.revenue, self.row, self.count, self.threshold),
            )
            for offer in np.flatnonzero(self.count == 2 * self.k):
                self._shrink(int(offer))

    def _shrink(self, offer: int) -> None:
        """Keep the best K candidates of an offer."""
        best = self._order(offer)[: self.k]
        for values in (self.score, self.revenue, self.row):
            values[offer, : best.size] = values[offer, best]
        self.count[offer] = best.size
        self.threshold[offer] = self.score[offer, best.size - 1]

    def _order(self, offer: int) -> np.ndarray:
        """Candidates of an offer by descending score, then by the tie-break."""
        size = self.count[offer]
        return np.lexsort((self.tie_break[self.row[offer, :size]], -self.score[offer, :size]))

    def top(self, offer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The best customers of an offer, by descending score.

        Parameters
        ----------
        offer : int
            Index of the offer.

        Returns
        -------
        rows, score, revenue : ndarray of shape (K,)
            Fewer than K if fewer customers were added.
        """
        best = self._order(offer)[: self.k]
        return self.row[offer, best], self.score[offer, best], self.revenue[offer, best]

    def save(self, path: Path, parts: int) -> None:
        """Write the state, atomically.

        Parameters
        ----------
        path : Path
            .npz file.
        parts : int
            Number of completed parts of the customers.
        """
        with whole_file(path) as draft, draft.open("wb") as file:
            self.write(file, parts)

    def write(self, file: BinaryIO, parts: int = 0) -> None:
        """Write the state to an open file, see `save`."""
        np.savez(file, parts=parts, **{name: getattr(self, name) for name in STATE})

    def merge(self, other: TopK) -> None:
        """Add the candidates of a selection of other customers.

        Parameters
        ----------
        other : TopK
            With the same offers, K and tie-break.
        """
        for offer, (size, more) in enumerate(zip(self.count, other.count, strict=True)):
            for name in ("score", "revenue", "row"):
                own, new = getattr(self, name), getattr(other, name)
                best = new[offer, other._order(offer)[: self.k]] if more else new[offer, :0]
                own[offer, size : size + best.size] = best
            self.count[offer] = size + min(int(more), self.k)
            self._shrink(offer)

    def load(self, path: Path) -> int:
        """Restore a saved state.

        Parameters
        ----------
        path : Path
            File written by `save`.

        Returns
        -------
        int
            Number of completed parts.
        """
        check_arrays(path)
        with np.load(path, allow_pickle=False) as state:
            for name in STATE:
                getattr(self, name)[:] = state[name]
            return int(state["parts"])


@njit(cache=True, nogil=True)
def add_candidates(
    rows: np.ndarray,
    score: np.ndarray,
    revenue: np.ndarray,
    best: np.ndarray,
    best_revenue: np.ndarray,
    best_row: np.ndarray,
    count: np.ndarray,
    threshold: np.ndarray,
) -> int:
    """Append customers who reach the threshold of an offer, until the buffer of an offer is full.

    Parameters
    ----------
    rows : ndarray of shape (B,)
        Rows of the customers.
    score, revenue : ndarray of shape (B, M)
        Their scores and expected revenues.
    best, best_revenue, best_row : ndarray of shape (M, 2 K)
        Buffers, changed in place.
    count : ndarray of shape (M,)
        Candidates in each buffer, changed in place.
    threshold : ndarray of shape (M,)
        Lowest score that may still be among the best K.

    Returns
    -------
    int
        Number of customers that were read.
    """
    for b in range(rows.size):
        full = False
        for m in range(count.size):
            if score[b, m] >= threshold[m]:
                k = count[m]
                best[m, k], best_revenue[m, k], best_row[m, k] = score[b, m], revenue[b, m], rows[b]
                count[m] = k + 1
                full = full or k + 1 == best.shape[1]
        if full:
            return b + 1
    return rows.size
