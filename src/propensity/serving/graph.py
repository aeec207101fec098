"""The trained network as a graph: what is exported, and the two formats that it is written in."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs
from propensity.errors import ConfigurationError
from propensity.model.explore.dot_product import ExploreDotProduct
from propensity.model.member import EnsembleMember
from propensity.model.offer_net import OfferNet
from propensity.model.outputs import SIGMA_MAX
from propensity.model.repeat.mlp import RepeatMLP
from propensity.model.scale import SPREAD
from propensity.serving.verify import OUTPUTS
from propensity.training.data_module import to_tensors

BATCH, EVENTS, OFFERS = (torch.export.Dim(name) for name in ("customers", "events", "offers"))
OPEN: dict[str, dict[int, Any] | None] = {
    **{name: {0: BATCH, 1: EVENTS} for name in ("token", "kind", "channel", "age", "amount")},
    **{name: {0: BATCH} for name in ("length", "customer")},
    **{name: {0: OFFERS} for name in ("context", "offer", "attribute")},
    "pair": {0: BATCH, 1: OFFERS},
    "season": None,
}


class ScoringGraph(nn.Module):
    """Inputs, field by field, to what is asked of a network in production: `OUTPUTS`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(Inputs(*inputs))
        answer = outputs.probability(), outputs.expected_revenue(), outputs.visit.sigmoid(), outputs.channel_share()
        return answer if outputs.channel.shape[1] else answer[:3]


class PartsGraph(nn.Module):
    """What customers and offers bring to every pair, by the names of `fused.PARTS`, all members side by side."""

    def __init__(self, model: OfferNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        asked = Inputs(*inputs)
        customer_BF = self.model.scale_customer(asked.customer)
        context_MC = self.model.scale_context(asked.context)
        each = [self._member(member, asked, customer_BF, context_MC) for member in self.model.members]
        return tuple(torch.cat(parts, dim=-1) for parts in zip(*each, strict=True))

    @staticmethod
    def _member(member: nn.Module, asked: Inputs, customer_BF: Tensor, context_MC: Tensor) -> tuple[Tensor, ...]:
        assert isinstance(member, EnsembleMember) and isinstance(member.repeat, RepeatMLP)
        state_BD, offer_MD = member.state(asked, customer_BF), member.offer(asked.offer, asked.attribute, context_MC)
        repeat, explore, value = member.repeat, member.explore, member.value
        match_BM = state_BD.new_zeros(state_BD.shape[0], offer_MD.shape[0])
        if isinstance(explore, ExploreDotProduct):
            match_BM = explore.match(state_BD, offer_MD)
        season_M = torch.zeros_like(offer_MD[:, 0])
        if member.season is not None:
            season_M = season_M + member.season(asked.season, offer_MD)
        visit_B = torch.full_like(state_BD[:, 0], torch.inf) if member.visit is None else member.visit(state_BD)
        return (
            *(repeat.from_state(state_BD), match_BM[..., None], visit_B[:, None], value.state(state_BD)),
            repeat.from_offer(offer_MD) + repeat.from_pair.bias,
            *(repeat.answer(offer_MD), repeat.base(offer_MD), season_M[:, None]),
            value.offer(offer_MD) + value.pair.bias,
        )


def fusible(model: nn.Module) -> bool:
    """Whether `fused.py` computes the same as this network."""
    return isinstance(model, OfferNet) and all(
        isinstance(member, EnsembleMember)
        and isinstance(member.repeat, RepeatMLP)
        and isinstance(member.explore, ExploreDotProduct | None)
        for member in model.members
    )


def pair_weights(model: OfferNet) -> dict[str, np.ndarray]:
    """What `fused.readings` wants: everything that reads the scaled columns of a pair, and the second layers."""
    members = [member for member in model.members if isinstance(member, EnsembleMember)]
    size, scale = model.scale_pair.size, model.scale_pair
    none = torch.zeros(size, 1)
    explore = [m.explore.pair.weight.T if isinstance(m.explore, ExploreDotProduct) else none for m in members]
    gate = [torch.zeros(size, 1) for _ in members]
    for row, member in zip(gate, members, strict=True):
        if member.gate is not None:
            row[member.gate_columns, 0] = member.gate.weight[0].detach()
    habits = [m.repeat for m in members if isinstance(m.repeat, RepeatMLP)]
    reading = [h.from_pair.weight.T for h in habits], explore, gate, [m.value.pair.weight.T for m in members]
    bias = [torch.inf if m.gate is None else m.gate.bias.item() for m in members]
    found = {
        "mean": scale.mean,
        "deviation": scale.deviation,
        "flagged": scale.flagged,
        "low": scale.low,
        "high": scale.high,
        "ranked": scale.ranked,
        "knots": scale.knots,
        "spread": torch.tensor(SPREAD),
        "weight": torch.cat([part for parts in reading for part in parts], dim=1),
        "second": torch.stack([h.second.weight.T for h in habits]),
        "bias": torch.stack([h.second.bias for h in habits]),
        "gate": torch.tensor(bias),
        "sigma_max": torch.tensor(SIGMA_MAX),
    }
    return {name: tensor.detach().contiguous().numpy() for name, tensor in found.items()}


def traced(module: nn.Module, example: Inputs) -> torch.export.ExportedProgram:
    """A module of inputs with open numbers of customers, events and offers; `example` has two or more of each.

    Raises: ConfigurationError for a part that cannot be traced so.
    """
    shapes = (tuple(OPEN[name] for name in Inputs._fields),)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(
                module.eval(),
                tuple(to_tensors(example)),
                dynamic_shapes=shapes,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(
            f"this network cannot be exported ({reason}); use another part of conf/model"
        ) from error


def write_onnx(program: torch.export.ExportedProgram, path: Path, names: Sequence[str] = OUTPUTS) -> None:
    """One self-contained file, its outputs called `names`."""
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ConfigurationError("an export to ONNX needs onnxscript; pip install 'propensity[export]'") from None
    names = names[: len(program.graph_signature.user_outputs)]
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
