"""A kernel that scores pairs by boosted trees, for a bundle whose trees have few leaves.

Shapes: B customers, M offers, N = B M pairs, C columns (those of pairs, then of customers, then of offers), U columns
that a node reads, K inner nodes, T trees, W bits of a word.

Notes
-----
A row reaches the leaf that no node excludes: a node whose condition fails excludes the leaves of its left branch, and
of those that are left the first is reached (QuickScorer; Lucchese et al., SIGIR 2015). All rows of a block pass a node
one after another, which processors do for many rows at once. Sums are in the order of the trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from propensity.serving import verify
from propensity.serving.tree_inputs import TreeInput
from propensity.serving.trees import Trees

FILE = "trees.npz"  # in a bundle whose champion has trees of few leaves
BLOCK = 256  # rows that pass a tree together
DE_BRUIJN = {32: np.uint32(0x077CB531), 64: np.uint64(0x03F79D71B4CB0A89)}  # by the bits of a word


class TreeMasks(NamedTuple):
    """Trees as words of excluded leaves.

    Attributes
    ----------
    used : ndarray of shape (U,), int64
        Columns that a node reads.
    column : ndarray of shape (K,), int64
        Place among `used` of the column that a node reads.
    threshold : ndarray of shape (K,), float32
        A larger value excludes the leaves of the left branch.
    missing_left : ndarray of shape (K,), bool
        Whether NaN does not.
    kept : ndarray of shape (K,), uint32 or uint64
        A bit for each leaf of the tree, from left to right: 0 for those of the left branch.
    offsets : ndarray of shape (T + 1,), int64
        Tree t has the nodes `offsets[t]:offsets[t + 1]`.
    value : ndarray of shape (T, W), float32
        Values of the leaves, at the place to which `multiplier` maps the bit of a leaf.
    multiplier : ndarray of shape (1,), uint32 or uint64
        A de Bruijn number.
    base : float
        Added to the sum.
    past_column : int
        Pair column; pairs in which it is not above 0 get 0. -1: every pair is scored.
    """

    used: np.ndarray
    column: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    kept: np.ndarray
    offsets: np.ndarray
    value: np.ndarray
    multiplier: np.ndarray
    base: float
    past_column: int


def tree_masks(source: TreeInput) -> TreeMasks | None:
    """Arrange trees for the kernel.

    Parameters
    ----------
    source : TreeInput
        The trees, and which pairs they skip.

    Returns
    -------
    TreeMasks or None
        None if a tree has more leaves than a word has bits.
    """
    trees = source.trees
    walks = [_walk(trees, int(root)) for root in trees.root]
    leaves = max((len(leaves) for _, leaves, _ in walks), default=1)
    if leaves > 64:
        return None
    word = np.dtype(np.uint32 if leaves <= 32 else np.uint64)
    bits = 8 * word.itemsize
    multiplier, value = DE_BRUIJN[bits], np.zeros((len(walks), bits), np.float32)
    nodes, kept = [], []
    for t, (own, reached, left) in enumerate(walks):
        nodes += own
        kept += [word.type(((1 << bits) - 1) ^ (((1 << n) - 1) << first)) for first, n in left]
        for place, leaf in enumerate(reached):
            value[t, _place(place, multiplier, bits)] = trees.leaf[leaf]
    used, column = np.unique(trees.column[nodes], return_inverse=True) if nodes else (np.zeros(0, np.int64),) * 2
    return TreeMasks(
        *(used.astype(np.int64), column.astype(np.int64), trees.threshold[nodes], trees.missing_left[nodes]),
        np.array(kept, word),
        np.concatenate([[0], np.cumsum([len(own) for own, *_ in walks])]).astype(np.int64),
        *(value, np.array([multiplier], word), float(np.float32(trees.base))),
        -1 if source.past_column is None else source.past_column,
    )


def _place(bit: int, multiplier: Any, bits: int) -> int:
    """Where the kernel finds the value of a leaf."""
    product = (int(multiplier) << bit) & ((1 << bits) - 1)
    return product >> (bits - (bits.bit_length() - 1))


def _walk(trees: Trees, root: int) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """The nodes of a tree, its leaves from left to right, and of each node the first and number of its left leaves."""
    nodes: list[int] = []
    leaves: list[int] = []
    left: list[tuple[int, int]] = []
    stack: list[tuple[str, int]] = [("visit", root)]
    while stack:
        what, child = stack.pop()
        if what == "count":  # the left branch of `nodes[child]` has been visited
            first = left[child][0]
            left[child] = first, len(leaves) - first
        elif child < 0:
            leaves.append(-1 - child)
        else:
            nodes.append(child)
            left.append((len(leaves), 0))
            right = ("visit", int(trees.right[child]))
            stack += [right, ("count", len(nodes) - 1), ("visit", int(trees.left[child]))]
    return nodes, leaves, left


@njit(cache=True, nogil=True)
def sum_leaves(
    pair: np.ndarray,
    customer: np.ndarray,
    offer: np.ndarray,
    trees: TreeMasks,
    rows: np.ndarray,
    block: np.ndarray,
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Sum the leaves that pairs reach.

    Parameters
    ----------
    pair, customer, offer : ndarray of shape (B, M, P), (B, F) and (M, G)
        Columns of pairs, customers and offers.
    trees : TreeMasks
        The trees.
    rows : ndarray of shape (n,), int64
        Pairs that are scored, as places in (B M,).
    block : ndarray of shape (U, BLOCK), float32
        Workspace.
    words : ndarray of shape (BLOCK,), uint32 or uint64
        Workspace.
    out : ndarray of shape (B M,), float32
        Overwritten at `rows`.
    """
    shift = words.itemsize * 8 - (5 if words.itemsize == 4 else 6)
    total = np.empty(words.size, np.float32)
    for start in range(0, rows.size, words.size):
        size = min(words.size, rows.size - start)
        gather(pair, customer, offer, trees.used, rows[start : start + size], block)
        total[:size] = 0.0
        for t in range(trees.offsets.size - 1):
            words[:size] = ~words.dtype.type(0)
            for k in range(trees.offsets[t], trees.offsets[t + 1]):
                exclude(block[trees.column[k]], size, trees.threshold[k], trees.missing_left[k], trees.kept[k], words)
            add_values(words, size, trees.multiplier[0], shift, trees.value[t], total)
        for i in range(size):
            out[rows[start + i]] = total[i] + np.float32(trees.base)


@njit(cache=True, nogil=True)
def gather(
    pair: np.ndarray, customer: np.ndarray, offer: np.ndarray, used: np.ndarray, rows: np.ndarray, block: np.ndarray
) -> None:
    """Fill block (U, n) with the used columns of the pairs in rows (n,)."""
    offers, columns, persons = pair.shape[1], pair.shape[2], customer.shape[1]
    for i in range(rows.size):
        b, m = rows[i] // offers, rows[i] % offers
        for u in range(used.size):
            c = used[u]
            if c < columns:
                block[u, i] = pair[b, m, c]
            elif c < columns + persons:
                block[u, i] = customer[b, c - columns]
            else:
                block[u, i] = offer[m, c - columns - persons]


@njit(cache=True, nogil=True)
def exclude(x: np.ndarray, size: int, threshold: float, missing_left: bool, kept: int, words: np.ndarray) -> None:
    """Exclude the leaves of the left branch of a node in the words of the rows whose value x fails its condition."""
    all_leaves = ~(kept ^ kept)
    if missing_left:
        for i in range(size):
            words[i] &= kept if x[i] > threshold else all_leaves
    else:
        for i in range(size):
            words[i] &= all_leaves if x[i] <= threshold else kept


@njit(cache=True, nogil=True)
def add_values(words: np.ndarray, size: int, multiplier: int, shift: int, value: np.ndarray, total: np.ndarray) -> None:
    """Add the value of the first leaf that is left in each word."""
    one = multiplier ^ multiplier ^ words.dtype.type(1)
    for i in range(size):
        first = words[i] & (~words[i] + one)
        total[i] += value[words.dtype.type(first * multiplier) >> words.dtype.type(shift)]


class TreeScorer:
    """Raw scores of a bundle's trees.

    Parameters
    ----------
    trees : mapping of str to TreeMasks
        By the name of the input of the champion's graph.
    """

    def __init__(self, trees: Mapping[str, TreeMasks]) -> None:
        self.trees = dict(trees)

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Raw scores (B, M), float32, by name, from the arrays of `propensity.data.batch.Inputs` by theirs."""
        pair = np.ascontiguousarray(inputs["pair"], np.float32)
        customer, offer = (np.ascontiguousarray(inputs[name], np.float32) for name in ("customer_features", "context"))
        every = np.arange(pair.shape[0] * pair.shape[1])
        scores = {}
        for name, trees in self.trees.items():
            rows = every
            if trees.past_column >= 0:
                rows = np.flatnonzero(pair[:, :, trees.past_column] > 0)
            out = np.zeros(every.size, np.float32)
            words = np.empty(BLOCK, trees.kept.dtype)
            sum_leaves(pair, customer, offer, trees, rows, np.empty((trees.used.size, BLOCK), np.float32), words, out)
            scores[name] = out.reshape(pair.shape[:2])
        return scores


def write_trees(folder: Path, tree_inputs: Mapping[str, TreeInput]) -> bool:
    """Write trees for the kernel.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    tree_inputs : mapping of str to TreeInput
        By the name of the input.

    Returns
    -------
    bool
        False, and nothing is written, if there are no trees or a tree has too many leaves.
    """
    masks = {name: tree_masks(each) for name, each in tree_inputs.items()}
    if not masks or None in masks.values():
        return False
    arrays = {
        f"{name}.{field}": np.asarray(value)
        for name, each in masks.items()
        if each is not None
        for field, value in each._asdict().items()
    }
    with (folder / FILE).open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return True


def read_trees(folder: Path) -> TreeScorer | None:
    """The trees of a bundle; None for a bundle whose graph holds them."""
    if not (folder / FILE).is_file():
        return None
    arrays = verify.load_arrays(folder / FILE)
    names = dict.fromkeys(key.rpartition(".")[0] for key in arrays)
    trees = {name: TreeMasks(*(arrays[f"{name}.{field}"] for field in TreeMasks._fields)) for name in names}
    return TreeScorer({n: t._replace(base=float(t.base), past_column=int(t.past_column)) for n, t in trees.items()})
