"""Training from the weights of an earlier run, on label windows that have closed since."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from hydra.utils import instantiate

from propensity.champion.champion import Champion
from propensity.config import TrainConfig
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import to_day
from propensity.data.offer import count_buyers, offers_before
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.model.offer_net import OfferNet
from propensity.task import Task, resolved
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.curve import SUMMARY

SHARE = 0.4  # of the passes over the training cutoffs that the first training, from random weights, chose
RATE = 1 / 3  # of the learning rate of a training from random weights
REPLAYED = 1.0  # older training cutoffs for each new one
FEWEST = 20  # optimizer steps
GENERATIONS = 3  # trainings, one from the other, since the last one from scratch
NEW_OFFERS = 0.02  # share of the buyers of the last label window, above which offers without a code are too many
SAME = (
    "model", "data.feature", "data.offer", "data.horizon", "data.market_stats", "data.registrants",
    "champion", "baseline", "baselines",
)  # fmt: skip


class Warm(NamedTuple):
    """An earlier run that a training starts from.

    Attributes
    ----------
    trained : Trained
        Its network, whose weights, scales and vocabulary are used.
    champion : Champion
        Its candidates and their stack.
    passes : float
        Passes over the training cutoffs that the first training, from random weights, chose.
    generation : int
        Trainings since that one, the coming one included.
    """

    trained: Trained
    champion: Champion
    passes: float
    generation: int

    @property
    def model(self) -> OfferNet:
        """The network."""
        return cast(OfferNet, self.trained.model)

    def optimizer(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of the optimizer, with a lower learning rate."""
        return {name: RATE * value if name == "lr" else value for name, value in settings.items()}

    def steps(self, pass_steps: int) -> int:
        """Optimizer steps of the training, for a pass over its training cutoffs of so many steps."""
        return max(round(SHARE * self.passes * pass_steps), FEWEST)

    def cutoffs(self, closed: Sequence[Cutoff]) -> int:
        """How many of the last training cutoffs are used: those after the earlier run's last one, and some before it.

        Parameters
        ----------
        closed : sequence of Cutoff
            All training cutoffs, oldest first.
        """
        last = to_day(self.trained.about["cutoffs"][-1])
        new = sum(cutoff.day > last for cutoff in closed)
        return min(max(round(new * (1 + REPLAYED)), 2), len(closed))

    def unseen(self, cutoffs: Sequence[Cutoff]) -> list[Cutoff]:
        """The cutoffs of whose label windows the earlier run has seen nothing."""
        return [cutoff for cutoff in cutoffs if cutoff.day >= to_day(self.trained.about["last_label"])]


def warm_from(config: TrainConfig) -> Warm | None:
    """The run that `config.warm` names; None where a training starts from random weights.

    Raises
    ------
    ConfigurationError
        If there is no such run, or it was trained with another network, other columns, candidates or offers.
    """
    if config.warm is None:
        return None
    trained = load_trained(config.warm)
    if changed := difference(trained.about["config"], vars(config)):
        raise ConfigurationError(
            f"warm={config.warm} was trained with another {changed}, so its weights do not fit; leave warm out"
        )
    record = training_record(config.warm)
    passes = float(record.get("passes") or record["step"] / max(record["length"]["pass_steps"], 1))
    return Warm(trained, Champion.load(config.warm, trained.model), passes, int(record.get("generation", 0)) + 1)


def reason_for_scratch(run: str | Path, config: TrainConfig) -> str | None:
    """Why a training starts from scratch although there is an earlier run, as a clause; None where it need not.

    Parameters
    ----------
    run : str or Path
        Folder of the earlier run.
    config : TrainConfig
        Of the coming training.

    Notes
    -----
    Settings that make weights or candidates unfit; other columns of the log; offers that came since and have no code,
    where they are more than few; and a chain of `GENERATIONS` trainings, whose candidates and scales have become old.
    """
    task: Task = instantiate(config.data, _convert_="all")
    log = task.open()
    task = task.for_log(log)
    trained = load_trained(run)
    if changed := difference(trained.about["config"], vars(config) | {"data": resolved(config.data, task, log)}):
        return f"{changed} was changed"
    if int(training_record(run).get("generation", 0)) >= GENERATIONS:
        return f"{GENERATIONS} trainings have followed the last one from scratch"
    end = task.end_day(log)
    past = task.past(log, end)
    now = Vocabulary.fit(past, task.offer, end)
    if columns := attributes(now) ^ attributes(trained.vocabulary):
        return f"{', '.join(sorted(columns))} came or went as columns of the items"
    offers = offers_before(past, task.offer, end)
    buyers = count_buyers(past, offers, end, task.horizon)
    known, named = np.isin(offers.name, trained.vocabulary.offers), np.isin(offers.name, now.offers)
    share = float(buyers[named & ~known].sum() / max(buyers[named].sum(), 1))
    if share > NEW_OFFERS:
        return f"offers that the last training did not know have {share:.1%} of the buyers, more than {NEW_OFFERS:.0%}"
    return None


def attributes(vocabulary: Vocabulary) -> set[str]:
    """Columns of the items whose values a network knows by name."""
    return {*vocabulary.items, *vocabulary.shares}


def training_record(run: str | Path) -> dict[str, Any]:
    """How the training of a run ended: its training.json."""
    record: dict[str, Any] = json.loads((Path(run) / SUMMARY).read_text())
    return record


def difference(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first setting of `SAME` in which two configurations differ; None without any.

    >>> difference({"model": {"width": 8}, "data": {}}, {"model": {"width": 16}, "data": {}})
    'model'
    """
    return next((name for name in SAME if _part(earlier, name) != _part(now, name)), None)


def _part(config: Mapping[str, Any], name: str) -> Any:
    value: Any = config
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
