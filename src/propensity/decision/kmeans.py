"""K-means for k = 1 to a maximum, and criteria for k: knee of the inertia, silhouette, stability over restarts.

Restarts run on a sample of the rows; the best of each k continues on all rows. The centres of k - 1 and the row
farthest from them are one more start, so that inertia never rises with k.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from propensity.kernel.kmeans import assign, draw, nearest_distance, padded

SAMPLE = 20_000  # rows on which restarts run
SILHOUETTE_SAMPLE = 2_000  # rows whose silhouettes are averaged
STEPS, TOLERANCE = 100, 1e-5  # an iteration that lowers inertia by a smaller share is the last


class KMeansFit(NamedTuple):
    """A K-means fit.

    Attributes
    ----------
    centre : np.ndarray
        (k, F) float32.
    label : np.ndarray
        (N,) int64 centre of each row.
    inertia : float
        Sum of squared distances to the centres.
    stability : float
        Mean adjusted Rand index between restarts.
    silhouette : float
        Mean over a sample, NaN for one centre.
    """

    centre: np.ndarray
    label: np.ndarray
    inertia: float
    stability: float
    silhouette: float

    @property
    def k(self) -> int:
        return self.centre.shape[0]


def fit_all(row: np.ndarray, max_k: int, restarts: int, seed: int) -> list[KMeansFit]:
    """Fits K-means for every k from 1 to `max_k`.

    Parameters
    ----------
    row : np.ndarray
        (N, F) float32.
    max_k : int
        At most N.
    restarts : int
        k-means++ starts of each k, on a sample of the rows.
    seed : int
        Of the sample and the starts.

    Returns
    -------
    list[KMeansFit]
        The best of each k; inertia does not rise with k.
    """
    random = np.random.default_rng(seed)
    sample = row if row.shape[0] <= SAMPLE else row[np.sort(random.choice(row.shape[0], SAMPLE, replace=False))]
    fits: list[KMeansFit] = []
    for k in range(1, max_k + 1):
        starts = [lloyd(sample, plus_plus(sample, k, random)) for _ in range(restarts if k > 1 else 1)]
        best = min(starts, key=lambda fit: fit[2])
        whole = best if sample is row else lloyd(row, best[0])
        if fits:
            split = lloyd(row, one_more(row, fits[-1].centre, fits[-1].label))
            whole = min(whole, split, key=lambda fit: fit[2])
        labels = [label for _, label, _ in starts]
        agreement = [adjusted_rand(a, b) for a, b in combinations(labels, 2)]
        fits.append(KMeansFit(*whole, float(np.mean(agreement)) if agreement else 1.0, silhouette(row, whole[1], seed)))
    return fits


def plus_plus(row: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Initial centres.

    Parameters
    ----------
    row : np.ndarray
        (N, F) float32.
    k : int
        Centres.
    random : np.random.Generator
        Draws the rows.

    Returns
    -------
    np.ndarray
        (k, F) rows.

    Notes
    -----
    Arthur and Vassilvitskii, "k-means++", 2007.
    """
    chosen = [int(random.integers(row.shape[0]))]
    near = np.full(row.shape[0], np.inf, np.float32)
    while len(chosen) < k:
        total = nearest_distance(row, row[chosen[-1]], near)
        chosen.append(draw(near, random.random() * total))
    return row[chosen]


def lloyd(row: np.ndarray, centre: np.ndarray, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray, float]:
    """Lloyd's iterations; inertia never rises.

    Parameters
    ----------
    row : np.ndarray
        (N, F) float32.
    centre : np.ndarray
        (k, F) initial centres.
    steps : int
        Most iterations.

    Returns
    -------
    tuple[np.ndarray, np.ndarray, float]
        Centres (k, F), labels (N,) and inertia. A centre without rows moves to the row farthest from its own centre.
    """
    label, count = np.empty(row.shape[0], np.int64), np.empty(centre.shape[0], np.int64)
    total, before = np.empty(centre.shape), np.inf
    for _ in range(steps):
        inertia = assign(row, padded(centre), label, total, count)
        if before - inertia <= TOLERANCE * inertia:
            break
        before = inertia
        centre = (total / np.maximum(count, 1)[:, None]).astype(np.float32)
        for c in np.flatnonzero(count == 0):
            centre[c] = row[((row - centre[label]) ** 2).sum(axis=1).argmax()]
    return centre, label, inertia


def one_more(row: np.ndarray, centre: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The centres and the row farthest from its own centre: (k + 1, F)."""
    far = np.concatenate([((row[s] - centre[label[s]]) ** 2).sum(axis=1) for s in blocks(row.shape[0])])
    return np.concatenate([centre, row[far.argmax()][None]])


def blocks(rows: int, size: int = 65_536) -> list[slice]:
    """Slices that cover the rows."""
    return [slice(start, start + size) for start in range(0, rows, size)]


def assigned(row: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, float]:
    """Assigns rows to fixed centres.

    Parameters
    ----------
    row : np.ndarray
        (N, F) float32.
    centre : np.ndarray
        (k, F).

    Returns
    -------
    tuple[np.ndarray, float]
        Labels (N,) of the nearest centres, and the inertia.
    """
    label, count = np.empty(row.shape[0], np.int64), np.empty(centre.shape[0], np.int64)
    return label, assign(row, padded(centre), label, np.empty(centre.shape), count)


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted Rand index: agreement of two labellings, corrected for chance.

    Parameters
    ----------
    a, b : np.ndarray
        (N,) labels from 0 on.

    Returns
    -------
    float
        1 for equal partitions, about 0 for independent ones.

    Notes
    -----
    Hubert and Arabie, "Comparing partitions", 1985.

    Examples
    --------
    >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    width = int(b.max(initial=0)) + 1
    table = np.bincount(a * width + b, minlength=(int(a.max(initial=0)) + 1) * width).reshape(-1, width).astype(float)
    pairs = (table * (table - 1) / 2).sum()
    rows, columns = (table.sum(axis=axis) for axis in (1, 0))
    first, second = (rows * (rows - 1) / 2).sum(), (columns * (columns - 1) / 2).sum()
    chance = first * second / max(a.size * (a.size - 1) / 2, 1.0)
    most = (first + second) / 2
    return 1.0 if most == chance else float((pairs - chance) / (most - chance))


def silhouette(row: np.ndarray, label: np.ndarray, seed: int) -> float:
    """Mean silhouette of a sample of the rows.

    Parameters
    ----------
    row : np.ndarray
        (N, F).
    label : np.ndarray
        (N,) segments.
    seed : int
        Of the sample.

    Returns
    -------
    float
        In [-1, 1]; NaN for one segment.

    Notes
    -----
    Rousseeuw, "Silhouettes", 1987.
    """
    if label.max(initial=0) == 0:
        return float("nan")
    random = np.random.default_rng(seed)
    few = (
        np.arange(row.shape[0])
        if row.shape[0] <= SILHOUETTE_SAMPLE
        else random.choice(row.shape[0], SILHOUETTE_SAMPLE, replace=False)
    )
    x, own = row[few].astype(np.float64), label[few]
    square = (x**2).sum(axis=1)
    distance = np.sqrt(np.maximum(square[:, None] + square - 2 * x @ x.T, 0.0))
    member = own[:, None] == np.unique(own)
    count, total = member.sum(axis=0), distance @ member
    place = member.argmax(axis=1)
    inside = total[np.arange(few.size), place] / np.maximum(count[place] - 1, 1)
    total[np.arange(few.size), place] = np.inf
    outside = (total / count).min(axis=1)
    score = (outside - inside) / np.maximum(np.maximum(outside, inside), 1e-12)
    return float(np.where(count[place] > 1, score, 0.0).mean())


def knee(inertia: np.ndarray) -> int:
    """The k at the knee of the inertia: farthest below the line from the first to the last.

    Parameters
    ----------
    inertia : np.ndarray
        (K,) of k = 1 to K.

    Returns
    -------
    int
        In [1, K].

    Notes
    -----
    Satopaa et al., "Finding a 'kneedle' in a haystack", 2011.

    Examples
    --------
    >>> knee(np.array([100., 40., 20., 15., 12., 10.]))
    3
    """
    if inertia.size < 3 or inertia[0] <= inertia[-1]:
        return inertia.size
    x = np.linspace(0.0, 1.0, inertia.size)
    y = (inertia - inertia[-1]) / (inertia[0] - inertia[-1])
    return int((1.0 - x - y).argmax()) + 1
