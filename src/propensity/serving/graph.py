"""The trained network and the champion as traced graphs, and the two file formats that they are written in.

Shapes: B customers, M offers, P pair columns, C context columns, F customer columns, D width, R members, H hidden
units.
"""

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
from propensity.model.inference import to_tensors
from propensity.model.member import EnsembleMember
from propensity.model.offer_net import OfferNet
from propensity.model.outputs import SIGMA_MAX, Outputs
from propensity.model.repeat.mlp import RepeatMLP
from propensity.model.scale import RANGE, SPREAD
from propensity.serving.champion import Combination, TreeRows
from propensity.serving.verify import NETWORK_OUTPUTS, OUTPUTS, SMALLEST

BATCH, EVENTS, OFFERS = (torch.export.Dim(name) for name in ("customers", "events", "offers"))
DYNAMIC_SHAPES: dict[str, dict[int, Any] | None] = {
    **{name: {0: BATCH, 1: EVENTS} for name in ("token", "kind", "channel", "age", "amount")},
    **{name: {0: BATCH} for name in ("length", "customer_features")},
    **{name: {0: OFFERS} for name in ("context", "offer", "attribute", "standardisation")},
    "pair": {0: BATCH, 1: OFFERS},
    "season": None,
}


class ScoringGraph(nn.Module):
    """The outputs that production needs: probability and expected revenue of the champion, and those of the network.

    Parameters
    ----------
    model : nn.Module
        Maps `Inputs` to `Outputs`.
    combination : Combination, optional
        The champion; None if it is the network.
    torch_trees : bool, default=False
        Compute raw scores of trees in torch; else they are inputs of the graph.
    """

    def __init__(self, model: nn.Module, combination: Combination | None = None, torch_trees: bool = False) -> None:
        super().__init__()
        self.model, self.combination = model, combination
        inputs = combination.tree_inputs if combination is not None and torch_trees else {}
        self.rows = TreeRows({name: each.trees for name, each in inputs.items()}) if inputs else None

    @property
    def tree_inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs besides those of the model: raw scores of trees."""
        return () if self.combination is None or self.rows is not None else tuple(self.combination.tree_inputs)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs.

        Parameters
        ----------
        *tensors : Tensor
            Fields of `Inputs`, in order, then `tree_inputs`.

        Returns
        -------
        tuple of Tensor
            By `output_names`: probability (B, M), expected_revenue (B, M), visit (B,); channel_share (B, K) if the
            network predicts channels; network_probability and network_expected_revenue (B, M) if it is not the
            champion.
        """
        inputs, raw = Inputs(*tensors[: len(Inputs._fields)]), tensors[len(Inputs._fields) :]
        outputs = self.model(inputs)
        probability, revenue, *rest = network_outputs(outputs)
        if self.combination is None:
            return probability, revenue, *rest
        by_name = dict(zip(self.tree_inputs, raw, strict=True))
        if self.rows is not None:
            by_name = self.rows(inputs)
        terms = outputs.purchase, outputs.amount().clamp(min=SMALLEST).log()
        return *self.combination(inputs, terms, by_name), *rest, probability, revenue


def network_outputs(outputs: Outputs) -> tuple[Tensor, ...]:
    """The outputs of a network that is the champion.

    Parameters
    ----------
    outputs : Outputs
        Of the network.

    Returns
    -------
    tuple of Tensor
        By `output_names`: probability (B, M), expected_revenue (B, M), visit (B,), and channel_share (B, K) if the
        network predicts channels.
    """
    share = (outputs.channel_share(),) if outputs.channel.shape[1] else ()
    return outputs.probability(), outputs.expected_revenue(), outputs.visit.sigmoid(), *share


def output_names(channels: bool, champion: bool) -> tuple[str, ...]:
    """Names of the outputs of `ScoringGraph`.

    Parameters
    ----------
    channels : bool
        Whether the network predicts channels.
    champion : bool
        Whether the champion is not the network alone.

    Returns
    -------
    tuple of str
        In order, from `OUTPUTS`.
    """
    left_out = (() if channels else ("channel_share",)) + (() if champion else NETWORK_OUTPUTS)
    return tuple(name for name in OUTPUTS if name not in left_out)


class PartsGraph(nn.Module):
    """The terms of the network that depend on a customer or an offer alone, for `pair_scorer.FusedScorer`.

    Parameters
    ----------
    model : OfferNet
        A network for which `can_fuse` is true.
    """

    def __init__(self, model: OfferNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the terms.

        Parameters
        ----------
        *inputs : Tensor
            Fields of `Inputs`, in order.

        Returns
        -------
        tuple of Tensor
            By the names of `pair_scorer.PARTS`; the members are concatenated in the last dimension.
        """
        batch = self.model.in_units(Inputs(*inputs))
        customer_BF = self.model.scale_customer(batch.customer_features)
        context_MC = self.model.scale_context(batch.context)
        members = [self._member(member, batch, customer_BF, context_MC) for member in self.model.members]
        return tuple(torch.cat(parts, dim=-1) for parts in zip(*members, strict=True))

    @staticmethod
    def _member(member: nn.Module, batch: Inputs, customer_BF: Tensor, context_MC: Tensor) -> tuple[Tensor, ...]:
        """The terms of one member."""
        assert isinstance(member, EnsembleMember) and isinstance(member.repeat, RepeatMLP)
        state_BD, code_M = member.state(batch, customer_BF), member.offer.code(batch.offer)
        offer_MD = member.offer(code_M, batch.attribute, context_MC)
        repeat, explore, value = member.repeat, member.explore, member.value
        match_BM = state_BD.new_zeros(state_BD.shape[0], offer_MD.shape[0])
        if isinstance(explore, ExploreDotProduct):
            match_BM = explore.match(state_BD, offer_MD)
        offer_M = member.offer_logit(code_M, batch.season, offer_MD)
        visit_B = torch.full_like(state_BD[:, 0], torch.inf) if member.visit is None else member.visit_logit(state_BD)
        return (
            *(repeat.from_state(state_BD), match_BM[..., None], visit_B[:, None], value.customer(customer_BF)),
            repeat.from_offer(offer_MD) + repeat.from_pair.bias,
            *(repeat.answer(offer_MD), repeat.base(offer_MD), offer_M[:, None]),
            value.offer(code_M, context_MC) + value.pair.bias,
        )


def can_fuse(model: nn.Module) -> bool:
    """Whether `pair_scorer.FusedScorer` computes the same as a network.

    Parameters
    ----------
    model : nn.Module
        Any network.

    Returns
    -------
    bool
        True for an `OfferNet` whose members have the default repeat expert, and the default explore expert or none.
    """
    return isinstance(model, OfferNet) and all(
        isinstance(member, EnsembleMember)
        and isinstance(member.repeat, RepeatMLP)
        and isinstance(member.explore, ExploreDotProduct | None)
        for member in model.members
    )


def pair_weights(model: OfferNet) -> dict[str, np.ndarray]:
    """All weights that are applied to the pair columns, and the second layers.

    Parameters
    ----------
    model : OfferNet
        A network for which `can_fuse` is true.

    Returns
    -------
    dict of str to ndarray
        Content of parts.npz, see `fused.FusedWeights`.
    """
    members = [member for member in model.members if isinstance(member, EnsembleMember)]
    size, scale = model.scale_pair.size, model.scale_pair
    zero = torch.zeros(size, 1)
    explore = [m.explore.pair.weight.T if isinstance(m.explore, ExploreDotProduct) else zero for m in members]
    gate = [torch.zeros(size, 1) for _ in members]
    for column, member in zip(gate, members, strict=True):
        if member.gate is not None:
            column[member.gate_columns, 0] = member.gate.weight[0].detach()
    repeat = [m.repeat for m in members if isinstance(m.repeat, RepeatMLP)]
    projections = [r.from_pair.weight.T for r in repeat], explore, gate, [m.value.pair.weight.T for m in members]
    gate_bias = [torch.inf if m.gate is None else m.gate.bias.item() for m in members]
    weights = {
        "factor": scale.factor,
        "mean": scale.mean,
        "deviation": scale.deviation,
        "flagged": scale.flagged,
        "low": scale.low,
        "high": scale.high,
        "ranked": scale.ranked,
        "knots": scale.knots,
        "spread": torch.tensor(SPREAD),
        "range": torch.tensor(RANGE),
        "weight": torch.cat([part for parts in projections for part in parts], dim=1),
        "second": torch.stack([r.second.weight.T for r in repeat]),
        "bias": torch.stack([r.second.bias for r in repeat]),
        "gate": torch.tensor(gate_bias),
        "sigma_max": torch.tensor(SIGMA_MAX),
        "unit": model.unit * model.amount_scale,
    }
    return {name: tensor.detach().contiguous().numpy() for name, tensor in weights.items()}


def trace(module: nn.Module, example: Inputs, extra: int = 0) -> torch.export.ExportedProgram:
    """Trace a module with dynamic numbers of customers, events and offers.

    Parameters
    ----------
    module : nn.Module
        Takes the fields of `Inputs`, and further tensors (B, M).
    example : Inputs
        With at least two customers and events.
    extra : int, default=0
        Number of further tensors.

    Returns
    -------
    torch.export.ExportedProgram
        The traced module.

    Raises
    ------
    ConfigurationError
        If a part of the network cannot be traced.
    """
    example = with_two_offers(example)
    pairs = torch.zeros(example.pair.shape[:2])
    shapes = ((*(DYNAMIC_SHAPES[name] for name in Inputs._fields), *({0: BATCH, 1: OFFERS},) * extra),)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(
                module.eval(),
                (*to_tensors(example), *(pairs.clone() for _ in range(extra))),
                dynamic_shapes=shapes,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(
            f"this network cannot be exported ({reason}); use another part of conf/model"
        ) from error


def with_two_offers(example: Inputs) -> Inputs:
    """The same inputs with the offer twice where there is one: torch.export takes a size of 1 for a constant."""
    if example.pair.shape[1] != 1:
        return example
    axes = {name: shape for name, shape in DYNAMIC_SHAPES.items() if shape and OFFERS in shape.values()}
    twice: dict[str, Any] = {
        name: np.repeat(getattr(example, name), 2, axis=next(axis for axis, size in shape.items() if size is OFFERS))
        for name, shape in axes.items()
    }
    return example._replace(**twice)


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, names: Sequence[str] = OUTPUTS, extra: Sequence[str] = ()
) -> None:
    """Write one self-contained ONNX file.

    Parameters
    ----------
    program : torch.export.ExportedProgram
        A traced module.
    path : Path
        File to write.
    names : sequence of str
        Names of the outputs.
    extra : sequence of str
        Names of the inputs after the fields of `Inputs`.

    Raises
    ------
    ConfigurationError
        If onnxscript is not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ConfigurationError("an export to ONNX needs onnxscript; pip install 'propensity[export]'") from None
    names = names[: len(program.graph_signature.user_outputs)]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=(*Inputs._fields, *extra),
            output_names=names,
            external_data=False,
        )
        assert graph is not None
        graph.save(path)


def write_torch(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write a .pt2 archive without example inputs, the only part that torch would pickle.

    Parameters
    ----------
    program : torch.export.ExportedProgram
        A traced module.
    path : Path
        File to write.
    """
    example = program.example_inputs
    program.example_inputs = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    program.example_inputs = example


def run_network(model: nn.Module, inputs: Inputs, names: Sequence[str] = OUTPUTS) -> dict[str, np.ndarray]:
    """Run the trained network or a traced module.

    Parameters
    ----------
    model : nn.Module
        Takes the fields of `Inputs`.
    inputs : Inputs
        A batch.
    names : sequence of str
        Names of the outputs.

    Returns
    -------
    dict of str to ndarray
        Outputs by name.
    """
    with torch.inference_mode():
        outputs = model(*to_tensors(inputs))
    return {name: tensor.numpy() for name, tensor in zip(names, outputs, strict=False)}
