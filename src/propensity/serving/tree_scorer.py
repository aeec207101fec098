"""Trees of a bundle in the layout of `propensity.kernel.leaf_mask`, and the file that holds them.

Shapes: B customers, M offers, P pair columns, F customer columns, C context columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from propensity.kernel.leaf_mask import Nodes, tree_sums
from propensity.serving.tree_sum import Trees

if TYPE_CHECKING:
    from propensity.serving.tree_inputs import TreeInput

MOST_LEAVES = 64  # of a tree: bits of the largest mask
FILE = "trees.npz"
ARRAYS = ("column", "threshold", "missing_left", "left", "right", "leaf", "root", "base")


class BlockSizes(NamedTuple):
    """Numbers of columns that trees read.

    Attributes
    ----------
    pair, customer, context : int
        P, F and C.
    """

    pair: int
    customer: int
    context: int


def can_mask(trees: Trees) -> bool:
    """Whether `TreeScorer` can hold trees: none has more than `MOST_LEAVES` leaves."""
    return all(stop - start < MOST_LEAVES for start, stop in tree_ranges(trees))


def tree_ranges(trees: Trees) -> list[tuple[int, int]]:
    """First node of each tree, and one past its last."""
    bounds = [*trees.root.tolist(), trees.column.size]
    return list(zip(bounds[:-1], bounds[1:], strict=True))


class TreeScorer:
    """Raw scores of trees for all pairs.

    Parameters
    ----------
    trees : Trees
        With at most `MOST_LEAVES` leaves each.
    past_column : int or None
        Pair column; pairs in which it is not above 0 are left out.
    sizes : BlockSizes
        Numbers of columns.
    """

    def __init__(self, trees: Trees, past_column: int | None, sizes: BlockSizes) -> None:
        self.past_column = -1 if past_column is None else past_column
        masks, tree, order = leaf_masks(trees)
        self.leaf, self.base = trees.leaf[order], trees.base
        self.first_leaf = np.array([start for start, _ in tree_ranges(trees)], np.int64) + np.arange(trees.root.size)
        bounds = np.cumsum([0, *sizes])
        self.nodes = [sorted_nodes(trees, masks, tree, bounds[k], bounds[k + 1]) for k in range(len(sizes))]

    def __call__(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Raw scores.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            `pair` (B, M, P), `customer_features` (B, F) and `context` (M, C), all float32.

        Returns
        -------
        ndarray of shape (B, M), float32
            0 for pairs that are left out.
        """
        names = "pair", "customer_features", "context"
        pair, customer, context = (np.ascontiguousarray(inputs[name]) for name in names)
        of_pair, of_customer, of_context = self.nodes
        leaves, out = (self.first_leaf, self.leaf), np.empty(pair.shape[:2], np.float32)
        tree_sums(pair, customer, context, of_pair, of_customer, of_context, *leaves, self.base, self.past_column, out)
        return out


def leaf_masks(trees: Trees) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks of the inner nodes, with leaves numbered from left to right in each tree.

    Parameters
    ----------
    trees : Trees
        The trees.

    Returns
    -------
    mask : ndarray of shape (N,), uint32 or uint64
        Zeros for the leaves of the left branch.
    tree : ndarray of shape (N,), int64
        Tree of each node.
    order : ndarray of shape (L,), int64
        Leaves from left to right, tree by tree.
    """
    mask, tree, order = [0] * trees.column.size, np.zeros(trees.column.size, np.int64), list[int]()

    def visit(node: int, first: int) -> int:
        """Number of leaves below a node, of which `first` is the number of the leftmost."""
        if node < 0:
            order.append(-1 - node)
            return 1
        left = visit(int(trees.left[node]), first)
        mask[node] = ((1 << left) - 1) << first
        return left + visit(int(trees.right[node]), first + left)

    for number, (start, stop) in enumerate(tree_ranges(trees)):
        tree[start:stop] = number
        visit(start, 0)
    largest = max((stop - start for start, stop in tree_ranges(trees)), default=0)
    kind = np.uint32 if largest < 32 else np.uint64
    return np.invert(np.array(mask, kind)), tree, np.array(order, np.int64)


def sorted_nodes(trees: Trees, mask: np.ndarray, tree: np.ndarray, start: int, stop: int) -> Nodes:
    """Nodes of a block of columns.

    Parameters
    ----------
    trees : Trees
        The trees.
    mask, tree : ndarray of shape (N,)
        As from `leaf_masks`.
    start, stop : int
        First column of the block, and one past its last.

    Returns
    -------
    Nodes
        By column and tree.
    """
    chosen = np.flatnonzero((trees.column >= start) & (trees.column < stop))
    chosen = chosen[np.lexsort((tree[chosen], trees.missing_left[chosen], trees.column[chosen]))]
    column, first = np.unique(trees.column[chosen], return_index=True)
    return Nodes(
        *(column.astype(np.int64) - start, np.append(first, chosen.size).astype(np.int64)),
        *(trees.threshold[chosen], tree[chosen], mask[chosen], trees.missing_left[chosen]),
    )


def tree_arrays(tree_inputs: Mapping[str, TreeInput], sizes: BlockSizes) -> dict[str, np.ndarray]:
    """Content of `FILE`.

    Parameters
    ----------
    tree_inputs : mapping of str to TreeInput
        Trees by the name of their raw scores.
    sizes : BlockSizes
        Numbers of columns.

    Returns
    -------
    dict of str to ndarray
        What `read_tree_scorers` reads.
    """
    arrays = {"names": np.array(list(tree_inputs), np.str_), "sizes": np.array(sizes)}
    for name, each in tree_inputs.items():
        arrays |= {f"{name}_{part}": np.asarray(getattr(each.trees, part)) for part in ARRAYS}
        arrays[f"{name}_past"] = np.array(-1 if each.past_column is None else each.past_column)
    return arrays


def read_tree_scorers(arrays: Mapping[str, np.ndarray]) -> dict[str, TreeScorer]:
    """The trees of a bundle.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Content of `FILE`.

    Returns
    -------
    dict of str to TreeScorer
        By the name of their raw scores.
    """
    sizes, scorers = BlockSizes(*arrays["sizes"].tolist()), dict[str, TreeScorer]()
    for name in arrays["names"].tolist():
        parts: dict[str, Any] = {part: arrays[f"{name}_{part}"] for part in ARRAYS}
        trees = Trees(**parts | {"base": float(parts["base"])})
        past = int(arrays[f"{name}_past"])
        scorers[name] = TreeScorer(trees, None if past < 0 else past, sizes)
    return scorers
