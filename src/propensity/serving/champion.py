"""The champion of a run as a graph: its candidates on the model's inputs, and the weights that combine them.

Shapes: B customers, M offers, P pair columns, F customer columns, C context columns, Q candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs
from propensity.serving.tree_inputs import TreeInput
from propensity.serving.trees import TorchTrees, Trees
from propensity.serving.verify import NETWORK_INPUTS
from propensity.training.data_module import to_tensors

NETWORK = "network"


class CandidateTerms(NamedTuple):
    """What a candidate predicts, before it is combined.

    Attributes
    ----------
    logit : ndarray of shape (B, M), float64
        Log-odds of a purchase.
    amount : ndarray of shape (B, M), float64
        Expected revenue of a buyer, in the log's currency.
    """

    logit: np.ndarray
    amount: np.ndarray


class Champion(Protocol):
    """A champion other than the network, as the run stores it."""

    name: str
    why: str

    def outputs(self, inputs: Inputs, network: CandidateTerms) -> CandidateTerms:
        """Its log-odds and amounts for a batch, by the libraries that fitted its candidates."""
        ...

    def combination(self) -> Combination:
        """The same as a graph."""
        ...

    def about(self) -> dict[str, Any]:
        """Name, reason, candidates and weights, serialisable as JSON."""
        ...


class Mixture(NamedTuple):
    """Weights of the candidates, for never-bought pairs in row 0 and for pairs with a past in row 1.

    Attributes
    ----------
    candidates : tuple of str, length Q
        Candidates with a weight other than 0.
    weight : ndarray of shape (2, Q)
        Weights of the log-odds.
    intercept : ndarray of shape (2,)
        Added to the log-odds.
    amount_weight : ndarray of shape (2, Q)
        Weights of the log amounts.
    amount_intercept : ndarray of shape (2,)
        Log of the calibration factor of the amounts.
    past_column : int
        Pair column that is above 0 for a pair with a past.
    money : bool
        False for a log without revenue: expected revenues are 0.
    """

    candidates: tuple[str, ...]
    weight: np.ndarray
    intercept: np.ndarray
    amount_weight: np.ndarray
    amount_intercept: np.ndarray
    past_column: int
    money: bool = True

    def uses(self, candidate: str) -> bool:
        """Whether scores depend on a candidate."""
        return candidate in self.candidates

    def past_only(self, candidate: str, amount: bool) -> bool:
        """Whether a candidate's log-odds, or its log amounts, have no weight for never-bought pairs."""
        weights = self.amount_weight if amount else self.weight
        return bool(weights[0, self.candidates.index(candidate)] == 0)


class Booster(NamedTuple):
    """A candidate of trees; their columns are those of the pair, the customer and the context, in this order.

    Attributes
    ----------
    purchase : Trees
        Raw scores of a purchase.
    slope : float
        Log-odds of one unit of the raw score.
    amount : Trees or None
        Log amounts; None for a log without revenue.
    factor : ndarray of shape (P + F + C,), float32
        What the columns are multiplied by first.
    """

    purchase: Trees
    slope: float
    amount: Trees | None
    factor: np.ndarray

    def parts(self, name: str) -> dict[str, Trees]:
        """The ensembles by the names of their raw scores."""
        parts = {f"{name}_purchase": self.purchase, f"{name}_amount": self.amount}
        return {key: trees for key, trees in parts.items() if trees is not None}


class TreeRows(nn.Module):
    """Raw scores of ensembles in torch, for a format without trees of its own.

    Parameters
    ----------
    trees : mapping of str to Trees
        Ensembles by the name of their raw scores.
    factor : ndarray of shape (P + F + C,)
        What the columns are multiplied by first.
    """

    factor: Tensor

    def __init__(self, trees: Mapping[str, Trees], factor: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("factor", torch.from_numpy(factor.astype(np.float32)))
        self.trees = nn.ModuleDict({name: TorchTrees(each) for name, each in trees.items()})

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Compute the raw scores, each (B, M)."""
        customers, offers = inputs.pair.shape[:2]
        columns = (
            inputs.pair,
            inputs.customer_features[:, None].expand(-1, offers, -1),
            inputs.context[None].expand(customers, -1, -1),
        )
        rows = torch.cat(columns, dim=2).flatten(0, 1) * self.factor
        return {name: trees(rows).unflatten(0, (customers, offers)) for name, trees in self.trees.items()}


class Combination(nn.Module):
    """Probability and expected revenue from the log-odds and log amounts of candidates.

    Parameters
    ----------
    mixture : Mixture
        Weights.
    parts : mapping of str to nn.Module
        Candidates other than network and trees; each maps inputs to log-odds and log amounts, (B, M) both.
    boosters : mapping of str to Booster
        Candidates of trees.
    """

    weight: Tensor
    intercept: Tensor
    amount_weight: Tensor
    amount_intercept: Tensor

    def __init__(self, mixture: Mixture, parts: Mapping[str, nn.Module], boosters: Mapping[str, Booster]) -> None:
        super().__init__()
        self.mixture = mixture
        self.boosters = {name: boosters[name] for name in mixture.candidates if name in boosters}
        self.parts = nn.ModuleDict({name: parts[name] for name in mixture.candidates if name in parts})
        for name in ("weight", "intercept", "amount_weight", "amount_intercept"):
            self.register_buffer(name, torch.from_numpy(np.asarray(getattr(mixture, name), np.float32)))

    @property
    def trees(self) -> dict[str, Trees]:
        """Ensembles by the name of their raw scores, in the order of the graph's inputs."""
        return {key: trees for name, booster in self.boosters.items() for key, trees in booster.parts(name).items()}

    @property
    def tree_inputs(self) -> dict[str, TreeInput]:
        """What `insert_trees` computes: pairs on which trees have no weight are skipped."""
        return {
            key: TreeInput(trees, booster.factor, self._past_column(name, trees is booster.amount))
            for name, booster in self.boosters.items()
            for key, trees in booster.parts(name).items()
        }

    def _past_column(self, candidate: str, amount: bool) -> int | None:
        """The column by which never-bought pairs are skipped; None if a candidate has a weight for them."""
        return self.mixture.past_column if self.mixture.past_only(candidate, amount) else None

    @property
    def extra_inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs besides those of the model: the network's outputs, then raw scores of trees."""
        return (*(NETWORK_INPUTS if self.mixture.uses(NETWORK) else ()), *self.trees)

    def forward(
        self, inputs: Inputs, network: tuple[Tensor, Tensor] | None, raw: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Combine the candidates.

        Parameters
        ----------
        inputs : Inputs
            A batch.
        network : pair of Tensor of shape (B, M), optional
            Log-odds and log amounts of the network.
        raw : mapping of str to Tensor of shape (B, M)
            Raw scores of trees; any number where they have no weight.

        Returns
        -------
        probability, expected_revenue : Tensor of shape (B, M)
            Revenue is in the log's currency.
        """
        values = [self._candidate(name, inputs, network, raw) for name in self.mixture.candidates]
        past = inputs.pair[..., self.mixture.past_column] > 0
        logit = self._mean(past, [logit for logit, _ in values], self.weight, self.intercept)
        probability = logit.sigmoid()
        if not self.mixture.money:
            return probability, torch.zeros_like(probability)
        amounts = [amount for _, amount in values]
        return probability, probability * self._mean(past, amounts, self.amount_weight, self.amount_intercept).exp()

    def _candidate(
        self, name: str, inputs: Inputs, network: tuple[Tensor, Tensor] | None, raw: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Log-odds and log amounts of a candidate."""
        if name == NETWORK:
            assert network is not None
            return network
        if name not in self.boosters:
            values: tuple[Tensor, Tensor] = self.parts[name](inputs)
            return values
        logit = raw[f"{name}_purchase"] * self.boosters[name].slope
        return logit, raw.get(f"{name}_amount", torch.zeros_like(logit))

    @staticmethod
    def _mean(past: Tensor, values: Sequence[Tensor], weight: Tensor, intercept: Tensor) -> Tensor:
        """Weighted sum of (B, M) values with the weights of each pair's row."""
        total = torch.where(past, intercept[1], intercept[0])
        for k, value in enumerate(values):
            total = total + torch.where(past, weight[1, k], weight[0, k]) * value
        return total


class CombinationGraph(nn.Module):
    """The champion's scores from the inputs and `Combination.extra_inputs`, without the network.

    Parameters
    ----------
    combination : Combination
        The champion.
    """

    def __init__(self, combination: Combination) -> None:
        super().__init__()
        self.combination = combination

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Compute probability and expected revenue, each (B, M), from the fields of `Inputs` and the extra inputs."""
        inputs, extra = Inputs(*tensors[: len(Inputs._fields)]), tensors[len(Inputs._fields) :]
        by_name = dict(zip(self.combination.extra_inputs, extra, strict=True))
        network = None
        if NETWORK_INPUTS[0] in by_name:
            network = by_name[NETWORK_INPUTS[0]], by_name[NETWORK_INPUTS[1]]
        return self.combination(inputs, network, by_name)


def network_terms(model: nn.Module, inputs: Inputs) -> CandidateTerms:
    """Log-odds and amounts of the network.

    Parameters
    ----------
    model : nn.Module
        Maps `Inputs` to `Outputs`.
    inputs : Inputs
        A batch, as arrays.

    Returns
    -------
    CandidateTerms
        As float64.
    """
    with torch.inference_mode():
        outputs = model(Inputs(*to_tensors(inputs)))
        amount = outputs.expected_revenue().double() / outputs.probability().double()
        return CandidateTerms(outputs.purchase.double().numpy(), amount.numpy())


def load_champion(run: Path) -> Champion | None:
    """The champion of a run.

    Parameters
    ----------
    run : Path
        Folder of the run.

    Returns
    -------
    Champion or None
        None if it is the network.
    """
    return None
