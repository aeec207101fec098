"""K-means for many k at once, and what says which k to take: knee, silhouette, stability over seeds.

Restarts run on a sample of the rows and the best of each k is then run on all of them: where the restarts differ at
all, they differ on a sample too. The centres of k - 1 and the row farthest from them are one more start, so that
inertia never rises with k.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from propensity.kernel.kmeans import assign, draw, nearest_distance, padded

SAMPLE = 20_000  # rows on which restarts run
LOOKED_AT = 2_000  # rows whose silhouettes are averaged
STEPS, STEADY = 100, 1e-5  # an iteration that lowers inertia by a smaller share is the last


class KMeansFit(NamedTuple):
    """centre (k, F), label (N,) int64 of each row, inertia; stability: mean adjusted Rand index between restarts;
    silhouette: mean of a sample, nan for one centre."""

    centre: np.ndarray
    label: np.ndarray
    inertia: float
    stability: float
    silhouette: float

    @property
    def k(self) -> int:
        return self.centre.shape[0]


def fit_all(row: np.ndarray, most: int, restarts: int, seed: int) -> list[KMeansFit]:
    """Fits for k = 1 to `most` of row (N, F) float32, each the best of `restarts` and of one more start."""
    random = np.random.default_rng(seed)
    few = row if row.shape[0] <= SAMPLE else row[np.sort(random.choice(row.shape[0], SAMPLE, replace=False))]
    fits: list[KMeansFit] = []
    for k in range(1, most + 1):
        tried = [lloyd(few, plus_plus(few, k, random)) for _ in range(restarts if k > 1 else 1)]
        best = min(tried, key=lambda found: found[2])
        found = best if few is row else lloyd(row, best[0])
        if fits:
            split = lloyd(row, one_more(row, fits[-1].centre, fits[-1].label))
            found = min(found, split, key=lambda fit: fit[2])
        labels = [label for _, label, _ in tried]
        agreed = [adjusted_rand(a, b) for a, b in combinations(labels, 2)]
        fits.append(KMeansFit(*found, float(np.mean(agreed)) if agreed else 1.0, silhouette(row, found[1], seed)))
    return fits


def plus_plus(row: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """k rows drawn far apart (k-means++; Arthur and Vassilvitskii, 2007): (k, F)."""
    chosen = [int(random.integers(row.shape[0]))]
    near = np.full(row.shape[0], np.inf, np.float32)
    while len(chosen) < k:
        total = nearest_distance(row, row[chosen[-1]], near)
        chosen.append(draw(near, random.random() * total))
    return row[chosen]


def lloyd(row: np.ndarray, centre: np.ndarray, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray, float]:
    """Centres, labels and inertia after iterations from `centre` (k, F) on; inertia never rises.

    A centre that loses all its rows takes the row farthest from its own.
    """
    label, count = np.empty(row.shape[0], np.int64), np.empty(centre.shape[0], np.int64)
    total, before = np.empty(centre.shape), np.inf
    for _ in range(steps):
        inertia = assign(row, padded(centre), label, total, count)
        if before - inertia <= STEADY * inertia:
            break
        before = inertia
        centre = (total / np.maximum(count, 1)[:, None]).astype(np.float32)
        for c in np.flatnonzero(count == 0):
            centre[c] = row[((row - centre[label]) ** 2).sum(axis=1).argmax()]
    return centre, label, inertia


def one_more(row: np.ndarray, centre: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The centres, and the row farthest from its own: (k + 1, F)."""
    far = np.concatenate([((row[s] - centre[label[s]]) ** 2).sum(axis=1) for s in blocks(row.shape[0])])
    return np.concatenate([centre, row[far.argmax()][None]])


def blocks(rows: int, size: int = 65_536) -> list[slice]:
    return [slice(start, start + size) for start in range(0, rows, size)]


def assigned(row: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, float]:
    """Labels (N,) by fixed centres, and the inertia."""
    label, count = np.empty(row.shape[0], np.int64), np.empty(centre.shape[0], np.int64)
    return label, assign(row, padded(centre), label, np.empty(centre.shape), count)


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Agreement of two labellings (N,), beyond chance (Hubert and Arabie, 1985): 1 is the same, 0 is chance.

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
    """How much nearer rows are to their own segment than to the next (Rousseeuw, 1987): the mean of a sample, in
    [-1, 1]; nan for one segment."""
    if label.max(initial=0) == 0:
        return float("nan")
    random = np.random.default_rng(seed)
    few = (
        np.arange(row.shape[0]) if row.shape[0] <= LOOKED_AT else random.choice(row.shape[0], LOOKED_AT, replace=False)
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
    """The k after which inertia falls slowly: farthest below the line from the first to the last (Satopaa, 2011).

    >>> knee(np.array([100., 40., 20., 15., 12., 10.]))
    3
    """
    if inertia.size < 3 or inertia[0] <= inertia[-1]:
        return inertia.size
    x = np.linspace(0.0, 1.0, inertia.size)
    y = (inertia - inertia[-1]) / (inertia[0] - inertia[-1])
    return int((1.0 - x - y).argmax()) + 1
