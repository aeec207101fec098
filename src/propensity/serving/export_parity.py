"""Comparison of the files of an export with the trained model, on golden and real customers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from propensity.data.batch import Inputs
from propensity.serving import pair_scorer, verify
from propensity.serving.graph import run_network
from propensity.serving.model_file import FILES
from propensity.serving.parity import Model, Parity, compare_top_k, edge_cases
from propensity.serving.served import Served
from propensity.serving.session import session
from propensity.serving.verify import OUTPUTS
from propensity.task import CutoffData

BLOCK = 64


def measure_parity(
    draft: Path,
    served: Served,
    formats: Sequence[str],
    golden: Inputs,
    first: CutoffData,
    earlier: Iterator[CutoffData],
    rows: int,
) -> Parity:
    """Compare the exported files, as written, with the trained model on golden and real customers.

    Parameters
    ----------
    draft : Path
        Folder of the bundle.
    served : Served
        The model of the bundle.
    formats : sequence of str
        Exported formats.
    golden : Inputs
        Inputs of the golden customers.
    first : CutoffData
        Data of the latest cutoff, on which the best customers of each offer are compared too.
    earlier : iterator of CutoffData
        Data of earlier cutoffs.
    rows : int
        Real customers to compare, counted once per cutoff.

    Returns
    -------
    Parity
        Differences by format. `rows` and `pairs` count real customers only.

    Raises
    ------
    GateError
        If a format differs by more than the tolerance.
    """
    reference, names = served.reference, served.names
    models: dict[str, Any] = {"onnx": partial(_run_onnx, session(draft / FILES["onnx"]))}
    if "torch_export" in formats:
        graph = torch.export.load(draft / FILES["torch_export"]).module()
        models["torch_export"] = partial(run_network, graph, names=names)
    if (scorer := pair_scorer.fast_scorer(draft)) is not None:
        models["fused"] = lambda batch: dict(zip(OUTPUTS, scorer(batch._asdict()), strict=False))
    parity = Parity()
    for description, batch in edge_cases(golden):
        parity.compare(reference, models, batch, description)
    parity = Parity(max_difference=parity.max_difference)  # from here on, rows and pairs count real customers
    compare_cutoff(parity, reference, models, first, rows)
    for cutoff_data in earlier if parity.rows < rows else ():
        for description, batch in described_blocks(cutoff_data):
            parity.compare(reference, models, batch, description)
            if parity.rows >= rows:
                return parity
    return parity


def compare_cutoff(parity: Parity, reference: Model, models: Mapping[str, Model], first: CutoffData, rows: int) -> None:
    """Compare the best customers of each offer at a cutoff, and the outputs of its first `rows` customers.

    Parameters
    ----------
    parity : Parity
        Receives the result.
    reference, models
        See `Parity.compare`.
    first : CutoffData
        Data of the cutoff.
    rows : int
        Customers whose outputs are compared.
    """
    probabilities = []
    for description, batch in described_blocks(first):
        if parity.rows < rows:
            outputs = parity.compare(reference, models, batch, description)
        else:
            outputs = [model(batch) for model in (reference, *models.values())]
        probabilities.append([each["probability"] for each in outputs])
    expected, *others = (np.concatenate(parts) for parts in zip(*probabilities, strict=True))
    for name, actual in zip(models, others, strict=True):
        parity.top_k_swaps[name] = compare_top_k(expected, actual)


def described_blocks(cutoff_data: CutoffData) -> Iterator[tuple[str, Inputs]]:
    """Blocks of the customers of a cutoff, each with a description for error messages."""
    for block, batch in cutoff_data.blocks(BLOCK):
        yield f"customers {block.start} to {block.stop} at {cutoff_data.market_stats.cutoff}", batch


def _run_onnx(running: Any, batch: Inputs) -> dict[str, np.ndarray]:
    """Outputs of an ONNX session for a batch."""
    return verify.run_session(running, batch._asdict())
