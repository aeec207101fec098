"""Parity of an export: whether the exported files compute what the trained model computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.errors import GateError
from propensity.serving.verify import TOLERANCE, max_difference

Model = Callable[[Inputs], Mapping[str, np.ndarray]]
BATCH_SIZES = (1, 3, 64)
HISTORY_LENGTHS = (1, 7)  # events, besides full histories
TOP = 1000


@dataclass
class Parity:
    """Result of the comparison, as it is stored in the manifest.

    Attributes
    ----------
    rows : int
        Customers compared, counted once per cutoff.
    pairs : int
        Customer-offer pairs compared.
    max_difference : dict of str to float
        Largest difference by format, see `propensity.serving.verify.max_difference`.
    top_k_swaps : dict of str to int
        By format, customers among the best `TOP` of an offer by the trained model but not by the format. All of them
        are tied with the last of the best within the tolerance.
    """

    rows: int = 0
    pairs: int = 0
    max_difference: dict[str, float] = field(default_factory=dict)
    top_k_swaps: dict[str, int] = field(default_factory=dict)

    def compare(
        self, reference: Model, formats: Mapping[str, Model], inputs: Inputs, description: str
    ) -> list[Mapping[str, np.ndarray]]:
        """Compare all formats with the trained model on one batch.

        Parameters
        ----------
        reference : callable
            The trained model.
        formats : mapping of str to callable
            Exported models by name.
        inputs : Inputs
            The batch.
        description : str
            What the batch is, for the error message.

        Returns
        -------
        list of mappings of str to ndarray
            Outputs of the trained model, and of every format.

        Raises
        ------
        GateError
            If a format differs by more than `TOLERANCE`.
        """
        expected = reference(inputs)
        compared = [expected]
        self.rows += inputs.length.shape[0]
        self.pairs += expected["probability"].size
        for name, model in formats.items():
            outputs = model(inputs)
            compared.append(outputs)
            difference = max(max_difference(outputs[each], expected[each]) for each in outputs)
            self.max_difference[name] = max(self.max_difference.get(name, 0.0), difference)
            if not difference <= TOLERANCE:
                raise GateError(
                    f"{name} differs by {difference:.2g} from the trained model on {description}, more than "
                    f"{TOLERANCE:g}; nothing was exported"
                )
        return compared


def edge_cases(inputs: Inputs) -> Iterator[tuple[str, Inputs]]:
    """The same customers in batches of several sizes, and with truncated histories.

    Parameters
    ----------
    inputs : Inputs
        Inputs of the golden customers.

    Yields
    ------
    description : str
        For error messages.
    inputs : Inputs
        One batch.
    """
    customers, slots = inputs.kind.shape
    for size in BATCH_SIZES:
        for start in range(0, customers, size):
            yield f"golden rows in batches of {size}", take_rows(inputs, np.arange(start, start + size) % customers)
    for length in (each for each in HISTORY_LENGTHS if each < slots):
        names = ("token", "kind", "channel", "age", "amount")
        events: dict[str, Any] = {name: getattr(inputs, name)[:, :length] for name in names}
        yield (
            f"golden rows with {length} events",
            inputs._replace(**events | {"length": np.minimum(inputs.length, length)}),
        )


def take_rows(inputs: Inputs, rows: np.ndarray) -> Inputs:
    """Inputs of some customers of a batch.

    Parameters
    ----------
    inputs : Inputs
        A batch of customers.
    rows : ndarray of int
        Rows to take; they may repeat.

    Returns
    -------
    Inputs
        The fields of offers are unchanged.
    """
    names = ("token", "kind", "channel", "age", "amount", "length", "pair", "customer_features")
    return inputs._replace(**{name: getattr(inputs, name)[rows] for name in names})


def compare_top_k(expected: np.ndarray, actual: np.ndarray, top: int = TOP) -> int:
    """Compare the best customers of each offer by two score matrices.

    Parameters
    ----------
    expected, actual : ndarray of shape (N, M)
        Probabilities by the trained model and by an exported one.
    top : int, default=1000
        Customers per offer.

    Returns
    -------
    int
        Customers among the best by `expected` but not by `actual`, over all offers.

    Raises
    ------
    GateError
        If one of them is not tied with the last of the best, within twice the tolerance.
    """
    k = min(top, len(expected))
    last = np.partition(expected, len(expected) - k, axis=0)[len(expected) - k]
    selected = np.zeros((2, *expected.shape), bool)
    for mask, scores in zip(selected, (expected, actual), strict=True):
        np.put_along_axis(mask, np.argsort(-scores, axis=0, kind="stable")[:k], True, axis=0)
    swapped = selected[0] != selected[1]
    largest = float(np.abs(expected - last)[swapped].max(initial=0.0))
    if largest > 2 * TOLERANCE:
        raise GateError(f"the best {k} customers of an offer differ by more than ties ({largest:.2g}); not exported")
    return int(swapped.sum()) // 2
