"""What a bundle serves: the champion of a run, and what exported files must equal."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from propensity.baseline.regression import logistic
from propensity.champion.champion import NETWORK, Champion
from propensity.champion.outputs import candidate_outputs, champion_outputs
from propensity.data.batch import Inputs
from propensity.model.inference import to_tensors
from propensity.serving.candidates import combination_of, is_network
from propensity.serving.champion import Combination
from propensity.serving.graph import ScoringGraph, network_outputs, output_names, run_network
from propensity.serving.verify import NETWORK_OUTPUTS
from propensity.training.checkpoint import Trained


class Served(NamedTuple):
    """What a bundle serves.

    Attributes
    ----------
    trained : Trained
        The run, with its network.
    combination : Combination or None
        The champion as a graph; None if it is the network.
    reference : callable
        Maps `Inputs` to outputs by name, by the libraries that trained the model: what exported files must equal.
    names : tuple of str
        Names of the outputs.
    about : dict
        Name of the champion, the reason, candidates and weights, for the manifest.
    """

    trained: Trained
    combination: Combination | None
    reference: Callable[[Inputs], dict[str, np.ndarray]]
    names: tuple[str, ...]
    about: dict[str, Any]

    def uses_network(self) -> bool:
        """Whether the scores depend on the network."""
        return self.combination is None or self.combination.mixture.uses(NETWORK)


def served_model(trained: Trained, champion: Champion) -> Served:
    """The model that a bundle serves.

    Parameters
    ----------
    trained : Trained
        The run.
    champion : Champion
        The champion of the run.

    Returns
    -------
    Served
        With a reference that computes the champion without any exported graph.
    """
    channels, pure = len(trained.vocabulary.sold_through) > 1, is_network(champion)
    own_names = output_names(channels, False)
    network = partial(run_network, ScoringGraph(trained.model).eval(), names=own_names)
    record = champion.record()
    about = {"name": record.pop("champion"), "uses": [NETWORK], **record}
    if pure:
        return Served(trained, None, network, own_names, about)
    past_column = trained.task.feature.pair.index("purchase_days")

    def reference(inputs: Inputs) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            result = trained.model(Inputs(*to_tensors(inputs)))
            values = [tensor.numpy() for tensor in network_outputs(result)]
        outputs, terms = dict(zip(own_names, values, strict=True)), candidate_outputs(result)
        logit, amount = champion_outputs(champion, inputs, terms, past_column)
        probability = logistic(logit)
        scores = {"probability": probability, "expected_revenue": probability * amount}
        own = dict(zip(NETWORK_OUTPUTS, (outputs[name] for name in scores), strict=True))
        return outputs | {name: array.astype(np.float32) for name, array in scores.items()} | own

    combination = combination_of(champion, past_column)
    about["uses"] = [name for name in combination.mixture.candidates if combination.mixture.uses(name)]
    return Served(trained, combination, reference, output_names(channels, True), about)
