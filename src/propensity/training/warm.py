"""Training from the weights of an earlier run, on label windows that have closed since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from propensity.champion.champion import Champion
from propensity.config import TrainConfig
from propensity.errors import ConfigurationError
from propensity.model.offer_net import OfferNet
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.curve import SUMMARY

SHARE = 0.15  # of the optimizer steps that the earlier run chose, by passes over the training cutoffs
FEWEST = 20  # optimizer steps
SAME = ("model", "data.feature", "data.offer", "data.horizon", "data.market_stats", "data.registrants")


class Warm(NamedTuple):
    """An earlier run that a training starts from.

    Attributes
    ----------
    trained : Trained
        Its network, whose weights, scales and vocabulary are used.
    champion : Champion
        Its candidates and their stack, which are used as they are.
    passes : float
        Passes over the training cutoffs of its network.
    """

    trained: Trained
    champion: Champion
    passes: float

    @property
    def model(self) -> OfferNet:
        """The network."""
        return cast(OfferNet, self.trained.model)

    def steps(self, pass_steps: int) -> int:
        """Optimizer steps of the training, for a pass over its training cutoffs of so many steps."""
        return max(round(SHARE * self.passes * pass_steps), FEWEST)


def warm_from(config: TrainConfig) -> Warm | None:
    """The run that `config.warm` names; None where a training starts from random weights.

    Raises
    ------
    ConfigurationError
        If there is no such run, or it was trained with another network, other columns or other offers.
    """
    if config.warm is None:
        return None
    trained = load_trained(config.warm)
    if changed := difference(trained.about["config"], {"model": config.model, "data": config.data}):
        raise ConfigurationError(
            f"warm={config.warm} was trained with another {changed}, so its weights do not fit; leave warm out"
        )
    summary = json.loads((Path(config.warm) / SUMMARY).read_text())
    passes = float(summary.get("passes") or summary["step"] / max(summary["length"]["pass_steps"], 1))
    return Warm(trained, Champion.load(config.warm, trained.model), passes)


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
