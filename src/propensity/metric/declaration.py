"""What a metric is, declared once: name, direction, what it is computed from, its function, and how it is written.

Metric table, intervals, verdicts, search, terminal tables, report.md and the report page read the declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from propensity.errors import ConfigurationError
from propensity.metric.context import Sample

Direction = Literal["higher", "lower", "closest to 1"]
Needs = Literal["ranking", "pooled ranking", "probability", "revenue ranking", "revenue"]
Function = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
ColumnFunction = Callable[[Sample], Mapping[str, np.ndarray]]

PER_OFFER = ("ranking", "revenue ranking")
TINY = 1e-6  # ratios below it are compared as if they were it


@dataclass(frozen=True)
class Metric:
    """A metric, and everything that other parts need to know about it.

    Parameters
    ----------
    name : str
        Key in metrics.json and in settings such as `metric=`; a Python identifier.
    title : str
        Title in tables and figures. `{fraction}` stands for the share of customers kept, as `10 %`.
    direction : {"higher", "lower", "closest to 1"}
        Which values are better. Ratios that are best at 1 are compared by the absolute value of their logarithm.
    needs : {"ranking", "pooled ranking", "probability", "revenue ranking", "revenue"}
        What the metric is computed from, and over which pairs:

        - `ranking`: scores on any monotone scale and purchases, for each offer; the mean over the evaluated offers.
        - `pooled ranking`: the same over all pairs of customer and offer at once.
        - `probability`: probabilities in [0, 1] and purchases, over all pairs.
        - `revenue ranking`: expected revenue (or the score, where a model predicts none) and realised revenue, for each
          offer; the mean over the evaluated offers.
        - `revenue`: expected and realised revenue over all pairs; undefined where a model predicts no revenue.
    function : callable, optional
        `(predicted, outcome, weight) -> float`, three arrays (n,): predictions, bool purchases or realised revenue, and
        float64 weights, how often each pair counts. NaN where undefined. It is called once for every slice and weight
        column.
    columns : callable, optional
        `(Sample) -> {slice: (W,)}`, the same for all slices and weight columns at once; given instead of `function`.
    meaning : str
        One sentence for the glossary of the report page.
    undefined : str
        Why the metric may be undefined for a slice that has evaluated offers or pairs.
    slices : bool
        Whether it is computed in every slice, or over all pairs only.
    shown : bool
        Whether tables show it; metrics.json always holds it.
    digits, scale, unit, change
        A value is written as `scale` times itself with so many digits and the unit; `change` is the unit of a
        difference.

    Raises
    ------
    ConfigurationError
        For a name, direction or need that is none, and unless exactly one of `function` and `columns` is given.

    Examples
    --------
    >>> def brier(probability, bought, weight):
    ...     return np.average((probability - bought) ** 2, weights=weight)
    >>> metric = Metric("brier", "Brier score", "lower", "probability", brier)
    >>> metric.lower_is_better, float(metric.difference(np.float64(0.1), np.float64(0.3)).round(2))
    (True, -0.2)
    """

    name: str
    title: str
    direction: Direction
    needs: Needs
    function: Function | None = None
    columns: ColumnFunction | None = None
    meaning: str = ""
    undefined: str = "the metric has no value"
    slices: bool = True
    shown: bool = True
    digits: int = 4
    scale: float = 1.0
    unit: str = ""
    change: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ConfigurationError(f"a metric is named {self.name!r}; give letters, digits and underscores")
        for field, value, allowed in (("direction", self.direction, Direction), ("needs", self.needs, Needs)):
            if value not in get_args(allowed):
                raise ConfigurationError(
                    f"metric {self.name}: {field} is {value!r}; give one of {', '.join(get_args(allowed))}"
                )
        if (self.function is None) == (self.columns is None):
            raise ConfigurationError(f"metric {self.name}: give either function or columns")

    @property
    def per_offer(self) -> bool:
        """Whether it is a mean over evaluated offers, rather than over pairs."""
        return self.needs in PER_OFFER

    @property
    def lower_is_better(self) -> bool:
        """Whether a negative difference is an improvement."""
        return self.direction != "higher"

    def difference(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Ours minus theirs; of ratios that are best at 1, the difference of |log ratio|."""
        if self.direction == "closest to 1":
            return self.objective(ours) - self.objective(theirs)
        return ours - theirs

    def objective(self, value: np.ndarray) -> np.ndarray:
        """The value to minimise or, where higher is better, to maximise; |log value| where 1 is best."""
        if self.direction == "closest to 1":
            distance: np.ndarray = np.abs(np.log(np.maximum(value, TINY)))
            return distance
        return value

    def described(self, fraction: float) -> dict[str, Any]:
        """What a reader of metrics.json needs to write and compare its values, as plain Python values."""
        share = f"{100 * fraction:.0f}\u00a0%"
        filled = {
            "title": self.title.replace("{fraction}", share),
            "meaning": self.meaning.replace("{fraction}", share),
        }
        names = ("direction", "needs", "shown", "digits", "scale", "unit", "change")
        return filled | {name: getattr(self, name) for name in names}


def declared(metrics: Sequence[Metric], more: Sequence[Metric] = ()) -> tuple[Metric, ...]:
    """`metrics`, then `more`.

    Raises
    ------
    ConfigurationError
        For something in `more` that is no `Metric`, and for a name that is taken.
    """
    names = [metric.name for metric in metrics]
    for place, metric in enumerate(more):
        if not isinstance(metric, Metric):
            kind = type(metric).__name__
            raise ConfigurationError(f"metrics[{place}] is a {kind}; name a function that returns a Metric")
        if metric.name in names:
            raise ConfigurationError(f"metrics[{place}] is named {metric.name}, as another metric; rename it")
        names.append(metric.name)
    return (*metrics, *more)
