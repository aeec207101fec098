"""Names of the metrics that a training logs, from their declarations, and which of their values are better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.utils import instantiate

from propensity.errors import ConfigurationError
from propensity.metric.builtin import METRICS
from propensity.metric.declaration import Direction, Metric, declared

ALL, NEVER_BOUGHT = "val", "val/never_bought"  # prefixes: all pairs of the validation, and never-bought pairs
HELD_OUT = "val/held_out"  # pairs of customers whom the network is not trained on
TRAIN_LOSS, VAL_LOSS, DEFAULT = "train/loss", "val/loss", "val/log_loss"
LOSSES = (TRAIN_LOSS, f"{TRAIN_LOSS}_step", f"{TRAIN_LOSS}_epoch", VAL_LOSS)


def validation_metrics(own: Sequence[Any]) -> list[Metric]:
    """The declared metrics that tables show, and those of one's own, which are a list of `_target_`s."""
    return [metric for metric in declared(METRICS, instantiate(list(own), _convert_="all")) if metric.shown]


def by_name(metrics: Sequence[Metric], held_out: bool = False) -> dict[str, Metric]:
    """The metrics by the names that they are logged under; with those of `held_out` customers if there are some.

    >>> names = list(by_name(validation_metrics([])))
    >>> "val/auc" in names, "val/never_bought/auc" in names, "val/never_bought/ece" in names
    (True, True, False)
    """
    everywhere = {f"{ALL}/{metric.name}": metric for metric in metrics}
    slices = [
        (prefix, metric) for prefix in (NEVER_BOUGHT, HELD_OUT)[: 1 + held_out] for metric in metrics if metric.slices
    ]
    return everywhere | {f"{prefix}/{metric.name}": metric for prefix, metric in slices}


def direction(name: str, metrics: Sequence[Metric]) -> Direction:
    """Which values of a logged metric are better.

    >>> [direction(name, METRICS) for name in ("val/auc", "val/never_bought/log_loss", "train/loss")]
    ['higher', 'lower', 'lower']
    """
    known = by_name(metrics, held_out=True)
    return known[name].direction if name in known else "lower"


def mode(place: str, name: str, metrics: Sequence[Metric]) -> str:
    """The `mode` of a Lightning callback that monitors a metric.

    Raises
    ------
    ConfigurationError
        For a ratio that is best at 1.
    """
    better = direction(name, metrics)
    if better == "closest to 1":
        raise ConfigurationError(f"{place}: {name} is best at 1, neither high nor low; give {place}.mode=min or max")
    return "max" if better == "higher" else "min"
