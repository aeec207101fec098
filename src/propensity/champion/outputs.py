"""Log-odds and amounts of a champion and of its network, by the libraries that fitted the candidates."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from propensity.baseline.candidate import CandidateOutputs
from propensity.champion.champion import NETWORK, Champion
from propensity.champion.choose import STACK
from propensity.data.batch import Inputs
from propensity.model.inference import to_tensors
from propensity.model.outputs import Outputs


def champion_outputs(
    champion: Champion, inputs: Inputs, network: CandidateOutputs, past_column: int
) -> CandidateOutputs:
    """Log-odds and amounts of a champion for a batch, by the libraries that fitted its candidates.

    Parameters
    ----------
    champion : Champion
        A champion with candidates.
    inputs : Inputs
        A batch, as arrays.
    network : CandidateOutputs
        Log-odds and amounts of the network.
    past_column : int
        Pair column `purchase_days`.

    Returns
    -------
    CandidateOutputs
        Each (B, M).
    """
    own = {name: candidate.outputs(inputs) for name, candidate in champion.candidates.items()} | {NETWORK: network}
    stack = champion.stack
    logit, amount = (np.stack(terms) for terms in zip(*(own[name] for name in stack.names), strict=True))
    past = np.asarray(inputs.pair)[..., past_column] > 0
    chosen = stack.logit(logit, past) if champion.name == STACK else own[champion.name].logit
    return CandidateOutputs(chosen, stack.amount.amount(amount))


def network_candidate_outputs(model: nn.Module, inputs: Inputs) -> CandidateOutputs:
    """Log-odds and amounts of the network for a batch.

    Parameters
    ----------
    model : nn.Module
        Maps `Inputs` to `Outputs`.
    inputs : Inputs
        A batch, as arrays.

    Returns
    -------
    CandidateOutputs
        Each (B, M), float64.
    """
    with torch.inference_mode():
        return candidate_outputs(model(Inputs(*to_tensors(inputs))))


def candidate_outputs(outputs: Outputs) -> CandidateOutputs:
    """Log-odds and amounts of the network.

    Parameters
    ----------
    outputs : Outputs
        Of the network for a batch, without gradients.

    Returns
    -------
    CandidateOutputs
        Each (B, M), float64.
    """
    return CandidateOutputs(outputs.purchase.double().numpy(), outputs.amount().double().numpy())
