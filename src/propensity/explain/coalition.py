"""Log-odds of a pair with only some of its reasons, for every subset of the reasons.

Shapes: B customers, L events of the history, M offers, P pair columns, F customer columns, C context columns, K reasons
in which the pair differs from the baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from propensity.data.batch import Inputs
from propensity.feature.calendar import SEASON
from propensity.feature.features import FeatureConfig
from propensity.feature.reason import REASONS
from propensity.kernel.column import Block, ReasonName
from propensity.kernel.event import PURCHASE, RETURN

Masks = dict[ReasonName, dict[Block, np.ndarray]]  # columns of a reason: (P,), (F,) and (C,) bool by block
LogOdds = Callable[[Inputs], np.ndarray]  # inputs to the log-odds (B, M) of the served model
EVENT_FIELDS = ("token", "kind", "channel", "age", "amount")
OFFER_FIELDS = ("context", "offer", "attribute", "standardisation")
BLOCK_FIELDS: dict[Block, str] = {"pair": "pair", "customer": "customer_features", "context": "context"}
AFFECTED = 1  # offers of which log-odds are read; a second one stands for all others


class Baseline(NamedTuple):
    """A customer without history and a typical offer, on a day that is as the mean of a year.

    Attributes
    ----------
    empty : Inputs
        One customer without history and all M offers.
    pair : ndarray of shape (P,)
        Medians of the pair columns of that customer over the offers.
    context : ndarray of shape (C,)
        Medians of the context columns over the offers.
    attribute : ndarray of shape (A,)
        Medians of the attributes of offers.
    standardisation : ndarray of shape (2, P)
        Medians over the offers.
    season : ndarray of shape (S,)
        Waves of the year and the month at 0, their mean; the years as they are.
    """

    empty: Inputs
    pair: np.ndarray
    context: np.ndarray
    attribute: np.ndarray
    standardisation: np.ndarray
    season: np.ndarray


def baseline_of(empty: Inputs) -> Baseline:
    """The baseline of a cutoff.

    Parameters
    ----------
    empty : Inputs
        One customer without history at the cutoff, see `point_in_time.empty_customer`.
    """
    waves = np.array([name != "years" for name in SEASON])
    season = np.asarray(empty.season)
    return Baseline(
        empty,
        median(np.asarray(empty.pair)[0]),
        median(np.asarray(empty.context)),
        median(np.asarray(empty.attribute)),
        np.median(np.asarray(empty.standardisation), axis=0),
        np.where(waves, np.float32(0), season).astype(season.dtype),
    )


def median(values: np.ndarray) -> np.ndarray:
    """Medians of the columns (M, K), without NaN; NaN for a column without a value: (K,) float32."""
    result = np.full(values.shape[1], np.nan, np.float32)
    known = ~np.isnan(values).all(axis=0)
    result[known] = np.nanmedian(values[:, known], axis=0)
    return result


class Pair(NamedTuple):
    """One customer and one offer, and the same pair of the customer without history.

    Attributes
    ----------
    customer, empty : Inputs
        With one row and one offer, or with a second offer that stands for all others.
    baseline : Baseline
        Of the cutoff.
    """

    customer: Inputs
    empty: Inputs
    baseline: Baseline


def pair_of(inputs: Inputs, row: int, offer_index: int, baseline: Baseline, others: bool) -> Pair:
    """Select one customer and one offer.

    Parameters
    ----------
    inputs : Inputs
        Inputs of a batch with all M offers.
    row, offer_index : int
        Place of the pair.
    baseline : Baseline
        Of the same cutoff and offers.
    others : bool
        Whether the model adds up purchases over all offers.
    """
    customer, empty = (select_pair(each, at, offer_index) for each, at in ((inputs, row), (baseline.empty, 0)))
    if others:
        customer = add_other_offers(customer, inputs, row, offer_index)
        empty = add_other_offers(empty, baseline.empty, 0, offer_index)
    return Pair(customer, empty, baseline)


def select_pair(inputs: Inputs, row: int, offer_index: int) -> Inputs:
    """Inputs of one customer and one offer, without padding of the history."""
    visible = max(int(inputs.length[row]), 1)
    own: dict[str, Any] = {name: getattr(inputs, name)[row : row + 1, :visible] for name in EVENT_FIELDS}
    own |= {name: getattr(inputs, name)[row : row + 1] for name in ("length", "customer_features")}
    own |= {name: getattr(inputs, name)[offer_index : offer_index + 1] for name in OFFER_FIELDS}
    return inputs._replace(**own, pair=inputs.pair[row : row + 1, offer_index : offer_index + 1])


def add_other_offers(pair: Inputs, inputs: Inputs, row: int, offer_index: int) -> Inputs:
    """Append an offer whose pair columns are the sums over all other offers of the customer."""
    other_pairs = np.delete(np.asarray(inputs.pair)[row], offer_index, axis=0)
    total = np.nan_to_num(other_pairs).sum(axis=0, dtype=np.float32)
    twice: dict[str, Any] = {n: np.repeat(getattr(pair, n), 2, axis=0) for n in OFFER_FIELDS}
    twice["pair"] = np.concatenate([np.asarray(pair.pair), total[None, None]], axis=1)
    return pair._replace(**twice)


def column_masks(config: FeatureConfig) -> Masks:
    """The columns of each reason: masks (P,), (F,) and (C,) by block.

    Parameters
    ----------
    config : FeatureConfig
        Declares the columns.
    """
    return {
        name: {block: np.array([each.reason == name for each in config.columns[block]]) for block in BLOCK_FIELDS}
        for name in REASONS
    }


def present(pair: Pair, masks: Masks) -> tuple[list[ReasonName], list[ReasonName]]:
    """Reasons in which a pair differs from the baseline.

    Parameters
    ----------
    pair : Pair
        The pair.
    masks : Masks
        Of all reasons.

    Returns
    -------
    shared, own : list of str
        Those that change inputs which all rows of a batch share (context, season, offer), and the others.
    """
    shared = [name for name in masks if differs_in_offer(pair, name, masks[name])]
    own = [name for name in masks if name not in shared and differs_in_customer(pair, name, masks[name])]
    return shared, own


def differs_in_offer(pair: Pair, name: ReasonName, mask: dict[Block, np.ndarray]) -> bool:
    """Whether a reason changes context, season, or the offer."""
    customer, baseline = pair.customer, pair.baseline
    if different(np.asarray(customer.context)[0], baseline.context)[mask["context"]].any():
        return True
    if name == "season":
        return bool(different(np.asarray(customer.season), baseline.season).any())
    return name == "popularity" and bool(
        np.asarray(customer.offer)[0] != 0
        or different(np.asarray(customer.attribute)[0], baseline.attribute).any()
        or different(np.asarray(customer.standardisation)[0], baseline.standardisation).any()
        or different(np.asarray(pair.empty.pair)[0, 0], baseline.pair).any()
    )


def differs_in_customer(pair: Pair, name: ReasonName, mask: dict[Block, np.ndarray]) -> bool:
    """Whether a reason changes columns of the pair or the customer, events, or other offers."""
    customer, empty = pair.customer, pair.empty
    columns = different(np.asarray(customer.customer_features)[0], np.asarray(empty.customer_features)[0])
    pairs = different(np.asarray(customer.pair)[0, 0], np.asarray(empty.pair)[0, 0])
    if columns[mask["customer"]].any() or pairs[mask["pair"]].any() or events_of(customer, name).any():
        return True
    return name == "companions" and bool(
        different(np.asarray(customer.pair)[0, 1:], np.asarray(empty.pair)[0, 1:]).any()
    )


def events_of(customer: Inputs, name: ReasonName) -> np.ndarray:
    """Visible events (L,) that belong to a reason: purchases and returns, or messages, coupons and views."""
    kind = np.asarray(customer.kind)[0]
    visible = np.arange(kind.size) < int(customer.length[0])
    purchases = np.isin(kind, (PURCHASE, RETURN))
    if name == "companions":
        return np.asarray(visible & purchases)
    return np.asarray(visible & ~purchases if name == "messages" else np.zeros(kind.size, bool))


def different(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where two arrays differ; NaN equals NaN."""
    return np.asarray(~((one == other) | (np.isnan(one) & np.isnan(other))))


def coalition_log_odds(
    pair: Pair,
    masks: Masks,
    shared: Sequence[ReasonName],
    own: Sequence[ReasonName],
    log_odds: LogOdds,
) -> np.ndarray:
    """Log-odds of every subset of the reasons.

    Parameters
    ----------
    pair : Pair
        The pair.
    masks : Masks
        Of all reasons.
    shared, own : sequence of str
        K reasons together, see `present`.
    log_odds : callable
        The served model.

    Returns
    -------
    ndarray of shape (2 ** K,), float64
        Bit k of the index stands for reason k of `own` and then `shared`.

    Notes
    -----
    One call of the model for each subset of `shared`, whose rows are the subsets of `own`.
    """
    bits = [set_of(index, own) for index in range(1 << len(own))]
    parts = []
    for index in range(1 << len(shared)):
        chosen = set_of(index, shared)
        batch = coalition_inputs(pair, masks, chosen, [chosen | each for each in bits])
        parts.append(np.asarray(log_odds(batch))[:, 0].astype(np.float64))
    return np.concatenate(parts)


def set_of(index: int, names: Sequence[ReasonName]) -> frozenset[ReasonName]:
    """The names whose bits are set."""
    return frozenset(name for k, name in enumerate(names) if index >> k & 1)


def coalition_inputs(
    pair: Pair,
    masks: Masks,
    shared: frozenset[ReasonName],
    coalitions: Sequence[frozenset[ReasonName]],
) -> Inputs:
    """Inputs of coalitions with the same shared reasons, a row for each.

    Parameters
    ----------
    pair : Pair
        The pair.
    masks : Masks
        Of all reasons.
    shared : frozenset of str
        Reasons whose context, season and offer are those of the pair; others are those of the baseline.
    coalitions : sequence of frozenset of str, length B
        All reasons of each row.
    """
    customer, empty, baseline = pair
    chosen = np.array([[name in coalition for name in masks] for coalition in coalitions])  # (B, all reasons)
    by_column = {block: chosen @ np.stack([mask[block] for mask in masks.values()]) for block in BLOCK_FIELDS}
    popular = "popularity" in shared
    first = np.asarray(empty.pair)[0, 0] if popular else baseline.pair
    pairs = np.where(by_column["pair"], np.asarray(customer.pair)[0, 0], first)[:, None]
    if np.asarray(customer.pair).shape[1] > AFFECTED:
        with_others = np.array(["companions" in coalition for coalition in coalitions])[:, None]
        others = np.where(with_others, np.asarray(customer.pair)[0, 1], np.asarray(empty.pair)[0, 1])
        pairs = np.concatenate([pairs, others[:, None]], axis=1)
    columns = np.where(
        by_column["customer"], np.asarray(customer.customer_features)[0], np.asarray(empty.customer_features)[0]
    )
    in_context = np.any([masks[name]["context"] for name in shared], axis=0) if shared else False
    changed: dict[str, Any] = {
        "pair": pairs.astype(np.float32),
        "customer_features": columns.astype(np.float32),
        "context": np.where(in_context, np.asarray(customer.context), baseline.context).astype(np.float32),
        "season": np.asarray(customer.season) if "season" in shared else baseline.season,
        "offer": np.asarray(customer.offer) if popular else np.zeros_like(np.asarray(customer.offer)),
        "attribute": np.where(popular, np.asarray(customer.attribute), baseline.attribute),
        "standardisation": np.where(popular, np.asarray(customer.standardisation), baseline.standardisation),
    }
    return customer._replace(**changed, **visible_history(customer, coalitions))


def visible_history(customer: Inputs, coalitions: Sequence[frozenset[ReasonName]]) -> dict[str, Any]:
    """The history of each row: events of its reasons, oldest first, and their number."""
    events = {name: events_of(customer, name) for name in ("companions", "messages")}
    nothing = np.zeros(np.asarray(customer.kind).shape[1], bool)
    visible = np.stack(
        [np.any([nothing, *(events[name] for name in events if name in each)], axis=0) for each in coalitions]
    )
    slots = np.argsort(~visible, axis=1, kind="stable")  # visible events first; padding is at the end
    history: dict[str, Any] = {name: np.asarray(getattr(customer, name))[0][slots] for name in EVENT_FIELDS}
    return history | {"length": visible.sum(axis=1).astype(np.int64)}
