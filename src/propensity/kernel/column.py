"""What is declared about a feature column. The declarations of a kernel's own columns stand in the kernel's file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Block = Literal["pair", "customer", "context"]
Per = Literal["window", "half_life"]
ReasonName = Literal[
    "frequency", "recency", "companions", "similar", "popularity", "price", "season", "messages", "shopping", "person",
    "own",
]  # fmt: skip


@dataclass(frozen=True)
class FeatureColumn:
    """One column of a model's inputs, declared once: names, scaling, tests, leakage checks and docs read it.

    Parameters
    ----------
    name : str
        Unique within its block. A family of columns (`per`) holds `{}` where the days go.
    meaning : str
        What the column holds, with its unit, in one line.
    block : {"pair", "customer", "context"}
        A value for each customer and offer (B, M), for each customer (B,), or for each offer at the cutoff (M,).
    missing : str
        What NaN means; empty where the column is never NaN.
    empty : float or None
        Value for a customer without visible events (pair, customer) or an offer that nobody bought (context). None: the
        value then depends on other customers or on the cutoff.
    optional : bool
        The network gets a flag that is 1 where the column is missing.
    ranked : bool
        The network gets the rank of the value within the training data beside its scaled logarithm.
    gate : int
        Place among the inputs of the gate that mixes the repeat and the explore expert, from 1; 0: the gate does not
        read the column. Pair columns only.
    money : bool
        The column holds amounts of the log's currency. Models read it in units of the market, so that the currency
        does not matter.
    group : str
        Group of columns that `data.feature.groups` switches on; empty: the column is always there.
    reason : str
        Reason that the column belongs to, a name of `propensity.feature.reason.REASONS`; an extra column without one
        belongs to `own`.
    per : {None, "window", "half_life"}
        The declaration stands for a column for each window, or for each half-life, of the configuration.
    definition : callable or None
        Plain definition of a built-in column: the function of `reference.py` that computes it by name. None: derived
        from such columns and from the market, as `serving/inputs.py` defines it; or an extra column.
    compute : callable or None
        An extra column: from a `PointInTime` to an array of the block's shape. None: a column of ours.
    reference : callable or None
        Plain definition of an extra column, from a `PointInTime` as well; the contract asks it for one customer at a
        time.

    Examples
    --------
    >>> spend = FeatureColumn("spend_{}", "revenue of the last {} days", per="window")
    >>> [column.name for column in expanded([spend], (7, 28), ())]
    ['spend_7', 'spend_28']
    """

    name: str
    meaning: str
    block: Block = "pair"
    missing: str = ""
    empty: float | None = 0.0
    optional: bool = False
    ranked: bool = False
    gate: int = 0
    money: bool = False
    group: str = ""
    reason: ReasonName = "own"
    per: Per | None = None
    definition: Callable[..., Any] | None = None
    compute: Callable[[Any], np.ndarray] | None = None
    reference: Callable[[Any], np.ndarray] | None = None


def expanded(
    columns: Iterable[FeatureColumn], windows: Sequence[int], half_lives: Sequence[int]
) -> tuple[FeatureColumn, ...]:
    """The declarations with a column for each window or half-life in the place of a family.

    Parameters
    ----------
    columns : iterable of FeatureColumn
    windows, half_lives : sequence of int
        Days.

    Returns
    -------
    tuple of FeatureColumn
        In the order in which kernels write them.
    """
    days = {None: (None,), "window": tuple(windows), "half_life": tuple(half_lives)}
    return tuple(_member(column, n) for column in columns for n in days[column.per])


def names(columns: Iterable[FeatureColumn], windows: Sequence[int], half_lives: Sequence[int]) -> tuple[str, ...]:
    """Names of `expanded`, in order."""
    return tuple(column.name for column in expanded(columns, windows, half_lives))


def positions(columns: Iterable[FeatureColumn]) -> dict[str, int]:
    """Places of the columns that are no family, counted from the end of the families.

    A kernel reads them into constants of its own file, so that an edited declaration recompiles it.
    """
    return {column.name: k for k, column in enumerate(single for single in columns if single.per is None)}


def _member(column: FeatureColumn, days: int | None) -> FeatureColumn:
    if days is None:
        return column
    return replace(column, name=column.name.format(days), meaning=column.meaning.format(days), per=None)
