"""Sums of regression trees for all pairs of customers and offers.

Shapes: B customers, M offers, P pair columns, F customer columns, C context columns, T trees, N inner nodes, L leaves.

Notes
-----
Every tree has a mask with one bit per leaf, from left to right. An inner node whose condition a row does not meet
clears the leaves of its left branch; the lowest bit that is left is the leaf of the row (QuickScorer: Lucchese et al.,
SIGIR 2015). The nodes of customer columns are applied once for each customer and those of context columns once for each
offer, so that a pair applies the nodes of its own columns only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import intrinsic


class Nodes(NamedTuple):
    """Inner nodes that read the columns of a block, sorted by column and threshold.

    Attributes
    ----------
    column : ndarray of int64
        Columns that have a node.
    first : ndarray of int64
        First node of each of these columns, and the number of nodes.
    threshold : ndarray of shape (N,), float32
        A value above the threshold clears the leaves of the left branch.
    tree : ndarray of shape (N,), int32
        Tree of each node.
    mask : ndarray of shape (N,), uint32 or uint64
        Ones, but zeros for the leaves of the left branch.
    missing : ndarray of shape (N,), as `mask`
        `mask` where NaN follows the right branch, else ones.
    """

    column: np.ndarray
    first: np.ndarray
    threshold: np.ndarray
    tree: np.ndarray
    mask: np.ndarray
    missing: np.ndarray


def _lowest_bit(typing_context: Any, mask: Any) -> Any:
    """Number of the lowest bit that is set in an integer, from 0; the size of the integer if there is none."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        count = builder.cttz(arguments[0], ir.IntType(1)(0))
        return context.cast(builder, count, signature.args[0], signature.return_type)

    return types.int64(mask), codegen


lowest_bit: Any = intrinsic(_lowest_bit)


@njit(cache=True, nogil=True)
def clear_leaves(state: np.ndarray, row: np.ndarray, nodes: Nodes) -> None:
    """Clear the leaves that a row cannot reach.

    Parameters
    ----------
    state : ndarray of shape (T,), uint32 or uint64
        Leaves that are left of each tree; changed in place.
    row : ndarray of float32
        Columns of a block; NaN where missing.
    nodes : Nodes
        Of the same block.
    """
    column, first, threshold, tree = nodes.column, nodes.first, nodes.threshold, nodes.tree
    mask, missing = nodes.mask, nodes.missing
    for c in range(column.size):
        value, k, stop = row[column[c]], first[c], first[c + 1]
        if np.isnan(value):
            for n in range(k, stop):
                state[tree[n]] &= missing[n]
        else:
            while k < stop and threshold[k] < value:
                state[tree[k]] &= mask[k]
                k += 1


@njit(cache=True, nogil=True)
def is_never_bought(row: np.ndarray, column: np.ndarray, never_bought: np.ndarray) -> bool:
    """Whether some columns of a pair are those of a never-bought pair.

    Parameters
    ----------
    row, never_bought : ndarray of shape (P,)
        Columns; NaN equals NaN.
    column : ndarray of int64
        Columns to compare.

    Returns
    -------
    bool
        True if all of them are equal.
    """
    for c in range(column.size):
        value, other = row[column[c]], never_bought[column[c]]
        if value != other and not (np.isnan(value) and np.isnan(other)):
            return False
    return True


@njit(cache=True, nogil=True)
def sum_of_leaves(state: np.ndarray, first_leaf: np.ndarray, leaf: np.ndarray) -> float:
    """Sum of the leaves of all trees, as four sums that do not wait for each other.

    Parameters
    ----------
    state : ndarray of shape (T,), uint32 or uint64
        Leaves that are left of each tree; the lowest is the one.
    first_leaf : ndarray of shape (T,), int64
        First leaf of each tree.
    leaf : ndarray of shape (L,), float32
        Values of the leaves.

    Returns
    -------
    float
        The sum.
    """
    a, b, c, d, t = 0.0, 0.0, 0.0, 0.0, 0
    while t + 4 <= state.size:
        a += leaf[first_leaf[t] + lowest_bit(state[t])]
        b += leaf[first_leaf[t + 1] + lowest_bit(state[t + 1])]
        c += leaf[first_leaf[t + 2] + lowest_bit(state[t + 2])]
        d += leaf[first_leaf[t + 3] + lowest_bit(state[t + 3])]
        t += 4
    while t < state.size:
        a += leaf[first_leaf[t] + lowest_bit(state[t])]
        t += 1
    return (a + b) + (c + d)


@njit(cache=True, nogil=True)
def tree_sums(
    pair: np.ndarray,
    customer: np.ndarray,
    context: np.ndarray,
    own: Nodes,
    market: Nodes,
    customer_nodes: Nodes,
    context_nodes: Nodes,
    never_bought: np.ndarray,
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
    own, market : Nodes
        Nodes of the pair columns that are computed from the customer's own purchases of the offer, and of the others.
    customer_nodes, context_nodes : Nodes
        Nodes of the other blocks.
    never_bought : ndarray of shape (P,), float32
        Columns of a never-bought pair.
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
    trees, ones = first_leaf.size, ~own.mask.dtype.type(0)
    offer_state = np.full((context.shape[0], trees), ones, own.mask.dtype)
    for m in range(context.shape[0]):
        clear_leaves(offer_state[m], context[m], context_nodes)
    default, customer_state = np.full(trees, ones, own.mask.dtype), np.empty(trees, own.mask.dtype)
    state = np.empty(trees, own.mask.dtype)
    clear_leaves(default, never_bought, own)
    for b in range(pair.shape[0]):
        customer_state[:] = ones
        clear_leaves(customer_state, customer[b], customer_nodes)
        for m in range(pair.shape[1]):
            row = pair[b, m]
            if past_column >= 0 and not row[past_column] > 0:
                out[b, m] = 0.0
                continue
            if is_never_bought(row, own.column, never_bought):
                for t in range(trees):
                    state[t] = customer_state[t] & offer_state[m, t] & default[t]
            else:
                for t in range(trees):
                    state[t] = customer_state[t] & offer_state[m, t]
                clear_leaves(state, row, own)
            clear_leaves(state, row, market)
            out[b, m] = base + sum_of_leaves(state, first_leaf, leaf)
