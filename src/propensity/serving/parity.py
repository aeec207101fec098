"""Whether an exported model answers as the trained network does; an export is not written where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.errors import GateError
from propensity.serving.verify import TOLERANCE, difference

Answers = Callable[[Inputs], Mapping[str, np.ndarray]]
BATCHES = (1, 3, 64)
HISTORIES = (1, 7)  # events kept, besides all
TOP = 1000


@dataclass
class Parity:
    """What was compared. rows: customers at a date; largest: difference by format; exchanged: by format, customers
    among the best `TOP` of an offer by one but not by the other, all tied with the last within the tolerance."""

    rows: int = 0
    pairs: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    exchanged: dict[str, int] = field(default_factory=dict)

    def meet(
        self, network: Answers, formats: Mapping[str, Answers], inputs: Inputs, what: str
    ) -> Mapping[str, np.ndarray]:
        """Asks all of them; GateError, with `what` was asked, where one is further from the network than allowed."""
        expected = network(inputs)
        self.rows += inputs.length.shape[0]
        self.pairs += expected["probability"].size
        for name, answers in formats.items():
            found = answers(inputs)
            apart = max(difference(found[each], expected[each]) for each in found)
            self.largest[name] = max(self.largest.get(name, 0.0), apart)
            if not apart <= TOLERANCE:
                raise GateError(
                    f"{name} differs by {apart:.2g} from the trained network at {what}, more than {TOLERANCE:g}; "
                    "nothing was exported"
                )
        return expected


def edges(inputs: Inputs) -> Iterator[tuple[str, Inputs]]:
    """The same customers in batches of 1, 3 and 64, and with shorter histories."""
    customers, most = inputs.kind.shape
    for size in BATCHES:
        for start in range(0, customers, size):
            yield f"golden rows in batches of {size}", of_rows(inputs, np.arange(start, start + size) % customers)
    for length in (each for each in HISTORIES if each < most):
        events = ("token", "kind", "channel", "age", "amount")
        parts: dict[str, Any] = {name: getattr(inputs, name)[:, :length] for name in events}
        shorter = inputs._replace(**parts | {"length": np.minimum(inputs.length, length)})
        yield f"golden rows with {length} events", shorter


def of_rows(inputs: Inputs, rows: np.ndarray) -> Inputs:
    """The customers at `rows`, of whatever a customer has."""
    own = ("token", "kind", "channel", "age", "amount", "length", "pair", "customer")
    return inputs._replace(**{name: getattr(inputs, name)[rows] for name in own})


def same_best(one: np.ndarray, other: np.ndarray, top: int = TOP) -> int:
    """How many customers are among the best `top` of an offer by one score (N, M) but not by the other.

    Raises: GateError for one that is no tie with the last of them, within the tolerance.
    """
    kept = min(top, len(one))
    last = np.partition(one, len(one) - kept, axis=0)[len(one) - kept]
    chosen = [np.argsort(-scores, axis=0, kind="stable")[:kept] for scores in (one, other)]
    marks = np.zeros((2, *one.shape), bool)
    for mark, best in zip(marks, chosen, strict=True):
        np.put_along_axis(mark, best, True, axis=0)
    apart = marks[0] != marks[1]
    worst = float(np.abs(one - last)[apart].max(initial=0.0))
    if worst > 2 * TOLERANCE:
        raise GateError(f"the best {kept} customers of an offer differ by more than ties ({worst:.2g}); not exported")
    return int(apart.sum()) // 2
