"""The files of an export that hold the model: whole graphs, and the parts that score blocks of customers faster."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from propensity.data.batch import Inputs
from propensity.model.offer_net import OfferNet
from propensity.serving import linear_scorer, pair_scorer, tree_scorer
from propensity.serving.bundle_file import write_arrays
from propensity.serving.champion import CombinationGraph
from propensity.serving.graph import PartsGraph, ScoringGraph, can_fuse, pair_weights, trace, write_onnx, write_torch
from propensity.serving.served import Served
from propensity.serving.tree_inputs import TreeInput, insert_trees
from propensity.serving.tree_scorer import BlockSizes, can_mask, tree_arrays
from propensity.serving.verify import OUTPUTS

FILES = {"onnx": "model.onnx", "torch_export": "model.pt2"}


def write_scoring_onnx(served: Served, path: Path, golden: Inputs) -> None:
    """Write the whole model as ONNX.

    Parameters
    ----------
    served : Served
        The model of the bundle.
    path : Path
        File to write.
    golden : Inputs
        Example inputs for tracing.
    """
    graph = ScoringGraph(served.trained.model, served.combination)
    write_onnx(trace(graph, golden, len(graph.tree_inputs)), path, served.names, graph.tree_inputs)
    if served.combination is not None:
        insert_trees(path, served.combination.tree_inputs)


def write_scoring_torch(served: Served, path: Path, golden: Inputs) -> None:
    """Write the whole model as torch.export writes it, with trees as tensors.

    Parameters
    ----------
    served, path, golden
        See `write_scoring_onnx`.
    """
    write_torch(trace(ScoringGraph(served.trained.model, served.combination, torch_trees=True), golden), path)


def write_pair_scorer(draft: Path, served: Served, golden: Inputs) -> None:
    """Write the files that score blocks of customers faster than the whole graph, where they can.

    Parameters
    ----------
    draft : Path
        Folder of the bundle.
    served : Served
        The model of the bundle.
    golden : Inputs
        Example inputs for tracing.

    Notes
    -----
    A network for which `can_fuse` is true is written as parts, unless the champion does not use it. A champion other
    than the network is written as a graph without it.
    """
    model, combination = served.trained.model, served.combination
    fusable = can_fuse(model)
    if fusable and served.uses_network():
        write_onnx(trace(PartsGraph(cast(OfferNet, model)), golden), draft / pair_scorer.GRAPH, pair_scorer.PARTS)
        write_arrays(draft / pair_scorer.WEIGHTS, pair_weights(cast(OfferNet, model)))
    if combination is not None and (fusable or not served.uses_network()):
        program = trace(CombinationGraph(combination), golden, len(combination.extra_inputs))
        write_onnx(program, draft / pair_scorer.CHAMPION, OUTPUTS[:2], combination.extra_inputs)
        write_trees(draft, combination.tree_inputs, golden)
        if combination.linear_inputs:
            write_arrays(draft / linear_scorer.FILE, linear_scorer.linear_arrays(combination.linear_inputs))


def write_trees(draft: Path, tree_inputs: dict[str, TreeInput], golden: Inputs) -> None:
    """Write the trees of the champion to a file of their own, and those that do not fit in it into its graph.

    Parameters
    ----------
    draft : Path
        Folder of the bundle, with the graph of the champion.
    tree_inputs : dict of str to TreeInput
        Trees by the name of their raw scores.
    golden : Inputs
        Example inputs.
    """
    apart = {name: each for name, each in tree_inputs.items() if can_mask(each.trees)}
    insert_trees(draft / pair_scorer.CHAMPION, {name: each for name, each in tree_inputs.items() if name not in apart})
    if apart:
        sizes = BlockSizes(*(array.shape[-1] for array in (golden.pair, golden.customer_features, golden.context)))
        write_arrays(draft / tree_scorer.FILE, tree_arrays(apart, sizes))
