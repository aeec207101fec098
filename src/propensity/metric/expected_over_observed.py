"""Expected over observed purchases and revenue: overall, by cutoff, slice, offer and decile, and in the top 5 %.

Each is a ratio of two sums over all cutoffs, with an interval from the paired bootstrap over customers.

Legend: N customers, M offers, W weight columns (column 0 is the full sample).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from propensity.metric.calibration import is_probability
from propensity.metric.context import EvalContext, quotient
from propensity.metric.interval import bootstrap_interval
from propensity.metric.labels import Prediction
from propensity.metric.summary import finite

DECILES = 10
TOP = 0.05  # share of the pairs of a cutoff, those with the highest prediction
NOTHING = {"purchases": "nobody bought anything", "revenue": "nothing was spent"}
KINDS = ("cutoffs", "slices")
Group = tuple[str, str]  # kind of group, such as `slices`, and its name


class Quantity(NamedTuple):
    """Purchases or revenue at one cutoff, as one model expects it and as it came true."""

    context: EvalContext
    expected: np.ndarray  # (N,M)
    observed: np.ndarray  # (N,M)


class Totals(NamedTuple):
    """Sums over a group of pairs, by weight column: (W,) each."""

    expected: np.ndarray
    observed: np.ndarray


def expected_over_observed(
    contexts: Sequence[EvalContext], predictions: Sequence[Prediction], by_offer: bool = False
) -> dict[str, Any]:
    """Expected over observed purchases and revenue of one model.

    Parameters
    ----------
    contexts : sequence of EvalContext
        One per cutoff.
    predictions : sequence of Prediction
        The model's predictions, in the same order.
    by_offer : bool
        Whether to add one ratio for each offer.

    Returns
    -------
    dict
        `purchases` and `revenue`. Each holds `value`, `low`, `high`, `expected` and `observed` over all pairs and
        cutoffs, and the same by cutoff (`cutoffs`), by slice (`slices`), in `deciles` of the pairs of each cutoff by
        the prediction (lowest first), in the `top` 5 % of these pairs, and with `by_offer` in `offers`. The
        prediction is the probability for purchases and the expected revenue for revenue. A value is None with a
        `reason` where nothing was observed; `expected` is None where the model does not predict the quantity.

    Notes
    -----
    Pairs with equal predictions at the border of a group belong to it in part, so that a decile always holds a tenth of
    the pairs and the result does not depend on the order of customers.
    """
    pairs = list(zip(contexts, predictions, strict=True))
    if all(is_probability(each.probability) for each in predictions):
        chances = [Quantity(context, each.probability, context.labels.bought) for context, each in pairs]
        purchases = _quantity(chances, by_offer, NOTHING["purchases"])
    else:
        purchases = _undefined("scores outside [0, 1] are no probabilities")
    amounts = [
        Quantity(context, each.revenue, context.labels.revenue) for context, each in pairs if each.revenue is not None
    ]
    if len(amounts) == len(pairs):
        revenue = _quantity(amounts, by_offer, NOTHING["revenue"])
    else:
        revenue = _undefined("the model predicts no revenue")
    return {"purchases": purchases, "revenue": revenue}


def share_between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Share of each value that lies between two fractions of the ascending ranking; equal values count alike.

    Parameters
    ----------
    values : array of any shape
        What is ranked.
    low, high : float
        Fractions in [0, 1], low below high.

    Returns
    -------
    array of the same shape
        In [0, 1]; the sum is (high - low) times the number of values.

    Examples
    --------
    >>> share_between(np.array([1., 2., 2., 3.]), 0.5, 1.0).tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    return _rank(values).share(low, high)


class _Rank(NamedTuple):
    """Ranks of the first and last value equal to each value; together they span [first, last)."""

    first: np.ndarray
    last: np.ndarray

    def share(self, low: float, high: float) -> np.ndarray:
        """The share of each value's span that lies between two fractions of the ranking."""
        start, end = low * self.first.size, high * self.first.size
        overlap = np.minimum(self.last, end) - np.maximum(self.first, start)
        share: np.ndarray = np.clip(overlap, 0.0, None) / (self.last - self.first)
        return share


def _rank(values: np.ndarray) -> _Rank:
    flat = values.ravel()
    order = np.argsort(flat)
    ranked = flat[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    lengths = np.diff(np.append(starts, flat.size))
    first, last = np.empty(flat.size, np.int64), np.empty(flat.size, np.int64)
    first[order], last[order] = np.repeat(starts, lengths), np.repeat(starts + lengths, lengths)
    return _Rank(first.reshape(values.shape), last.reshape(values.shape))


def _quantity(parts: Sequence[Quantity], by_offer: bool, nothing: str) -> dict[str, Any]:
    """The ratios of every group, and of all pairs at the top level."""
    cells: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
    for (kind, name), totals in _pooled([_totals(part, by_offer) for part in parts]).items():
        cells.setdefault(kind, {})[name] = _ratio(totals, nothing)
    whole, deciles, top = cells.pop("all"), cells.pop("deciles"), cells.pop("top")
    return {**whole["all"], **cells, "deciles": list(deciles.values()), "top": top["top"]}


def _shares(part: Quantity) -> Iterator[tuple[Group, np.ndarray | float]]:
    """Every group of one cutoff, and the share (N,M) of each pair that belongs to it."""
    labels, rank = part.context.labels, _rank(part.expected)
    yield ("all", "all"), 1.0
    yield ("cutoffs", labels.cutoff), 1.0
    for name, mask in labels.slices.items():
        if name != "all":
            yield ("slices", name), mask
    for decile in range(DECILES):
        yield ("deciles", str(decile)), rank.share(decile / DECILES, (decile + 1) / DECILES)
    yield ("top", "top"), rank.share(1.0 - TOP, 1.0)


def _totals(part: Quantity, by_offer: bool) -> dict[Group, Totals]:
    """The sums of every group of one cutoff."""
    groups: list[Group] = []
    rows = []  # (2,N) by group: expected and observed of each customer
    for group, share in _shares(part):
        groups.append(group)
        rows.append(
            np.stack([(table * share).sum(axis=1, dtype=np.float64) for table in (part.expected, part.observed)])
        )
    if by_offer:
        groups += [("offers", str(offer)) for offer in part.context.labels.offer]
        rows += [np.stack(columns) for columns in zip(part.expected.T, part.observed.T, strict=True)]
    flat = np.concatenate(rows).astype(np.float64)  # one product: many small ones mostly wait for BLAS's threads
    sums = (flat @ part.context.weight.astype(np.float64)).reshape(len(rows), 2, -1)
    return {group: Totals(*each) for group, each in zip(groups, sums, strict=True)}


def _pooled(parts: Sequence[Mapping[Group, Totals]]) -> dict[Group, Totals]:
    """Sums over the cutoffs, of the groups of any of them."""
    pooled: dict[Group, list[Totals]] = {}
    for part in parts:
        for group, totals in part.items():
            pooled.setdefault(group, []).append(totals)
    return {
        group: Totals(np.sum([one.expected for one in each], axis=0), np.sum([one.observed for one in each], axis=0))
        for group, each in pooled.items()
    }


def _ratio(totals: Totals, nothing: str) -> dict[str, Any]:
    """A cell with its two sums; without a value where nothing was observed."""
    sums = {"expected": float(totals.expected[0]), "observed": float(totals.observed[0])}
    if totals.observed[0] <= 0:
        return {"value": None, "low": None, "high": None, "reason": nothing, **sums}
    value, low, high = bootstrap_interval(quotient(totals.expected, totals.observed))
    return {"value": value, "low": finite(low), "high": finite(high), **sums}


def _undefined(reason: str) -> dict[str, Any]:
    cell = {"value": None, "low": None, "high": None, "reason": reason, "expected": None, "observed": None}
    return {**cell, "cutoffs": {}, "slices": {}, "deciles": [], "top": cell}
