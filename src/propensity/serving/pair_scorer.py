"""The scorers of a bundle: from the inputs of customers to probability and expected revenue.

Shapes: B customers, M offers, P pair columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from propensity.serving import verify
from propensity.serving.fused import combine_members, first_layer, fused_weights, network_columns
from propensity.serving.linear_scorer import FILE as LINEAR
from propensity.serving.linear_scorer import LinearScorer, read_linear_scorers
from propensity.serving.session import session
from propensity.serving.tree_scorer import FILE as TREES
from propensity.serving.tree_scorer import TreeScorer, read_tree_scorers
from propensity.serving.verify import NETWORK_INPUTS, SMALLEST

GRAPH, WEIGHTS = "parts.onnx", "parts.npz"  # in a bundle whose network is supported and has a weight in the scores
CHAMPION = "champion.onnx"  # the champion without the network, if it is not the network alone
CUSTOMER_PARTS = ("first_customer", "match", "visit", "value_customer")
OFFER_PARTS = ("first_offer", "output_weight", "output_bias", "season_logit", "value_offer")
PARTS = (*CUSTOMER_PARTS, *OFFER_PARTS)
TILE = 512  # pairs whose layers fit into the cache of a core
PairScorer = Callable[[Mapping[str, Any]], tuple[np.ndarray, np.ndarray]]


class OnnxScorer:
    """Scores pairs with the whole graph in ONNX Runtime.

    Parameters
    ----------
    model : onnxruntime.InferenceSession
        The bundle's model.onnx.
    """

    def __init__(self, model: ort.InferenceSession) -> None:
        self.model = model

    def __call__(self, inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Probability and expected revenue (B, M) of the champion, see `FusedScorer.outputs`."""
        names = [node.name for node in self.model.get_inputs()]
        probability, revenue = self.model.run(verify.OUTPUTS[:2], {name: inputs[name] for name in names})
        return probability, revenue


class FusedScorer:
    """The network of a bundle: terms of customers and offers by a graph, pairs by kernels.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    """

    def __init__(self, folder: Path) -> None:
        weights = verify.load_arrays(folder / WEIGHTS)
        self.sigma_max, self.unit = float(weights["sigma_max"]), float(weights["unit"])
        self.weights = fused_weights(weights)
        self.session = session(folder / GRAPH)

    def __call__(self, inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Probability and expected revenue (B, M), see `outputs`."""
        probability, revenue, _ = self.outputs(inputs)
        return probability, revenue

    def outputs(self, inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score B customers for M offers.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            Arrays by the names of `propensity.data.batch.Inputs`.

        Returns
        -------
        probability, expected_revenue, logit : ndarray of shape (B, M), float32
            Of the network; revenue is in the log's currency.
        """
        parts = verify.run_session(self.session, inputs)
        standardisation = np.ascontiguousarray(inputs["standardisation"], np.float32)
        shape, (members, units) = inputs["pair"].shape[:2], self.weights.bias.shape
        probability, revenue, logit = (np.empty(shape, np.float32) for _ in range(3))
        step = max(TILE // max(shape[1], 1), 1)
        hidden, second = (np.empty((members, step * shape[1], units), np.float32) for _ in range(2))
        columns, projection, other = (
            np.empty((step * shape[1], size), np.float32) for size in (*self.weights.weight.shape, 4 * members)
        )
        first_offer, output_weight, output_bias, season_logit, value_offer = (parts[name] for name in OFFER_PARTS)
        for start in range(0, shape[0], step):
            tile = slice(start, start + step)
            pair = inputs["pair"][tile]
            first_customer, match, visit, value_customer = (parts[name][tile] for name in CUSTOMER_PARTS)
            size = pair.shape[0] * shape[1]
            network_columns(pair, self.weights, standardisation, columns)
            np.matmul(columns[:size], self.weights.weight, out=projection[:size])
            first_layer(projection, first_customer, first_offer, hidden, other)
            np.matmul(hidden[:, :size], self.weights.second, out=second[:, :size])
            combine_members(
                *(second, other, self.weights, match, output_weight, output_bias, season_logit),
                *(visit, value_customer, value_offer),
                *(self.sigma_max, self.unit),
                *(probability[tile], revenue[tile], logit[tile]),
            )
        return probability, revenue, logit


class ChampionScorer:
    """A champion that is not the network alone.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    network : FusedScorer, optional
        The network; None if the champion does not use it.
    """

    def __init__(self, folder: Path, network: FusedScorer | None) -> None:
        self.network, self.session = network, session(folder / CHAMPION)
        self.terms = dict[str, TreeScorer | LinearScorer]()  # those that the graph does not hold
        if (folder / TREES).is_file():
            self.terms |= read_tree_scorers(verify.load_arrays(folder / TREES))
        if (folder / LINEAR).is_file():
            self.terms |= read_linear_scorers(verify.load_arrays(folder / LINEAR))

    def __call__(self, inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Probability and expected revenue (B, M) of the champion, from the inputs of `FusedScorer.outputs`."""
        terms: dict[str, np.ndarray] = {}
        if self.network is not None:
            probability, revenue, logit = self.network.outputs(inputs)
            terms = dict(zip(NETWORK_INPUTS, (logit, log_amount(probability, revenue)), strict=True))
        terms |= {name: scorer(inputs) for name, scorer in self.terms.items()}
        outputs = verify.run_session(self.session, {**inputs, **terms})
        return outputs["probability"], outputs["expected_revenue"]


def log_amount(probability: np.ndarray, revenue: np.ndarray) -> np.ndarray:
    """Log of the expected revenue of a buyer.

    Parameters
    ----------
    probability, revenue : ndarray of shape (B, M), float32
        Probability and expected revenue of each pair.

    Returns
    -------
    ndarray of shape (B, M), float32
        Finite also where both are 0.
    """
    smallest = np.float32(SMALLEST)
    return np.asarray(np.log(np.maximum(revenue, smallest)) - np.log(np.maximum(probability, smallest)), np.float32)


def fast_scorer(folder: Path) -> FusedScorer | ChampionScorer | None:
    """The scorer of a bundle that is faster than its whole graph.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.

    Returns
    -------
    FusedScorer, ChampionScorer or None
        None if the bundle has the whole graph only.
    """
    network = FusedScorer(folder) if (folder / WEIGHTS).is_file() else None
    return ChampionScorer(folder, network) if (folder / CHAMPION).is_file() else network
