"""A sum of regression trees as arrays.

Shapes: K inner nodes, L leaves, T trees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Trees(NamedTuple):
    """A sum of regression trees.

    Attributes
    ----------
    column : ndarray of shape (K,), int64
        Column that a node reads.
    threshold : ndarray of shape (K,), float32
        A value of at most the threshold follows the left branch.
    missing_left : ndarray of shape (K,), bool
        Whether NaN follows the left branch.
    left, right : ndarray of shape (K,), int64
        The next node as a number of at least 0, or a leaf as -1 minus its number.
    leaf : ndarray of shape (L,), float32
        Values of the leaves, minus their mean over the leaves of the tree.
    root : ndarray of shape (T,), int64
        First node of each tree with more than one leaf.
    base : float
        Sum of those means and of the trees with one leaf, so that sums of float32 leaves stay small.
    """

    column: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    root: np.ndarray
    base: float

    @property
    def depth(self) -> int:
        """Number of decisions on the longest path from a root to a leaf."""
        depth, nodes = 0, self.root
        while nodes.size:
            children = np.concatenate([self.left[nodes], self.right[nodes]])
            depth, nodes = depth + 1, children[children >= 0]
        return depth
