"""Sums of regression trees for all pairs of customers and offers.

Shapes: B customers, M offers, P pair columns, F customer columns, C context columns, T trees, N inner nodes, L leaves.

Notes
-----
Every tree has a mask with one bit per leaf, from left to right. An inner node whose condition a row does not meet
clears the leaves of its left branch; the lowest bit that is left is the leaf of the row (QuickScorer: Lucchese et al.,
SIGIR 2015). The nodes of customer columns are applied once for each customer and those of context columns once for each
offer. The nodes of pair columns are applied to `WIDTH` pairs of a customer at once, without branches (V-QuickScorer:
Lucchese et al., SIGIR 2016).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

WIDTH = 32  # pairs at once


class Nodes(NamedTuple):
    """Inner nodes that read the columns of a block, sorted by column.

    Attributes
    ----------
    column : ndarray of int64
        Columns that have a node.
    first : ndarray of int64
        First node of each of these columns, and the number of nodes.
    threshold : ndarray of shape (N,), float32
        A value above the threshold clears the leaves of the left branch.
    tree : ndarray of shape (N,), int64
        Tree of each node.
    mask : ndarray of shape (N,), uint32 or uint64
        Ones, but zeros for the leaves of the left branch.
    missing_left : ndarray of shape (N,), bool
        Whether NaN follows the left branch.
    """

    column: np.ndarray
    first: np.ndarray
    threshold: np.ndarray
    tree: np.ndarray
    mask: np.ndarray
    missing_left: np.ndarray


def _lowest_bit(typing_context: Any, mask: Any) -> Any:
    """Number of the lowest bit that is set in an integer, from 0; the size of the integer if there is none."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        count = builder.cttz(arguments[0], ir.IntType(1)(0))
        return context.cast(builder, count, signature.args[0], signature.return_type)

    return types.int64(mask), codegen


lowest_bit: Any = intrinsic(_lowest_bit)


@njit(cache=True, nogil=True)
def clear_leaves(state: np.ndarray, value: np.ndarray, nodes: Nodes, c: int) -> None:
    """Clear the leaves that several rows cannot reach by one column.

    Parameters
    ----------
    state : ndarray of shape (T, W), uint32 or uint64
        Leaves that are left of each tree, for W rows; changed in place.
    value : ndarray of shape (W,), float32
        The column in each row; NaN where missing.
    nodes : Nodes
        Of the block of the column.
    c : int
        Place of the column in `nodes.column`.
    """
    ones = ~nodes.mask.dtype.type(0)
    for k in range(nodes.first[c], nodes.first[c + 1]):
        leaves, mask, threshold = state[nodes.tree[k]], nodes.mask[k], nodes.threshold[k]
        if nodes.missing_left[k]:
            for j in range(value.size):
                leaves[j] &= mask if value[j] > threshold else ones
        else:
            for j in range(value.size):
                leaves[j] &= ones if value[j] <= threshold else mask


@njit(cache=True, nogil=True)
def block_state(rows: np.ndarray, nodes: Nodes, trees: int, size: int) -> np.ndarray:
    """Leaves that the columns of a block leave.

    Parameters
    ----------
    rows : ndarray of shape (R, K), float32
        Columns of customers or offers; NaN where missing.
    nodes : Nodes
        Of the same block.
    trees : int
        Number of trees.
    size : int
        At least R.

    Returns
    -------
    ndarray of shape (T, size), uint32 or uint64
        Masks of leaves; ones from R on.
    """
    state = np.full((trees, size), ~nodes.mask.dtype.type(0), nodes.mask.dtype)
    for c in range(nodes.column.size):
        clear_leaves(state, np.ascontiguousarray(rows[:, nodes.column[c]]), nodes, c)
    return state


@njit(cache=True, nogil=True)
def sums_of_leaves(state: np.ndarray, first_leaf: np.ndarray, leaf: np.ndarray, total: np.ndarray) -> None:
    """Add the leaves of all trees.

    Parameters
    ----------
    state : ndarray of shape (T, W), uint32 or uint64
        Leaves that are left of each tree, for W rows; the lowest is the one.
    first_leaf : ndarray of shape (T,), int64
        First leaf of each tree.
    leaf : ndarray of shape (L,), float32
        Values of the leaves.
    total : ndarray of shape (W,), float64
        Sums, changed in place.
    """
    for t in range(first_leaf.size):
        first = first_leaf[t]
        for j in range(total.size):
            total[j] += leaf[first + lowest_bit(state[t, j])]


@njit(cache=True, nogil=True)
def tree_sums(
    pair: np.ndarray,
    customer: np.ndarray,
    context: np.ndarray,
    pair_nodes: Nodes,
    customer_nodes: Nodes,
    context_nodes: Nodes,
    first_leaf: np.ndarray,
    leaf: np.ndarray,
    base: float,
    past_column: int,
    out: np.ndarray,
) -> None:
    """Compute the raw scores of all pairs.

    Parameters
    ----------
    pair : ndarray of shape (B, M, P), float32
        Pair columns; NaN where missing.
    customer : ndarray of shape (B, F), float32
        Customer columns.
    context : ndarray of shape (M, C), float32
        Context columns.
    pair_nodes, customer_nodes, context_nodes : Nodes
        Nodes of each block.
    first_leaf : ndarray of shape (T,), int64
        First leaf of each tree.
    leaf : ndarray of shape (L,), float32
        Values of the leaves, from left to right.
    base : float
        Added to the sums.
    past_column : int
        Pairs in which this column is not above 0 are left out; -1 computes all.
    out : ndarray of shape (B, M), float32
        Filled with the raw scores; 0 for pairs that are left out.
    """
    trees, offers, groups = first_leaf.size, pair.shape[1], -(-pair.shape[1] // WIDTH)
    of_offer = block_state(context, context_nodes, trees, groups * WIDTH)
    of_customer = block_state(customer, customer_nodes, trees, customer.shape[0])
    state = np.empty((trees, WIDTH), pair_nodes.mask.dtype)
    value, total, place = np.zeros(WIDTH, np.float32), np.empty(WIDTH), np.zeros(groups * WIDTH, np.int64)
    for b in range(pair.shape[0]):
        count = chosen_offers(pair[b], past_column, place)
        out[b] = 0.0
        for start in range(0, count, WIDTH):
            group = place[start : start + WIDTH]  # those from `count` on are computed in vain
            for t in range(trees):
                leaves, of_tree, of_group = of_customer[t, b], of_offer[t], state[t]
                if count == offers:
                    for j in range(WIDTH):
                        of_group[j] = leaves & of_tree[start + j]
                else:
                    for j in range(WIDTH):
                        of_group[j] = leaves & of_tree[group[j]]
            for c in range(pair_nodes.column.size):
                column = pair_nodes.column[c]
                for j in range(WIDTH):
                    value[j] = pair[b, group[j], column]
                clear_leaves(state, value, pair_nodes, c)
            total[:] = base
            sums_of_leaves(state, first_leaf, leaf, total)
            for j in range(min(WIDTH, count - start)):
                out[b, group[j]] = total[j]


@njit(cache=True, nogil=True)
def chosen_offers(pair: np.ndarray, past_column: int, place: np.ndarray) -> int:
    """Find the pairs of a customer that are not left out.

    Parameters
    ----------
    pair : ndarray of shape (M, P), float32
        Pair columns of a customer.
    past_column : int
        See `tree_sums`.
    place : ndarray of int64
        Receives the offers of the pairs, then zeros.

    Returns
    -------
    int
        Number of pairs.
    """
    count = 0
    for m in range(pair.shape[0]):
        if past_column < 0 or pair[m, past_column] > 0:
            place[count] = m
            count += 1
    place[count:] = 0
    return count
