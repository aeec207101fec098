"""Replaces inputs of an ONNX graph, the raw scores of trees, by the trees themselves.

Shapes: B customers, M offers, P pair columns, F customer columns, C context columns, n selected pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from propensity.serving.tree_sum import Trees
from propensity.serving.trees import ML_DOMAIN, ML_OPSET, constant_node, tree_nodes

if TYPE_CHECKING:
    import onnx


class TreeInput(NamedTuple):
    """An input of a graph that trees compute.

    Attributes
    ----------
    trees : Trees
        The ensemble.
    past_column : int or None
        Pair column; pairs in which it is not above 0 are skipped and get 0. None for all pairs.
    """

    trees: Trees
    past_column: int | None


def insert_trees(path: Path, tree_inputs: dict[str, TreeInput]) -> None:
    """Replace inputs of an ONNX file by trees on its inputs pair, customer_features and context.

    Parameters
    ----------
    path : Path
        ONNX file, which is replaced.
    tree_inputs : dict of str to TreeInput
        By the name of the input, each (B, M).
    """
    import onnx
    from onnx import helper

    if not tree_inputs:
        return
    model = onnx.load(path)
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    rows: dict[int | None, str] = {}
    for name, each in tree_inputs.items():
        if each.past_column not in rows:
            rows[each.past_column] = f"tree_rows_{len(rows)}"
            nodes += _rows(each.past_column, _pair_columns(graph), rows[each.past_column])
        nodes += _raw_scores(each, name, rows[each.past_column])
    inputs = [each for each in graph.input if each.name not in tree_inputs]
    nodes += graph.node
    del graph.input[:], graph.node[:]
    graph.input.extend(inputs)
    graph.node.extend(nodes)
    model.opset_import.append(helper.make_opsetid(ML_DOMAIN, ML_OPSET))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _pair_columns(graph: onnx.GraphProto) -> int:
    """P, from the declared shape of the input pair."""
    (pair,) = (each for each in graph.input if each.name == "pair")
    return int(pair.type.tensor_type.shape.dim[2].dim_value)


class _Nodes:
    """Nodes whose constants are made on the way."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.nodes = prefix, list[Any]()

    def constant(self, values: np.ndarray) -> str:
        """Name of a constant."""
        name = f"{self.prefix}_constant_{len(self.nodes)}"
        self.nodes.append(constant_node(name, values))
        return name

    def add(self, operator: str, *inputs: str | np.ndarray, name: str | None = None, **attributes: Any) -> str:
        """Name of the output of an operator."""
        from onnx import helper

        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        output = name or f"{self.prefix}_{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _rows(past_column: int | None, columns: int, name: str) -> Iterator[onnx.NodeProto]:
    """Nodes of the rows (n, P + F + C) of selected pairs; their places in (B M,) are `{name}_place` if not all."""
    nodes = _Nodes(name)
    flat = nodes.add("Reshape", "pair", _ints(-1, columns))
    if past_column is None:
        pairs = nodes.add("Shape", "pair", end=2)
        parts = [flat]
        for field, axis in (("customer_features", 1), ("context", 0)):
            size = nodes.add("Shape", field, start=1)
            expanded = nodes.add(
                "Expand", nodes.add("Unsqueeze", field, _ints(axis)), nodes.add("Concat", pairs, size, axis=0)
            )
            parts.append(nodes.add("Reshape", expanded, nodes.add("Concat", nodes.constant(_ints(-1)), size, axis=0)))
    else:
        past = nodes.add("Gather", flat, _ints(past_column), axis=1)
        some = nodes.add("NonZero", nodes.add("Greater", past, np.zeros(1, np.float32)))
        place = nodes.add("Gather", some, np.array(0, np.int64), axis=0, name=f"{name}_place")
        offers = nodes.add("Shape", "pair", start=1, end=2)
        parts = [
            nodes.add("Gather", flat, place, axis=0),
            nodes.add("Gather", "customer_features", nodes.add("Div", place, offers), axis=0),
            nodes.add("Gather", "context", nodes.add("Mod", place, offers), axis=0),
        ]
    nodes.add("Concat", *parts, axis=1, name=name)
    yield from nodes.nodes


def _raw_scores(each: TreeInput, name: str, rows: str) -> Iterator[onnx.NodeProto]:
    """Nodes of the raw scores (B, M) from the rows of pairs."""
    nodes = _Nodes(f"{name}_scores")
    raw = f"{name}_raw"
    yield from tree_nodes(each.trees, rows, raw)
    pairs = nodes.add("Shape", "pair", end=2)
    if each.past_column is not None:
        size = nodes.add("Concat", nodes.add("ReduceProd", pairs, keepdims=1), nodes.constant(_ints(1)), axis=0)
        zeros = nodes.add("Expand", np.zeros((1, 1), np.float32), size)
        place = nodes.add("Unsqueeze", f"{rows}_place", _ints(1))
        raw = nodes.add("ScatterElements", zeros, place, raw, axis=0)
    nodes.add("Reshape", raw, pairs, name=name)
    yield from nodes.nodes
