"""Numbers in the attributes of customers: ages, incomes, sizes of a household."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import polars as pl

from propensity.errors import ConfigurationError
from propensity.feature.reason import ATTRIBUTE
from propensity.kernel.column import FeatureColumn

NUMBER = r"\d+(?:\.\d+)?"


def attribute_columns(names: Sequence[str]) -> tuple[FeatureColumn, ...]:
    """Declarations of the customer columns that hold attributes."""
    return tuple(
        FeatureColumn(
            f"{ATTRIBUTE}{name}",
            f"number in the customer's {name}; the mean of the numbers of a range",
            "customer",
            missing="unknown",
            empty=None,
            optional=True,
            group="attributes",
            reason="person",
        )
        for name in names
    )


def attribute_numbers(customers: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """The numbers in attributes of customers.

    Parameters
    ----------
    customers : DataFrame
        N rows with attributes.
    names : sequence of str
        A columns.

    Returns
    -------
    (N, A) float32
        The mean of the numbers that a text holds; NaN where there is none.

    Raises
    ------
    ConfigurationError
        If customers have no such column.

    Examples
    --------
    >>> ages = pl.DataFrame({"age": ["19-24", "65+", None], "children": [2, None, 0]})
    >>> attribute_numbers(ages, ["age", "children"])
    array([[21.5,  2. ],
           [65. ,  nan],
           [ nan,  0. ]], dtype=float32)
    """
    for name in names:
        if name not in customers.columns:
            near = get_close_matches(name, customers.columns, n=1) or customers.columns
            raise ConfigurationError(
                f"customers have no column {name!r}; set data.feature.attributes to columns such as {near[0]!r}"
            )
    columns = [_numbers(customers[name]) for name in names]
    return np.stack(columns, axis=1) if columns else np.zeros((customers.height, 0), np.float32)


def _numbers(values: pl.Series) -> np.ndarray:
    """The number in each value: (N,) float32."""
    if not values.dtype.is_numeric() and values.dtype != pl.Boolean:
        found = values.cast(pl.String).str.extract_all(NUMBER)
        values = found.list.eval(pl.element().cast(pl.Float64)).list.mean()
    return values.cast(pl.Float32).fill_null(np.nan).to_numpy()
