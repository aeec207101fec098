"""Explanations of a probability: additive contributions of columns and events.

Notes
-----
Contributions are sampled Shapley values and need only forward passes. In a random order, each feature (a group of
columns, or an event) is added to the inputs after the features before it; the change of the probability is its
contribution in this order, and the contributions of an order add up exactly. The result is the mean over several orders
and their reverses.

Source: Castro, Gomez & Tejada, Computers & Operations Research 2009.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.event_log import to_date
from propensity.feature.features import FeatureConfig
from propensity.serving.inputs import KINDS
from propensity.serving.verify import run_session

ORDERS = 4  # random orders; their reverses are added
RECENT_EVENTS = 24  # events that are features of their own; all earlier events are one feature
EARLIER = "earlier events"
OTHERS = "purchases of other offers"
EVENT_FIELDS = ("token", "kind", "channel", "age", "amount")


@dataclass(frozen=True)
class Reasons:
    """Contributions to one probability.

    Attributes
    ----------
    base_value : float
        Probability of a customer without history.
    contribution : dict of str to float
        Change of the probability by feature. Base value and contributions add up to the probability.
    """

    base_value: float
    contribution: dict[str, float]

    @property
    def total(self) -> float:
        """Sum of all contributions."""
        return sum(self.contribution.values())

    def largest(self, count: int) -> list[tuple[str, float]]:
        """Features with the largest absolute contributions.

        Parameters
        ----------
        count : int
            Number of features.

        Returns
        -------
        list of (str, float)
            Feature and contribution, by descending absolute value.

        Examples
        --------
        >>> Reasons(0.1, {"a": 0.02, "b": -0.05}).largest(1)
        [('b', -0.05)]
        """
        return sorted(self.contribution.items(), key=lambda item: -abs(item[1]))[:count]


def explain(
    session: Any,
    inputs: Inputs,
    reference: Inputs,
    row: int,
    offer_index: int,
    config: FeatureConfig,
    event_names: Sequence[str],
    candidates: Collection[str] = ("network",),
) -> Reasons:
    """Explain the probability of one customer and offer.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        The model.
    inputs : Inputs
        Inputs of a batch of customers.
    reference : Inputs
        Inputs of one customer without history at the same cutoff, see `point_in_time.empty_customer`.
    row : int
        Row of the customer in `inputs`.
    offer_index : int
        Index of the offer.
    config : FeatureConfig
        Names the columns.
    event_names : sequence of str
        Names of the customer's visible events, oldest first.
    candidates : collection of str
        Candidates that the model combines. Only the network reads single events; only frequency reads the purchases of
        other offers.

    Returns
    -------
    Reasons
        Contributions of columns and events. Features with equal names are added.
    """
    customer, empty = select_pair(inputs, row, offer_index), select_pair(reference, 0, offer_index)
    labels = event_names if "network" in candidates else None
    features = list_features(customer, empty, config.pair, config.customer, labels)
    if "frequency" in candidates:
        customer = add_other_offers(customer, inputs, row, offer_index)
        empty = add_other_offers(empty, reference, 0, offer_index)
        if not np.array_equal(customer.pair[0, 1], empty.pair[0, 1]):
            features.append((OTHERS, ("others", np.zeros(0, np.int64))))
    random = np.random.default_rng(17)
    orders = [random.permutation(len(features)) for _ in range(ORDERS)]
    orders += [order[::-1] for order in orders]
    coalitions = [order[:size] for order in orders for size in range(len(features) + 1)]
    places = [place for _, place in features]
    probability = coalition_probabilities(session, customer, empty, places, coalitions).reshape(len(orders), -1)
    mean = np.zeros(len(features))
    for order, changes in zip(orders, np.diff(probability, axis=1), strict=True):
        mean[order] += changes / len(orders)
    contribution: dict[str, float] = {}
    for (name, _), value in zip(features, mean.tolist(), strict=True):
        contribution[name] = contribution.get(name, 0.0) + value
    return Reasons(float(probability[0, 0]), contribution)


def event_labels(day: np.ndarray, kind: np.ndarray, item: Sequence[str | None]) -> list[str]:
    """Readable names of events.

    Parameters
    ----------
    day : ndarray of shape (E,)
        Days since 1970-01-01.
    kind : ndarray of shape (E,)
        Indices into `KINDS`.
    item : sequence of str or None, length E
        Item ids.

    Returns
    -------
    list of str
        One name per event.

    Examples
    --------
    >>> event_labels(np.array([1]), np.array([0]), ["milk"])
    ['purchase of milk on 1970-01-02']
    """
    events = zip(day, kind, item, strict=True)
    return [f"{KINDS[int(k)]} of {name or 'an unknown item'} on {to_date(d).isoformat()}" for d, k, name in events]


def select_pair(inputs: Inputs, row: int, offer_index: int) -> Inputs:
    """Inputs of one customer and one offer.

    Parameters
    ----------
    inputs : Inputs
        Inputs of a batch.
    row : int
        Row of the customer.
    offer_index : int
        Index of the offer.

    Returns
    -------
    Inputs
        With one row and one offer.
    """
    names = (*EVENT_FIELDS, "length", "customer_features")
    return inputs._replace(
        **{name: getattr(inputs, name)[row : row + 1] for name in names},
        **{name: getattr(inputs, name)[offer_index : offer_index + 1] for name in ("context", "offer", "attribute")},
        pair=inputs.pair[row : row + 1, offer_index : offer_index + 1],
    )


def add_other_offers(pair: Inputs, inputs: Inputs, row: int, offer_index: int) -> Inputs:
    """Append an offer that stands for all other offers of a customer: its pair columns are their sums.

    Parameters
    ----------
    pair : Inputs
        Inputs of one customer and one offer.
    inputs : Inputs
        Inputs of a batch with all offers.
    row : int
        Row of the customer in `inputs`.
    offer_index : int
        Index of the offer.

    Returns
    -------
    Inputs
        With one row and two offers. A candidate that adds up purchases of all offers gets the same sum.
    """
    others = np.delete(np.asarray(inputs.pair)[row], offer_index, axis=0)
    total = np.nan_to_num(others).sum(axis=0, dtype=np.float32)
    names = ("context", "offer", "attribute")
    twice: dict[str, Any] = {name: np.repeat(getattr(pair, name), 2, axis=0) for name in names}
    twice["pair"] = np.concatenate([np.asarray(pair.pair), total[None, None]], axis=1)
    return pair._replace(**twice)


Place = tuple[str, np.ndarray]  # a field of the inputs, and columns of it or slots of the history


def list_features(
    customer: Inputs,
    empty: Inputs,
    pair: Sequence[str],
    customer_columns: Sequence[str],
    event_names: Sequence[str] | None,
) -> list[tuple[str, Place]]:
    """Features that are explained, with their places in the inputs.

    Parameters
    ----------
    customer, empty : Inputs
        Inputs of one pair, of the customer and of a customer without history.
    pair, customer_columns : sequence of str
        Names of the columns. Columns that differ only in their window are one feature.
    event_names : sequence of str, optional
        Names of the customer's visible events, oldest first; None for a model that does not read single events.

    Returns
    -------
    list of (str, Place)
        Groups of columns in which the customer differs, then events.
    """
    features: list[tuple[str, Place]] = []
    for field, names, scope in (("pair", pair, "with the offer"), ("customer_features", customer_columns, "overall")):
        values, reference = (getattr(each, field).reshape(-1) for each in (customer, empty))
        differs = ~((values == reference) | (np.isnan(values) & np.isnan(reference)))
        groups: dict[str, list[int]] = {}
        for k in np.flatnonzero(differs):
            groups.setdefault(re.sub(r"_\d+$", "", names[int(k)]), []).append(int(k))
        features += [(f"{name} {scope}", (field, np.array(columns))) for name, columns in groups.items()]
    if event_names is None:
        return features
    length = int(customer.length[0])
    first = max(length - RECENT_EVENTS, 0)
    labels = list(event_names)[len(event_names) - length :]
    if first:
        features.append((EARLIER, ("event", np.arange(first))))
    features += [(labels[slot], ("event", np.array([slot]))) for slot in range(first, length)]
    return features


def coalition_probabilities(
    session: Any, customer: Inputs, empty: Inputs, places: Sequence[Place], coalitions: Sequence[np.ndarray]
) -> np.ndarray:
    """Probability with only some features of the customer, in one batch.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        The model.
    customer, empty : Inputs
        Inputs of one pair, of the customer and of a customer without history.
    places : sequence of Place
        Place of each feature.
    coalitions : sequence of ndarray of int, length S
        Features that are taken from the customer; all others are taken from `empty`.

    Returns
    -------
    ndarray of shape (S,), float64
        Probabilities.
    """
    size, length = len(coalitions), int(customer.length[0])
    pair, columns = (np.repeat(getattr(empty, name), size, axis=0) for name in ("pair", "customer_features"))
    visible = np.zeros((size, customer.kind.shape[1]), bool)
    for row, coalition in enumerate(coalitions):
        for field, place in (places[k] for k in coalition):
            if field == "event":
                visible[row, place] = True
            elif field == "others":
                pair[row, 1] = customer.pair[0, 1]
            else:
                target = pair[row, 0] if field == "pair" else columns[row]
                target[place] = (customer.pair[0, 0] if field == "pair" else customer.customer_features[0])[place]
    slots = np.argsort(~visible, axis=1, kind="stable")  # visible events first, oldest first; padding is at the end
    history = {name: getattr(customer, name)[0][slots] for name in EVENT_FIELDS}
    changed: dict[str, Any] = {"pair": pair, "customer_features": columns}
    batch = customer._replace(**changed, length=np.minimum(visible.sum(axis=1), length).astype(np.int64), **history)
    return run_session(session, batch._asdict())["probability"][:, 0].astype(np.float64)
