"""Gradient-boosted trees of LightGBM in an ONNX graph and in torch, with the decisions of LightGBM on float32 columns.

Shapes: N rows, C columns.

Notes
-----
LightGBM compares float64 thresholds with columns that are float32 here. A threshold is therefore rounded down: a
float32 is at most the threshold if and only if it is at most the largest float32 that is not above the threshold. Other
roundings send rows to other leaves. LightGBM also reads every value of at most 1e-35 as the number 0, so thresholds
beside 0 are moved to the edge of that range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from propensity.errors import ConfigurationError, DataError
from propensity.serving.tree_sum import Trees

if TYPE_CHECKING:
    import onnx

ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 5  # the first opset with TreeEnsemble
LESS_OR_EQUAL = 0  # of TreeEnsemble's nodes_modes
CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of LightGBM's decision_type; the two bits above say what counts as missing
MISSING = ("None", "Zero", "NaN")
ZERO = np.float32(1e-35)  # LightGBM's kZeroThreshold


def read_trees(text: str) -> Trees:
    """Read a LightGBM model from its text.

    Parameters
    ----------
    text : str
        Of `lightgbm.Booster.model_to_string`, or of a file that `save_model` wrote.

    Returns
    -------
    Trees
        Their sum is the raw score of LightGBM, up to the rounding of float32 sums.

    Raises
    ------
    ConfigurationError
        For categorical splits, zeros that count as missing, linear leaves, several classes or averaged trees.
    DataError
        If the text is not that of a LightGBM model, or is truncated.
    """
    header, *blocks = re.split(r"^Tree=\d+\n", text.partition("\nend of trees")[0], flags=re.MULTILINE)
    if not header.startswith("tree\n") or "\nend of trees" not in text:
        raise DataError(f"not the text of a LightGBM model ({text[:20]!r}...); train again")
    refuse_unsupported(header)
    parts = [_read_tree(_fields(block)) for block in blocks]
    trees = [tree for tree in parts if tree.root.size]
    return _joined(trees, sum(tree.base for tree in parts))


def refuse_unsupported(header: str) -> None:
    """Refuse models that are not a sum of trees.

    Parameters
    ----------
    header : str
        Text before the first tree.

    Raises
    ------
    ConfigurationError
        For several classes, or averaged trees.
    """
    fields = _fields(header)
    if fields.get("num_tree_per_iteration", "1") != "1":
        raise ConfigurationError(
            f"this LightGBM model has {fields['num_tree_per_iteration']} classes; a bundle holds trees with one output"
        )
    if re.search(r"^average_output$", header, flags=re.MULTILINE):
        raise ConfigurationError(
            "this LightGBM model averages its trees (boosting=rf); a bundle holds boosted trees, use boosting=gbdt"
        )


def round_down(threshold: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each number.

    Parameters
    ----------
    threshold : ndarray of float64
        Numbers.

    Returns
    -------
    ndarray of float32
        Of the same shape.

    Examples
    --------
    >>> float(round_down(np.array([0.1]))[0]) <= 0.1 < float(np.float32(0.1))
    True
    """
    with np.errstate(over="ignore"):
        nearest = np.asarray(threshold, np.float64).astype(np.float32)
    return np.where(nearest > threshold, np.nextafter(nearest, np.float32(-np.inf)), nearest).astype(np.float32)


def beside_zero(threshold: np.ndarray) -> np.ndarray:
    """Thresholds that treat every value of at most `ZERO` as 0.

    Parameters
    ----------
    threshold : ndarray of float32
        Thresholds.

    Returns
    -------
    ndarray of float32
        Unchanged outside [-ZERO, ZERO]; inside, all of that range is on the side of 0.
    """
    below = np.nextafter(-ZERO, np.float32(-np.inf))
    inside = np.abs(threshold) <= ZERO
    return np.where(inside, np.where(threshold >= 0, ZERO, below), threshold).astype(np.float32)


def _fields(block: str) -> dict[str, str]:
    """The lines `key=value` of a part of the text."""
    return {key: value for key, found, value in (line.partition("=") for line in block.splitlines()) if found}


def _read_tree(fields: Mapping[str, str]) -> Trees:
    """One tree, from its lines in the text."""
    if fields.get("num_cat", "0") != "0":
        raise ConfigurationError("a tree splits a categorical column; train LightGBM without categorical_feature")
    if fields.get("is_linear", "0") != "0":
        raise ConfigurationError("a tree has linear leaves; train LightGBM with linear_tree=false")
    try:
        leaves = int(fields["num_leaves"])
        leaf = _numbers(fields, "leaf_value", np.float64, leaves)
        if leaves == 1:
            return _joined([], float(leaf[0]))
        names = {"split_feature": np.int64, "threshold": np.float64, "decision_type": np.int64}
        children = {"left_child": np.int64, "right_child": np.int64}
        column, threshold, decision, left, right = (
            _numbers(fields, name, dtype, leaves - 1) for name, dtype in (names | children).items()
        )
    except (KeyError, ValueError) as error:
        raise DataError(f"a tree of a LightGBM model is damaged ({error}); train again") from None
    missing_left = _missing_left(threshold, decision)
    return Trees(
        *(column, beside_zero(round_down(threshold)), missing_left, left, right),
        *((leaf - leaf.mean()).astype(np.float32), np.zeros(1, np.int64), float(leaf.mean())),
    )


def _missing_left(threshold: np.ndarray, decision: np.ndarray) -> np.ndarray:
    """Whether NaN follows the left branch: a missing NaN by the default of the node, any other NaN as the number 0."""
    if (decision & CATEGORICAL).any():
        raise ConfigurationError("a tree splits a categorical column; train LightGBM without categorical_feature")
    missing = decision >> 2 & 3
    if (missing == MISSING.index("Zero")).any():
        raise ConfigurationError("a tree treats 0 as missing; train LightGBM with zero_as_missing=false")
    return np.where(missing == MISSING.index("NaN"), (decision & DEFAULT_LEFT) > 0, threshold >= 0)


def _numbers(fields: Mapping[str, str], name: str, dtype: Any, size: int) -> np.ndarray:
    """The numbers of one line."""
    numbers = np.array(fields[name].split(), dtype)
    if numbers.size != size:
        raise ValueError(f"{name} has {numbers.size} numbers, not {size}")
    return numbers


def _joined(trees: list[Trees], base: float) -> Trees:
    """Several trees as one, with the nodes and leaves of each after those before."""
    nodes = np.cumsum([0, *(tree.column.size for tree in trees)])
    leaves = np.cumsum([0, *(tree.leaf.size for tree in trees)])

    def children(name: str) -> list[np.ndarray]:
        shifts = zip((getattr(tree, name) for tree in trees), nodes, leaves, strict=False)
        return [np.where(child >= 0, child + node, child - leaf) for child, node, leaf in shifts]

    def join(arrays: list[np.ndarray], dtype: Any) -> np.ndarray:
        return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype)

    return Trees(
        join([tree.column for tree in trees], np.int64),
        join([tree.threshold for tree in trees], np.float32),
        join([tree.missing_left for tree in trees], bool),
        join(children("left"), np.int64),
        join(children("right"), np.int64),
        join([tree.leaf for tree in trees], np.float32),
        nodes[:-1].astype(np.int64),
        base,
    )


def constant_node(name: str, values: np.ndarray) -> onnx.NodeProto:
    """ONNX node of a constant, an array of any shape, whose output has the given name."""
    from onnx import helper, numpy_helper

    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))


def tree_nodes(trees: Trees, rows: str, output: str) -> Iterator[onnx.NodeProto]:
    """ONNX nodes that compute the raw score.

    Parameters
    ----------
    trees : Trees
        The trees.
    rows : str
        Name of a float tensor (N, C).
    output : str
        Name of the tensor (N, 1) of raw scores. Names of other tensors start with it.

    Yields
    ------
    onnx.NodeProto
        In the order of computation; they need opset `ML_OPSET` of `ML_DOMAIN`.
    """
    from onnx import helper

    base = np.array([trees.base], np.float32)
    if trees.root.size == 0:
        yield constant_node(f"{output}_column", np.zeros(1, np.int64))
        yield constant_node(f"{output}_base", base)
        yield helper.make_node("Gather", [rows, f"{output}_column"], [f"{output}_first"], axis=1)
        yield helper.make_node("Shape", [f"{output}_first"], [f"{output}_shape"])
        yield helper.make_node("Expand", [f"{output}_base", f"{output}_shape"], [output])
        return
    yield helper.make_node("TreeEnsemble", [rows], [f"{output}_sum"], domain=ML_DOMAIN, **_attributes(trees))
    yield constant_node(f"{output}_base", base)
    yield helper.make_node("Add", [f"{output}_sum", f"{output}_base"], [output])


def _attributes(trees: Trees) -> dict[str, Any]:
    """Attributes of TreeEnsemble."""
    from onnx import numpy_helper

    def targets(child: np.ndarray) -> tuple[list[int], list[int]]:
        return np.where(child >= 0, child, -1 - child).tolist(), (child < 0).astype(int).tolist()

    (true_nodes, true_leaves), (false_nodes, false_leaves) = targets(trees.left), targets(trees.right)
    return {
        "n_targets": 1,
        "tree_roots": trees.root.tolist(),
        "nodes_featureids": trees.column.tolist(),
        "nodes_splits": numpy_helper.from_array(trees.threshold),
        "nodes_modes": numpy_helper.from_array(np.full(trees.column.size, LESS_OR_EQUAL, np.uint8)),
        "nodes_truenodeids": true_nodes,
        "nodes_trueleafs": true_leaves,
        "nodes_falsenodeids": false_nodes,
        "nodes_falseleafs": false_leaves,
        "nodes_missing_value_tracks_true": trees.missing_left.astype(int).tolist(),
        "leaf_targetids": [0] * trees.leaf.size,
        "leaf_weights": numpy_helper.from_array(trees.leaf),
    }


class TorchTrees(nn.Module):
    """The same trees in torch, for a format without trees of its own: every row walks all trees, one level at a time.

    Parameters
    ----------
    trees : Trees
        The trees.

    Notes
    -----
    A leaf is a node whose branches lead to itself, so that all paths have the same length.
    """

    column: Tensor
    threshold: Tensor
    missing_left: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    root: Tensor
    base: Tensor

    def __init__(self, trees: Trees) -> None:
        super().__init__()
        nodes, leaves = trees.column.size, trees.leaf.size
        own = nodes + np.arange(leaves)

        def child(branch: np.ndarray) -> np.ndarray:
            return np.concatenate([np.where(branch >= 0, branch, nodes - 1 - branch), own])

        arrays = {
            "column": np.concatenate([trees.column, np.zeros(leaves, np.int64)]),
            "threshold": np.concatenate([trees.threshold, np.zeros(leaves, np.float32)]),
            "missing_left": np.concatenate([trees.missing_left, np.zeros(leaves, bool)]),
            "left": child(trees.left),
            "right": child(trees.right),
            "value": np.concatenate([np.zeros(nodes, np.float32), trees.leaf]),
            "root": trees.root,
            "base": np.array(trees.base, np.float32),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)))
        self.depth = trees.depth

    def forward(self, rows: Tensor) -> Tensor:
        """Compute the raw score.

        Parameters
        ----------
        rows : Tensor of shape (N, C)
            Columns; NaN where missing.

        Returns
        -------
        Tensor of shape (N,)
            Raw scores.
        """
        node = self.root.expand(rows.shape[0], -1)
        for _ in range(self.depth):
            value = rows.gather(1, self.column[node])
            left = (value <= self.threshold[node]) | (value.isnan() & self.missing_left[node])
            node = torch.where(left, self.left[node], self.right[node])
        return self.value[node].sum(1) + self.base
