"""Names of columns that a mapping leaves open: lists of names, and columns that may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from propensity.errors import ConfigurationError
from propensity.ingest.contract import EVENTS, mandatory
from propensity.ingest.source.delivery import Delivery

OPTIONAL = "?"  # the end of the name of a column that may be missing


class Mapping(Protocol):
    """Settings of `propensity.ingest.source.table.Table` that name columns."""

    columns: dict[str, Any]
    leave_out: Any
    item_columns: Sequence[str]
    customer_columns: Sequence[str]
    item_identity: Sequence[str]


def resolve_names(mapping: Mapping, delivered: Sequence[Delivery]) -> dict[str, Any]:
    """Choose the columns that the files have.

    Parameters
    ----------
    mapping : Mapping
        Settings with lists of names and names that end with a question mark.
    delivered : sequence of Delivery
        Files of events.

    Returns
    -------
    dict
        The settings with one name for each column of the contract, without missing columns.

    Raises
    ------
    ConfigurationError
        If a required column has none of its names.
    """
    present = {name for each in delivered for name in each.schema.names()}
    columns = {key: chosen_name(names, delivered) for key, names in mapping.columns.items()}
    for key in mandatory(EVENTS):
        if columns[key] is None:
            names = mapping.columns[key]
            raise ConfigurationError(
                f"data.source.columns.{key}={list(names)} names no column of {delivered[0].file}; set it to one of its "
                f"columns, such as {', '.join(sorted(present)[:5])}"
            )
    if columns.get("order") is None:
        columns["parent"] = None
    leave_out = {_bare(name): values for name, values in mapping.leave_out.items() if _is_there(name, present)}
    lists = {
        key: [_bare(name) for name in getattr(mapping, key) if _is_there(name, present)]
        for key in ("item_columns", "customer_columns", "item_identity")
    }
    return {"columns": columns, "leave_out": leave_out, **lists}


def chosen_name(names: Any, delivered: Sequence[Delivery]) -> str | None:
    """Choose the first name that a file has.

    Parameters
    ----------
    names : str, sequence of str or None
        One name, which is chosen whether it exists or not, or a list of names.
    delivered : sequence of Delivery
        Files of events.

    Returns
    -------
    str or None
        The name, None without one.
    """
    if names is None or isinstance(names, str):
        return names
    present = {name for each in delivered for name in each.schema.names()}
    return next((name for name in names if name in present), None)


def _bare(name: str) -> str:
    """A name without the mark of columns that may be missing."""
    return name.removesuffix(OPTIONAL)


def _is_there(name: str, present: set[str]) -> bool:
    """Whether a column exists or must exist."""
    return name in present or not name.endswith(OPTIONAL) or _bare(name) in present
