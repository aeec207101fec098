"""Why a probability is what it is: shares of the columns and events that carried it, which add up to it.

Notable: nothing but forward passes is needed. In a random order, each part of what is known (a group of columns, an
event) is shown to the network after those before it; what the probability gains by that is the part's share in this
order, and the shares of an order add up exactly. The mean over orders and their reverses is a sampled Shapley value.

Source: Castro, Gomez & Tejada, Computers & Operations Research 2009.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.event_log import to_date
from propensity.feature.features import FeatureConfig
from propensity.serving.inputs import KINDS
from propensity.serving.verify import answer

ORDERS = 4  # and as many reverses
EVENTS = 24  # the newest are told apart, those before them are one part
EARLIER = "earlier events"


@dataclass(frozen=True)
class Reasons:
    """base: the probability of a customer about whom nothing is known; share: contribution by part, in probability."""

    base: float
    share: dict[str, float]

    @property
    def total(self) -> float:
        """What all parts together add to the base."""
        return sum(self.share.values())

    def largest(self, count: int) -> list[tuple[str, float]]:
        """The parts that moved most, either way."""
        return sorted(self.share.items(), key=lambda part: -abs(part[1]))[:count]


def reasons(
    session: Any, inputs: Inputs, nobody: Inputs, row: int, offer: int, rule: FeatureConfig, events: Sequence[str]
) -> Reasons:
    """Of customer `row` and `offer`. nobody: inputs of one customer about whom nothing is known, at the same date;
    events: labels of the customer's visible events, oldest first."""
    known, unknown = one_pair(inputs, row, offer), one_pair(nobody, 0, offer)
    parts = parts_of(known, unknown, rule.pair, rule.customer, events)
    random = np.random.default_rng(17)
    orders = [random.permutation(len(parts)) for _ in range(ORDERS)]
    orders += [order[::-1] for order in orders]
    shown = [order[:step] for order in orders for step in range(len(parts) + 1)]
    probability = asked(session, known, unknown, [part for _, part in parts], shown).reshape(len(orders), -1)
    share = np.zeros(len(parts))
    for order, values in zip(orders, np.diff(probability, axis=1), strict=True):
        share[order] += values / len(orders)
    found: dict[str, float] = {}
    for (name, _), value in zip(parts, share.tolist(), strict=True):
        found[name] = found.get(name, 0.0) + value
    return Reasons(float(probability[0, 0]), found)


def labels(day: np.ndarray, kind: np.ndarray, item: Sequence[str | None]) -> list[str]:
    """Events in words."""
    told = zip(day, kind, item, strict=True)
    return [f"{KINDS[int(k)]} of {name or 'an unknown item'} on {to_date(d).isoformat()}" for d, k, name in told]


def one_pair(inputs: Inputs, row: int, offer: int) -> Inputs:
    """Inputs of one customer and one offer."""
    own = ("token", "kind", "channel", "age", "amount", "length", "customer")
    return inputs._replace(
        **{name: getattr(inputs, name)[row : row + 1] for name in own},
        **{name: getattr(inputs, name)[offer : offer + 1] for name in ("context", "offer", "attribute")},
        pair=inputs.pair[row : row + 1, offer : offer + 1],
    )


Part = tuple[str, np.ndarray]  # field, and columns or slots of it


def parts_of(
    known: Inputs, unknown: Inputs, pair: Sequence[str], customer: Sequence[str], events: Sequence[str]
) -> list[tuple[str, Part]]:
    """What is told apart, with its name: columns unlike nobody's, those of one kind together; events."""
    found: list[tuple[str, Part]] = []
    for field, names, whose in (("pair", pair, "with the offer"), ("customer", customer, "overall")):
        mine, nobody = (getattr(each, field).reshape(-1) for each in (known, unknown))
        differs = ~((mine == nobody) | (np.isnan(mine) & np.isnan(nobody)))
        groups: dict[str, list[int]] = {}
        for k in np.flatnonzero(differs):
            groups.setdefault(re.sub(r"_\d+$", "", names[int(k)]), []).append(int(k))
        found += [(f"{name} {whose}", (field, np.array(columns))) for name, columns in groups.items()]
    length = int(known.length[0])
    first = max(length - EVENTS, 0)
    labels = list(events)[len(events) - length :]
    if first:
        found.append((EARLIER, ("event", np.arange(first))))
    found += [(labels[slot], ("event", np.array([slot]))) for slot in range(first, length)]
    return found


def asked(
    session: Any, known: Inputs, unknown: Inputs, parts: Sequence[Part], shown: Sequence[np.ndarray]
) -> np.ndarray:
    """The probability with only the parts `shown`, for each of them: one row of a batch each."""
    size, length = len(shown), int(known.length[0])
    pair, customer = (np.repeat(getattr(unknown, name), size, axis=0) for name in ("pair", "customer"))
    keep = np.zeros((size, known.kind.shape[1]), bool)
    for row, chosen in enumerate(shown):
        for field, columns in (parts[k] for k in chosen):
            if field == "event":
                keep[row, columns] = True
            else:
                target = pair[row, 0] if field == "pair" else customer[row]
                target[columns] = getattr(known, field).reshape(-1)[columns]
    slots = np.argsort(~keep, axis=1, kind="stable")  # events shown first, oldest first, as padding wants it
    fields = ("token", "kind", "channel", "age", "amount")
    history = {name: getattr(known, name)[0][slots] for name in fields}
    changed: dict[str, Any] = {"pair": pair, "customer": customer}
    batch = known._replace(**changed, length=np.minimum(keep.sum(axis=1), length).astype(np.int64), **history)
    return answer(session, batch._asdict())["probability"][:, 0].astype(np.float64)
