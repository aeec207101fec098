"""The champion of a run as a graph: its candidates on the model's inputs, and the weights that combine them.

Shapes: B customers, M offers, P pair columns, F customer columns, C context columns, Q candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from propensity.baseline.logistic import WIDEST
from propensity.champion.champion import NETWORK
from propensity.data.batch import Inputs
from propensity.model.outputs import probability_of
from propensity.model.scale import signed_log
from propensity.serving.tree_inputs import TreeInput
from propensity.serving.tree_sum import Trees
from propensity.serving.trees import TorchTrees
from propensity.serving.verify import NETWORK_INPUTS


class Mixture(NamedTuple):
    """Weights of the candidates: of their log-odds, apart for never-bought pairs and pairs with a past, and of amounts.

    Attributes
    ----------
    candidates : tuple of str, length Q
        Names.
    weight : ndarray of shape (2, Q)
        Weights of the log-odds, of never-bought pairs first.
    intercept : ndarray of shape (2,)
        Added to the log-odds.
    amount_weight : ndarray of shape (Q,)
        Weights of the log amounts, in units.
    unit : float
        Revenue that counts as 1, in the log's currency.
    factor : float
        What amounts are multiplied by; 0 for a log without revenue.
    smallest : float
        Amount that smaller ones are raised to, in units.
    past_column : int
        Pair column that is above 0 for a pair with a past.
    """

    candidates: tuple[str, ...]
    weight: np.ndarray
    intercept: np.ndarray
    amount_weight: np.ndarray
    unit: float
    factor: float
    smallest: float
    past_column: int

    def reads_purchase(self, name: str) -> bool:
        """Whether a candidate's log-odds have a weight."""
        return name in self.candidates and bool(self.weight[:, self.candidates.index(name)].any())

    def reads_amount(self, name: str) -> bool:
        """Whether a candidate's amounts have a weight."""
        return name in self.candidates and self.factor > 0 and self.amount_weight[self.candidates.index(name)] > 0

    def uses(self, name: str) -> bool:
        """Whether scores depend on a candidate."""
        return self.reads_purchase(name) or self.reads_amount(name)

    def past_only(self, name: str) -> bool:
        """Whether a candidate's log-odds have no weight for never-bought pairs."""
        return bool(self.weight[0, self.candidates.index(name)] == 0)


class Booster(NamedTuple):
    """A candidate of trees; their columns are those of the pair, the customer and the context, in this order.

    Attributes
    ----------
    purchase : Trees
        Log-odds of a purchase.
    amount : Trees or None
        Log of the amount over the usual amount; None for a log without revenue.
    usual : nn.Module or None
        Maps inputs to logs of the usual amounts (B, M), in the log's currency.
    """

    purchase: Trees
    amount: Trees | None
    usual: nn.Module | None


class TreeRows(nn.Module):
    """Raw scores of ensembles in torch, for a format without trees of its own.

    Parameters
    ----------
    trees : mapping of str to Trees
        Ensembles by the name of their raw scores.
    """

    def __init__(self, trees: Mapping[str, Trees]) -> None:
        super().__init__()
        self.trees = nn.ModuleDict({name: TorchTrees(each) for name, each in trees.items()})

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Compute the raw scores, each (B, M)."""
        customers, offers = inputs.pair.shape[:2]
        columns = (
            inputs.pair,
            inputs.customer_features[:, None].expand(-1, offers, -1),
            inputs.context[None].expand(customers, -1, -1),
        )
        rows = torch.cat(columns, dim=2).flatten(0, 1)
        return {name: trees(rows).unflatten(0, (customers, offers)) for name, trees in self.trees.items()}


class LinearBlock(nn.Module):
    """What the columns of a block contribute to the log-odds of a logistic regression.

    Parameters
    ----------
    factor : ndarray of shape (K,)
        What the columns are multiplied by first.
    mean, deviation, coefficient : ndarray of shape (2, K)
        Of the signed logs, and of the indicators of missing values.
    """

    factor: Tensor
    mean: Tensor
    deviation: Tensor
    coefficient: Tensor
    when_missing: Tensor
    when_present: Tensor

    def __init__(self, factor: np.ndarray, mean: np.ndarray, deviation: np.ndarray, coefficient: np.ndarray) -> None:
        super().__init__()
        indicator = np.clip((np.array([[1.0], [0.0]]) - mean[1]) / deviation[1], -WIDEST, WIDEST) * coefficient[1]
        arrays = {
            "factor": factor,
            "mean": mean[0],
            "deviation": deviation[0],
            "coefficient": coefficient[0],
            "when_missing": indicator[0] - indicator[1],
            "when_present": indicator[1].sum(),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(array, np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """Log-odds (...) of columns (..., K) with NaN."""
        missing = x.isnan()
        scaled = (signed_log(x.masked_fill(missing, 0.0) * self.factor) - self.mean) / self.deviation
        indicated = missing.to(x.dtype) @ self.when_missing + self.when_present
        return scaled.clamp(-WIDEST, WIDEST) @ self.coefficient + indicated


class LinearPart(nn.Module):
    """A candidate whose log-odds are a sum over blocks of columns; it takes the sum over the pair columns as well."""

    pair: LinearBlock


class Combination(nn.Module):
    """Probability and expected revenue from the log-odds and log amounts of candidates.

    Parameters
    ----------
    mixture : Mixture
        Weights. Candidates without any are left out.
    parts : mapping of str to nn.Module
        Candidates other than network and trees; each maps inputs to log-odds and log amounts, (B, M) both.
    boosters : mapping of str to Booster
        Candidates of trees.
    """

    weight: Tensor
    intercept: Tensor
    amount_weight: Tensor

    def __init__(self, mixture: Mixture, parts: Mapping[str, nn.Module], boosters: Mapping[str, Booster]) -> None:
        super().__init__()
        self.mixture, self.boosters = mixture, boosters
        self.parts = nn.ModuleDict({name: part for name, part in parts.items() if mixture.uses(name)})
        self.usual = nn.ModuleDict(
            {n: each.usual for n, each in boosters.items() if each.usual is not None and mixture.reads_amount(n)}
        )
        for name in ("weight", "intercept", "amount_weight"):
            self.register_buffer(name, torch.from_numpy(np.asarray(getattr(mixture, name), np.float32)))

    @property
    def tree_inputs(self) -> dict[str, TreeInput]:
        """Raw scores that `insert_trees` computes, by name: pairs are skipped where they have no weight."""
        inputs: dict[str, TreeInput] = {}
        for name, booster in self.boosters.items():
            if self.mixture.reads_purchase(name):
                skipped = self.mixture.past_column if self.mixture.past_only(name) else None
                inputs[f"{name}_purchase"] = TreeInput(booster.purchase, skipped)
            if self.mixture.reads_amount(name) and booster.amount is not None:
                inputs[f"{name}_amount"] = TreeInput(booster.amount, None)
        return inputs

    @property
    def extra_inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs besides those of the model: the network's outputs, then raw scores of trees."""
        return (*(NETWORK_INPUTS if self.mixture.uses(NETWORK) else ()), *self.tree_inputs, *self.linear_inputs)

    @property
    def linear_inputs(self) -> dict[str, LinearBlock]:
        """What the pair columns contribute to logistic regressions, by the name of the input of `CombinationGraph`."""
        parts = {name: part for name, part in self.parts.items() if self.mixture.reads_purchase(name)}
        return {f"{name}_pair": part.pair for name, part in parts.items() if isinstance(part, LinearPart)}

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
            Raw scores of trees, any number where they have no weight, and `linear_inputs` that are computed elsewhere.

        Returns
        -------
        probability, expected_revenue : Tensor of shape (B, M)
            Revenue is in the log's currency.
        """
        mixture = self.mixture
        past = inputs.pair[..., mixture.past_column] > 0
        logit = torch.where(past, self.intercept[1], self.intercept[0])
        amount = torch.zeros_like(logit)
        for k, name in enumerate(mixture.candidates):
            if not mixture.uses(name):
                continue
            own_logit, own_amount = self._terms(name, inputs, network, raw)
            if mixture.reads_purchase(name):
                logit = logit + torch.where(past, self.weight[1, k], self.weight[0, k]) * own_logit
            if mixture.reads_amount(name):
                in_units = (own_amount - math.log(mixture.unit)).clamp(min=math.log(mixture.smallest))
                amount = amount + self.amount_weight[k] * in_units
        probability = probability_of(logit)
        return probability, probability * amount.exp() * (mixture.factor * mixture.unit)

    def _terms(
        self, name: str, inputs: Inputs, network: tuple[Tensor, Tensor] | None, raw: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Log-odds and log amounts of a candidate; 0 where they have no weight."""
        if name == NETWORK:
            assert network is not None
            return network
        if name in self.parts:
            given = (raw[f"{name}_pair"],) if f"{name}_pair" in raw else ()
            terms: tuple[Tensor, Tensor] = self.parts[name](inputs, *given)
            return terms
        nothing = torch.zeros_like(inputs.pair[..., 0])
        usual = self.usual[name](inputs) if name in self.usual else nothing
        return raw.get(f"{name}_purchase", nothing), raw.get(f"{name}_amount", nothing) + usual


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
