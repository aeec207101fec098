"""K-means in memory: one pass over the rows per iteration.

N rows, F features, k centres. Rows are (N, F) float32; centres are transposed to (F, K) float32 and padded with columns
far away, so that the inner loop runs over a fixed number of centres and is vectorised.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LANES = 8  # centres are padded to a multiple of this
FAR = np.float32(1e18)  # coordinate of padding


def padded(centre: np.ndarray) -> np.ndarray:
    """(k, F) centres -> (F, K) float32 with K a multiple of `LANES`."""
    k, features = centre.shape
    out = np.full((features, -(-k // LANES) * LANES), FAR, np.float32)
    out[:, :k] = centre.T
    return out


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def distances(row: np.ndarray, centre: np.ndarray, out: np.ndarray) -> None:
    """Squared distances of one row (F,) to the padded centres (F, K): out (K,) float32."""
    for c in range(out.size):
        out[c] = 0.0
    for f in range(row.size):
        x = row[f]
        for c in range(out.size):
            d = x - centre[f, c]
            out[c] += d * d


@njit(cache=True, nogil=True)
def assign(row: np.ndarray, centre: np.ndarray, label: np.ndarray, total: np.ndarray, count: np.ndarray) -> float:
    """Assigns every row to its nearest centre.

    Parameters
    ----------
    row : np.ndarray
        (N, F) float32.
    centre : np.ndarray
        (F, K) float32, from `padded`.
    label : np.ndarray
        (N,) filled with the nearest centre, the first of equals.
    total : np.ndarray
        (k, F) float64 filled with the sums of the rows of each centre.
    count : np.ndarray
        (k,) filled with their number.

    Returns
    -------
    float
        Inertia: sum of squared distances to the nearest centre.
    """
    total[:] = 0.0
    count[:] = 0
    out = np.empty(centre.shape[1], np.float32)
    inertia = 0.0
    for n in range(row.shape[0]):
        distances(row[n], centre, out)
        best = 0
        for c in range(1, count.size):
            if out[c] < out[best]:
                best = c
        label[n] = best
        inertia += out[best]
        count[best] += 1
        for f in range(row.shape[1]):
            total[best, f] += row[n, f]
    return inertia


@njit(cache=True, nogil=True)
def nearest_distance(row: np.ndarray, centre: np.ndarray, near: np.ndarray) -> float:
    """Lowers near (N,) float32 to the squared distance to one centre (F,); returns the sum."""
    total = 0.0
    for n in range(row.shape[0]):
        d = np.float32(0.0)
        for f in range(row.shape[1]):
            x = row[n, f] - centre[f]
            d += x * x
        near[n] = min(near[n], d)
        total += near[n]
    return total


@njit(cache=True, nogil=True)
def draw(near: np.ndarray, at: float) -> int:
    """The first row at which the running sum of near (N,) passes `at`."""
    total = 0.0
    for n in range(near.size):
        total += near[n]
        if total > at:
            return n
    return near.size - 1
