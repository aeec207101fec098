"""The champion of a run: candidates, the network among them, that score from one pass over the inputs.

Legend: Q candidates, N customers, M offers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import nn

from propensity.atomic import whole_folder
from propensity.baseline.candidate import Candidate
from propensity.baseline.frequency import Frequency
from propensity.baseline.lightgbm import LightGBM
from propensity.baseline.logistic import Logistic
from propensity.baseline.pair_table import outcomes_of
from propensity.baseline.regression import logistic
from propensity.baseline.storage import damaged, read, read_json, write_json
from propensity.champion.choose import ONLY, STACK, Choice, choose
from propensity.champion.outcome import ValidationPairs
from propensity.champion.stack import AmountWeights, SegmentWeights, Stack, cross_fitted_logit, fit_stack, single
from propensity.data.batch import Inputs
from propensity.errors import ConfigurationError, OneClassError
from propensity.model.inference import one_thread, to_tensors
from propensity.scores import ChannelShares, Scores
from propensity.task import CutoffData, TrainingSet, Validation

NETWORK, AUTO, SERVED = "network", "auto", "champion"
KINDS: dict[str, type[Frequency] | type[Logistic] | type[LightGBM]] = {
    "frequency": Frequency,
    "logistic": Logistic,
    "lightgbm": LightGBM,
}
ORDER = (*KINDS, NETWORK)  # the simplest first
AMOUNT_PRIOR = "lightgbm"  # whose amounts are used where there are few purchases
FILE, FOLDER = "champion.json", "candidates"
PAIRS = 131_072  # in a block


class Block(NamedTuple):
    """What all candidates say of a block of customers: log-odds and amounts (Q, B, M), past (B, M) and channels."""

    customers: slice
    logit: np.ndarray
    amount: np.ndarray
    past: np.ndarray
    network: tuple[np.ndarray, np.ndarray]  # probability and expected revenue (B, M), as without candidates
    channel: np.ndarray


def _channels(cutoff_data: CutoffData) -> tuple[str, ...]:
    """Names of the channels with purchases."""
    return cutoff_data.features.vocabulary.sold_through


class Champion(NamedTuple):
    """Candidates, their stack, and the one that is served.

    Attributes
    ----------
    network : nn.Module
        The trained network.
    candidates : dict of str to Candidate
        Fitted candidates by name, without the network.
    stack : Stack
        Weights of all candidates.
    choice : Choice
        The champion's name and why.
    """

    network: nn.Module
    candidates: Mapping[str, Candidate]
    stack: Stack
    choice: Choice

    @property
    def name(self) -> str:
        """Name of the champion: a candidate, or `stack`."""
        return self.choice.champion

    def predict(self, cutoff_data: CutoffData) -> dict[str, Scores]:
        """Scores of all candidates, of the stack and of the champion at a cutoff, from one pass over the inputs.

        Parameters
        ----------
        cutoff_data : CutoffData
            What is known at the cutoff of N customers and M offers.

        Returns
        -------
        dict of str to Scores
            By name of the candidate; `stack` where there are several; and `champion`. The expected revenue of stack and
            champion is their probability times the stacked amount.
        """
        return self.predict_both(cutoff_data)[0]

    def predict_both(self, cutoff_data: CutoffData) -> tuple[dict[str, Scores], ChannelShares | None]:
        """Scores as of `predict`, and the network's shares of channels; None where fewer than two are known."""
        shape, channels = (cutoff_data.row.size, len(cutoff_data.features.offers)), _channels(cutoff_data)
        models = self.stack.names if len(self.stack.names) == 1 else (*self.stack.names, STACK)
        probability, revenue = ({name: np.empty(shape, np.float32) for name in (*models, SERVED)} for _ in range(2))
        share = np.empty((shape[0], len(channels)), np.float32)
        for block in blocks(self.network, self.candidates, cutoff_data):
            for name, (chance, amount) in self._block_scores(block).items():
                probability[name][block.customers] = chance
                revenue[name][block.customers] = chance * amount
            probability[NETWORK][block.customers], revenue[NETWORK][block.customers] = block.network
            share[block.customers] = block.channel
        if not self.candidates:
            probability[SERVED], revenue[SERVED] = probability[NETWORK], revenue[NETWORK]
        ids, cutoff = cutoff_data.customer_id, str(cutoff_data.market_stats.cutoff)
        offers = cutoff_data.features.offers.name
        scores = {name: Scores(ids, offers, probability[name], revenue[name], cutoff, name) for name in probability}
        return scores, ChannelShares(ids, channels, share, cutoff) if len(channels) > 1 else None

    def _block_scores(self, block: Block) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Probabilities and amounts (B, M) of all models but the network, which has its own."""
        if not self.candidates:
            return {}
        amount = self.stack.amount.amount(block.amount)
        models = {
            name: (logistic(block.logit[place]), block.amount[place])
            for place, name in enumerate(self.stack.names)
            if name != NETWORK
        }
        models[STACK] = logistic(self.stack.logit(block.logit, block.past)), amount
        chance = models[self.name][0] if self.name != NETWORK else block.network[0]
        return models | {SERVED: (chance, amount)}

    def score(self, inputs: Inputs, pair: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Probability and expected revenue (B, M) of the champion from inputs, as of `predict`.

        Parameters
        ----------
        inputs : Inputs
            Of B customers and M offers, as arrays.
        pair : sequence of str
            Names of the pair columns.
        """
        self.network.eval()
        with one_thread():
            block = block_of(self.network, self.candidates, inputs, pair, slice(0, len(inputs.pair)))
        if not self.candidates:
            return block.network
        chance, amount = self._block_scores(block)[SERVED]
        return chance, chance * amount

    def refit(self, training_set: TrainingSet, network: nn.Module, seed: int) -> Champion:
        """The champion with every candidate fitted again on a training set, and with another network.

        Parameters
        ----------
        training_set : TrainingSet
            All closed label windows.
        network : nn.Module
            The network that was trained on them.
        seed : int
            Seed of the fits.
        """
        for candidate in self.candidates.values():
            candidate.refit(training_set, seed)
        return self._replace(network=network)

    def save(self, folder: str | Path) -> None:
        """Writes `champion.json` and a folder of each candidate, in `candidates`; the network has its own file.

        Parameters
        ----------
        folder : str or Path
            Folder of the run.
        """
        with whole_folder(Path(folder) / FOLDER) as draft:
            for name, candidate in self.candidates.items():
                candidate.save(draft / name)
        write_json(Path(folder) / FILE, self.record())

    def record(self) -> dict[str, Any]:
        """The content of champion.json: champion, why, candidates with their settings, and weights."""
        chosen = {name: {"chosen": candidate.chosen} for name, candidate in self.candidates.items()}
        rows = {name: {**row, **chosen.get(name, {})} for name, row in self.choice.candidates.items()}
        weights = {
            "names": list(self.stack.names),
            "past": _segment_json(self.stack.past),
            "never_bought": _segment_json(self.stack.never_bought),
            "amount": self.stack.amount._asdict() | {"weight": list(self.stack.amount.weight)},
        }
        return {"champion": self.name, "why": self.choice.why, "candidates": rows, "weights": weights}

    @classmethod
    def load(cls, folder: str | Path, network: nn.Module) -> Champion:
        """Reads what `save` wrote.

        Parameters
        ----------
        folder : str or Path
            Folder of the run.
        network : nn.Module
            Its network.

        Returns
        -------
        Champion
            Where the folder has no champion.json, the network alone.

        Raises
        ------
        ConfigurationError
            If a file of a candidate is missing.
        IntegrityError
            If a file is damaged.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            return alone(network)
        state = read_json(path)
        stack = read(path, lambda: _stack_from(state["weights"]))
        choice = read(path, lambda: _choice_from(state, stack.names))
        if unknown := [name for name in stack.names if name not in ORDER]:
            raise damaged(path, f"no candidate is called {unknown[0]}")
        names = [name for name in stack.names if name != NETWORK]
        return cls(network, {name: KINDS[name].load(Path(folder) / FOLDER / name) for name in names}, stack, choice)


def alone(network: nn.Module, unit: float = 1.0) -> Champion:
    """The champion that is the network, without candidates."""
    choice = Choice(NETWORK, ONLY, {NETWORK: {}})
    return Champion(network, {}, single((NETWORK,), NETWORK, unit), choice)


def check_champion(champion: str, candidates: Sequence[str], validated: bool) -> None:
    """Refuses a champion that is neither `auto` nor one of the candidates, and the stack without validation."""
    names = (AUTO, *(name for name in ORDER if name in (*candidates, NETWORK)), STACK)
    if champion not in names:
        raise ConfigurationError(f"champion={champion} is no candidate; choose one of {', '.join(names)}")
    if champion == STACK and not validated:
        raise ConfigurationError("champion=stack needs validation; give training.validation=1 or another champion")


def fit_champion(
    network: nn.Module,
    candidates: Mapping[str, Candidate],
    training_set: TrainingSet,
    validation: Validation | None,
    champion: str = AUTO,
    seed: int = 17,
) -> Champion:
    """Fits the candidates and their stack, and chooses the champion.

    Parameters
    ----------
    network : nn.Module
        The network, trained on the same training set.
    candidates : mapping of str to Candidate
        Candidates by name, not yet fitted. Empty: the network alone.
    training_set : TrainingSet
        Training cutoffs whose label windows close by the first validation cutoff. Candidates that cannot be fitted to
        them, because nobody bought, are left out.
    validation : Validation or None
        Cutoffs after training with their outcomes. None: nothing can be compared, and the network is the champion
        unless another is named.
    champion : str
        `auto`, `stack` or the name of a candidate.
    seed : int
        Seed of the fits, of the folds and of the bootstrap.

    Returns
    -------
    Champion
        To be fitted again on all label windows by `Champion.refit`.

    Raises
    ------
    ConfigurationError
        If the champion is neither `auto` nor one of the candidates, or is the stack without validation.
    """
    check_champion(champion, tuple(candidates), validation is not None)
    names = tuple(name for name in ORDER if name in (*candidates, NETWORK))
    candidates = {name: each for name, each in candidates.items() if _fitted(each, training_set, validation, seed)}
    names = tuple(name for name in names if name in (*candidates, NETWORK))
    if champion not in (AUTO, STACK, *names):
        raise OneClassError(f"champion={champion} cannot be fitted: in the training windows all or no pairs bought")
    unit = float(training_set.vocabulary.unit)
    if not candidates:
        return alone(network, unit)
    ordered = {name: candidates[name] for name in names if name != NETWORK}
    if validation is None or not validation.cutoffs_data:
        return Champion(network, ordered, *_unjudged(names, champion, unit))
    return judged(network, ordered, validation, unit, champion, seed)


def judged(
    network: nn.Module,
    candidates: Mapping[str, Candidate],
    validation: Validation,
    unit: float,
    champion: str = AUTO,
    seed: int = 17,
) -> Champion:
    """The stack of fitted candidates and the champion, by label windows that none of them was trained on.

    Parameters
    ----------
    network : nn.Module
        The network.
    candidates : mapping of str to Candidate
        Fitted candidates by name, the simplest first.
    validation : Validation
        Cutoffs with their outcomes.
    unit : float
        Revenue that counts as 1, in the log's currency.
    champion : str
        `auto`, `stack` or the name of a candidate.
    seed : int
        Seed of the folds and of the bootstrap.
    """
    pairs = validation_pairs(network, candidates, validation)
    stack = fit_stack(pairs, unit, AMOUNT_PRIOR if AMOUNT_PRIOR in candidates else None)
    choice = choose(pairs, cross_fitted_logit(pairs, stack, seed), stack.amount.amount(pairs.amount), seed)
    if champion != AUTO and champion != choice.champion:
        why = f"champion={champion} sets it; validation would choose {choice.champion}, because {choice.why}"
        choice = choice._replace(champion=champion, why=why)
    return Champion(network, candidates, stack, choice)


def _fitted(candidate: Candidate, training_set: TrainingSet, validation: Validation | None, seed: int) -> bool:
    """Fits a candidate; False if it needs purchases and the training windows have none."""
    try:
        candidate.fit(training_set, seed, validation)
    except OneClassError:
        return False
    return True


def _unjudged(names: tuple[str, ...], champion: str, unit: float) -> tuple[Stack, Choice]:
    """The stack and the choice without validation."""
    name = NETWORK if champion == AUTO else champion
    why = "there is no validation window" if champion == AUTO else f"champion={champion} sets it"
    return single(names, name, unit), Choice(name, why, {each: {} for each in names})


def validation_pairs(
    network: nn.Module, candidates: Mapping[str, Candidate], validation: Validation
) -> ValidationPairs:
    """What the candidates say of all pairs of the validation windows, and what happened.

    Parameters
    ----------
    network : nn.Module
        The network.
    candidates : mapping of str to Candidate
        Fitted candidates by name, the simplest first.
    validation : Validation
        Cutoffs with their outcomes.
    """
    parts = [
        _labelled(block, cutoff_data, outcomes)
        for cutoff_data, outcomes in zip(validation.cutoffs_data, validation.complete, strict=True)
        for block in blocks(network, candidates, cutoff_data)
    ]
    logit, amount, bought, revenue, past, customer = zip(*parts, strict=True)
    text = pl.Series(np.concatenate(customer)).cast(pl.String)
    return ValidationPairs(
        names=(*candidates, NETWORK),
        logit=np.concatenate(logit, axis=1),
        amount=np.concatenate(amount, axis=1),
        bought=np.concatenate(bought),
        revenue=np.concatenate(revenue),
        past=np.concatenate(past),
        customer=np.unique(text.hash(seed=0).to_numpy(), return_inverse=True)[1],  # the type of ids changes no fold
        shapes=tuple((each.row.size, len(each.features.offers)) for each in validation.cutoffs_data),
    )


def _labelled(block: Block, cutoff_data: CutoffData, complete: Any) -> tuple[np.ndarray, ...]:
    """Log-odds and amounts (Q, K), purchases, revenue, past and customer ids (K,) of a block."""
    outcomes = outcomes_of(cutoff_data, complete, cutoff_data.row[block.customers])
    count, size = len(block.logit), block.past.shape[1]
    ids = np.repeat(cutoff_data.customer_id[block.customers], size)
    flat = block.logit.reshape(count, -1), block.amount.reshape(count, -1)
    return *flat, np.asarray(outcomes.bought).ravel() > 0, np.asarray(outcomes.revenue).ravel(), block.past.ravel(), ids


def blocks(network: nn.Module, candidates: Mapping[str, Candidate], cutoff_data: CutoffData) -> Iterator[Block]:
    """Blocks of customers with what the candidates and, last, the network say; the inputs are computed once for all.

    Parameters
    ----------
    network : nn.Module
        The network.
    candidates : mapping of str to Candidate
        Fitted candidates by name.
    cutoff_data : CutoffData
        What is known at the cutoff.
    """
    training = network.training
    network.eval()
    with one_thread():
        for customers, inputs in cutoff_data.blocks(max(PAIRS // max(len(cutoff_data.features.offers), 1), 1)):
            yield block_of(network, candidates, inputs, cutoff_data.features.config.pair, customers)
    network.train(training)


def block_of(
    network: nn.Module, candidates: Mapping[str, Candidate], inputs: Inputs, pair: Sequence[str], customers: slice
) -> Block:
    """What the candidates and, last, the network in evaluation mode say of the inputs of a block.

    Parameters
    ----------
    network : nn.Module
        The network.
    candidates : mapping of str to Candidate
        Fitted candidates by name.
    inputs : Inputs
        Of B customers and M offers, as arrays.
    pair : sequence of str
        Names of the pair columns.
    customers : slice
        Places of the customers.
    """
    device = next(network.parameters()).device
    others = [candidate.outputs(inputs) for candidate in candidates.values()]
    tensors = to_tensors(inputs)
    with torch.inference_mode():
        outputs = network(type(tensors)(*(tensor.to(device) for tensor in tensors)))
        own = (outputs.purchase, outputs.amount(), outputs.probability(), outputs.expected_revenue())
        logit, amount, *scores = (each.float().cpu().numpy() for each in own)
        channel = outputs.channel_share().float().cpu().numpy()
    return Block(
        customers,
        np.stack([*(each.logit for each in others), logit.astype(np.float64)]),
        np.stack([*(each.amount for each in others), amount.astype(np.float64)]),
        np.asarray(inputs.pair)[:, :, pair.index("purchase_days")] > 0,
        (scores[0], scores[1]),
        channel,
    )


def _segment_json(segment: SegmentWeights) -> dict[str, Any]:
    return {"weight": list(segment.weight), "intercept": segment.intercept}


def _stack_from(state: Mapping[str, Any]) -> Stack:
    """The weights of champion.json; ValueError, TypeError or KeyError where they are impossible."""
    names = tuple(map(str, state["names"]))
    segments = [
        SegmentWeights(_weights(state[name]["weight"], len(names)), float(state[name]["intercept"]))
        for name in ("past", "never_bought")
    ]
    amount = state["amount"]
    amounts = AmountWeights(_weights(amount["weight"], len(names)), float(amount["factor"]), float(amount["unit"]))
    numbers = (*(segment.intercept for segment in segments), amounts.factor, amounts.unit)
    if not np.isfinite(numbers).all() or amounts.factor < 0 or amounts.unit <= 0 or NETWORK not in names:
        raise ValueError("its weights are impossible")
    return Stack(names, segments[0], segments[1], amounts)


def _weights(values: Sequence[Any], count: int) -> tuple[float, ...]:
    weights = tuple(map(float, values))
    if len(weights) != count or not np.isfinite(weights).all() or min(weights) < 0:
        raise ValueError("its weights are impossible")
    return weights


def _choice_from(state: Mapping[str, Any], names: tuple[str, ...]) -> Choice:
    if state["champion"] not in (*names, STACK):
        raise ValueError(f"the champion {state['champion']!r} is no candidate")
    return Choice(str(state["champion"]), str(state["why"]), dict(state["candidates"]))
