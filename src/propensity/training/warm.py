"""Training from the weights of an earlier run, on label windows that have closed since."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from propensity.champion.champion import Champion
from propensity.config import TrainConfig
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import to_day
from propensity.errors import ConfigurationError
from propensity.model.offer_net import OfferNet
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.curve import SUMMARY

SHARE = 0.4  # of the passes over the training cutoffs that the first training, from random weights, chose
RATE = 1 / 3  # of the learning rate of a training from random weights
REPLAYED = 1.0  # older training cutoffs for each new one
FEWEST = 20  # optimizer steps
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
