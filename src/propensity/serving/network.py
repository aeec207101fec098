"""The trained network as a graph: what is exported, and the two formats that it is written in."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs
from propensity.errors import ConfigurationError
from propensity.serving.check import OUTPUTS
from propensity.training.loader import to_tensors

BATCH, EVENTS, OFFERS = (torch.export.Dim(name) for name in ("customers", "events", "offers"))
OPEN: dict[str, dict[int, Any] | None] = {
    **{name: {0: BATCH, 1: EVENTS} for name in ("token", "kind", "channel", "gap", "amount")},
    **{name: {0: BATCH} for name in ("length", "customer")},
    **{name: {0: OFFERS} for name in ("context", "offer", "attribute")},
    "pair": {0: BATCH, 1: OFFERS},
    "season": None,
}


class Answering(nn.Module):
    """Inputs, field by field, to what is asked of a network in production: `OUTPUTS`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(Inputs(*inputs))
        answer = outputs.probability(), outputs.expected_revenue(), outputs.visit.sigmoid(), outputs.channel_share()
        return answer if outputs.channel.shape[1] else answer[:3]


def traced(model: nn.Module, example: Inputs) -> torch.export.ExportedProgram:
    """The network with open numbers of customers, events and offers; `example` has two or more of each.

    Raises: ConfigurationError for a part that cannot be traced so.
    """
    shapes = (tuple(OPEN[name] for name in Inputs._fields),)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(
                Answering(model).eval(),
                tuple(to_tensors(example)),
                dynamic_shapes=shapes,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"this network cannot be exported ({reason}); use another part of conf/model") from error


def write_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    """One self-contained file."""
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ConfigurationError("an export to ONNX needs onnxscript; pip install 'propensity[export]'") from None
    names = OUTPUTS[: len(program.graph_signature.user_outputs)]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=Inputs._fields, output_names=names, external_data=False
        )
        assert graph is not None
        graph.save(path)


def write_torch(program: torch.export.ExportedProgram, path: Path) -> None:
    """A .pt2 archive without example inputs, the only part that torch would pickle."""
    example = program.example_inputs
    program.example_inputs = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    program.example_inputs = example


def ask(model: nn.Module, inputs: Inputs) -> dict[str, np.ndarray]:
    """What the network itself, or a traced one, answers: arrays by the names of `OUTPUTS`."""
    with torch.inference_mode():
        found = model(*to_tensors(inputs))
    return {name: tensor.numpy() for name, tensor in zip(OUTPUTS, found, strict=False)}
