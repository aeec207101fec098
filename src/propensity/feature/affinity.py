"""Affinities between offers, from sums of products over customers, and the weight of a rare offer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from propensity.feature.column import CONTEXT_NAMES

SVD_STEPS = 12  # of the subspace iteration
SVD_SPARE = 10  # dimensions beyond the largest rank


def regress_on_others(gram: np.ndarray, ridges: Sequence[float]) -> np.ndarray:
    """Ridge weights with which all other variables predict each, the diagonal zero.

    Parameters
    ----------
    gram : (M, M) float
        Sums of products.
    ridges : sequence of R floats
        In multiples of the mean square of a variable.

    Returns
    -------
    (R, M, M) float32

    Notes
    -----
    EASE: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
    """
    weights = []
    for ridge in ridges:
        precision = np.linalg.inv(gram + ridge * mean_square(gram) * np.eye(len(gram)))
        weight = -precision / np.diag(precision)
        np.fill_diagonal(weight, 0.0)
        weights.append(weight)
    return np.array(weights, np.float32)


def leading_directions(gram: np.ndarray, rank: int) -> np.ndarray:
    """Eigenvectors of the largest eigenvalues, by subspace iteration from the axes with the largest squares.

    Parameters
    ----------
    gram : (M, M) float
        Sums of products.
    rank : int
        Number of vectors.

    Returns
    -------
    (M, rank) float32
        In the order of their eigenvalues; 0 from the M-th on.
    """
    m = len(gram)
    axes = np.argsort(-np.diag(gram), kind="stable")[: rank + SVD_SPARE]
    basis = np.eye(m)[:, axes]
    for _ in range(SVD_STEPS if axes.size < m else 1):
        basis, _ = np.linalg.qr(gram @ basis + 1e-9 * basis)
    values, vectors = np.linalg.eigh(basis.T @ gram @ basis)
    leading = (basis @ vectors[:, np.argsort(-values)])[:, :rank]
    return np.pad(leading, ((0, 0), (0, rank - leading.shape[1]))).astype(np.float32)


def cosines(gram: np.ndarray) -> np.ndarray:
    """Cosines between variables from their Gram matrix, the diagonal 0, each column divided by its sum: (M, M) float32.

    >>> cosines(np.array([[4.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))[:, 1]
    array([1., 0., 0.], dtype=float32)
    """
    length = np.sqrt(np.diag(gram))
    cosine = gram / np.maximum(np.outer(length, length), 1e-12)
    np.fill_diagonal(cosine, 0.0)
    total = cosine.sum(axis=0)
    return (cosine / np.where(total > 0, total, 1.0)).astype(np.float32)


def mean_square(gram: np.ndarray) -> float:
    """Mean of the diagonal, never 0."""
    return float(np.trace(gram)) / max(len(gram), 1) + 1e-3


def siblings(parent: np.ndarray, sold: np.ndarray) -> np.ndarray:
    """Equal weights, in column m, of the other sold offers with the parent of m; 0 without any: (M, M) float32.

    >>> siblings(np.array([4, 4, 4, -1]), np.array([True, True, False, True]))[:, 2]
    array([0.5, 0.5, 0. , 0. ], dtype=float32)
    """
    related = (parent[:, None] == parent) & (parent >= 0) & sold[:, None] & ~np.eye(parent.size, dtype=bool)
    return (related / np.maximum(related.sum(axis=0), 1)).astype(np.float32)


def rarity(context: np.ndarray) -> np.ndarray:
    """Weight of an offer: log(1 + customers / buyers of 364 days), 0 where nobody bought it.

    Parameters
    ----------
    context : (M, C) float32
        Columns `CONTEXT_NAMES`.

    Returns
    -------
    (M,) float32
    """
    reach = context[:, CONTEXT_NAMES.index("reach_364")]
    return np.nan_to_num(np.log1p(np.exp(-reach))).astype(np.float32)
