"""Formats of customer and item ids in a delivery, shared ids, and guests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from propensity.ingest.rule.identity import PADDED, normalised_id
from propensity.ingest.source.collection import collect
from propensity.ingest.source.delivery import Delivery

GUEST = "guest:"
STAND_INS = (
    "-1", "unknown", "guest", "anonymous", "anonym", "nobody", "walk-in", "walkin", "walk in", "walk-in customer",
    "cash customer", "cash sale", "no customer", "not registered", "undefined", "(none)", "not set", "(not set)",
    "00000000-0000-0000-0000-000000000000", "unbekannt", "gast", "laufkunde", "barverkauf", "inconnu", "invité",
    "client de passage", "desconocido", "invitado", "consumidor final", "público en general", "desconhecido",
    "convidado", "sconosciuto", "ospite", "onbekend", "passant", "nieznany", "gość", "neznámý", "ismeretlen",
    "vendég", "bilinmiyor", "misafir",
)  # fmt: skip
LARGEST = 2**63 - 1  # id as a number
MIN_SHARED_ROWS = 1_000  # an id with fewer rows is never treated as shared


@dataclass(frozen=True)
class IdFormat:
    """Format of ids.

    Parameters
    ----------
    numeric : bool
        Ids are whole numbers; otherwise text.
    padded : bool
        Leading zeros of text are significant.
    fold : bool
        Case of text is not significant.
    """

    numeric: bool = False
    padded: bool = True
    fold: bool = False

    def read(self, column: str, dtype: pl.DataType) -> pl.Expr:
        """Build an expression that reads ids of this format.

        Parameters
        ----------
        column : str
            Name of the column.
        dtype : polars.DataType
            Type of the column.

        Returns
        -------
        polars.Expr
            Normalised ids.
        """
        return normalised_id(column, dtype, self.numeric, self.padded, self.fold)


def detect_id_format(
    column: str, events: Sequence[Delivery], other_types: Sequence[pl.DataType], ids: str, fold: bool
) -> IdFormat:
    """Detect the format of a column of ids.

    Ids are numbers if the column is numeric in all files, otherwise text. Leading zeros are significant unless another
    file or table has the ids as numbers, or one number occurs with and without leading zeros.

    Parameters
    ----------
    column : str
        Id column of the events.
    events : sequence of Delivery
        Files of events.
    other_types : sequence of polars.DataType
        Types of the ids in other tables.
    ids : {"auto", "text", "number"}
        Configured format.
    fold : bool
        Whether case is not significant.

    Returns
    -------
    IdFormat
        Format for the events and the other tables.
    """
    types = [each.schema[column] for each in events]
    if all(kind.is_integer() or kind.is_float() for kind in types) and ids != "text":
        return IdFormat(numeric=not any(_is_too_large(column, each) for each in events))
    if ids != "auto":
        return IdFormat(padded=ids == "text", fold=fold)
    if any(kind.is_numeric() for kind in (*types, *other_types)):
        return IdFormat(padded=False, fold=fold)
    return IdFormat(padded=not _has_both_forms(column, events), fold=fold)


def _is_too_large(column: str, delivery: Delivery) -> bool:
    """Whether a column of unsigned integers has an id that a signed one cannot hold."""
    if delivery.schema[column] != pl.UInt64:
        return False
    return bool(collect(delivery.frame.select((pl.col(column) > LARGEST).any()), str(delivery.file)).item())


def _has_both_forms(column: str, events: Sequence[Delivery]) -> bool:
    """Whether a number occurs with and without leading zeros."""
    padded, plain = set[str](), set[str]()
    for each in events:
        text = normalised_id(column, each.schema[column])
        for ids, pattern in ((padded, PADDED), (plain, r"^[1-9]\d*$")):
            if ids is plain and not padded:
                continue
            rows = each.frame.select(text.alias("id")).filter(pl.col("id").str.contains(pattern))
            ids.update(collect(rows.unique(), str(each.file))["id"].to_list())
    return bool({name.lstrip("0") for name in padded} & plain)


def text_for_guests(ids: IdFormat, column: str, events: Sequence[Delivery], stand_ins: Sequence[str] = ()) -> IdFormat:
    """Use text ids if rows without a customer will get guest ids, which are text.

    Parameters
    ----------
    ids : IdFormat
        Detected format.
    column : str
        Column of customer ids.
    events : sequence of Delivery
        Files of events.
    stand_ins : sequence of str
        Ids that stand for nobody.

    Returns
    -------
    IdFormat
        Text if `column` has missing values or stand-ins, otherwise unchanged.
    """
    if not ids.numeric:
        return ids
    numbers = [float(name) for name in stand_ins if _is_number(name)]
    nobody = pl.col(column).is_null() | pl.col(column).cast(pl.Float64).is_in(numbers)
    missing = (collect(each.frame.select(nobody.any()), str(each.file)).item() for each in events)
    return replace(ids, numeric=False) if any(missing) else ids


def _is_number(name: str) -> bool:
    """Whether a text is a whole number."""
    return name.removeprefix("-").isdecimal()


def without_stand_ins(events: pl.LazyFrame, stand_ins: Sequence[str]) -> pl.LazyFrame:
    """Remove customer ids that stand for nobody.

    Parameters
    ----------
    events : polars.LazyFrame
        Events with customer.
    stand_ins : sequence of str
        The ids, in lower case.

    Returns
    -------
    polars.LazyFrame
        The events; the customer is null where it was one of them.
    """
    customer = pl.col("customer")
    if events.collect_schema()["customer"] != pl.String:
        numbers = [int(name) for name in stand_ins if _is_number(name)]
        return events.with_columns(pl.when(customer.is_in(numbers).not_()).then(customer).alias("customer"))
    nobody = customer.str.to_lowercase().is_in(list(stand_ins))
    return events.with_columns(pl.when(nobody.not_()).then(customer).alias("customer"))


def shared_ids(events: pl.LazyFrame, most_orders: float) -> list[object]:
    """Find customer ids that several people share.

    Parameters
    ----------
    events : polars.LazyFrame
        Events with customer, day and order.
    most_orders : float
        Maximum mean number of orders on a day with orders.

    Returns
    -------
    list
        Sorted ids with more orders.
    """
    frequent = (
        events.group_by("customer")
        .agg(rows=pl.len())
        .filter((pl.col("rows") >= MIN_SHARED_ROWS) & pl.col("customer").is_not_null())
    )
    ids = frequent.collect(engine="streaming")["customer"]
    if not ids.len():
        return []
    rows = events.filter(pl.col("customer").is_in(ids.implode()))
    counts = rows.group_by("customer").agg(orders=pl.struct("day", "order").n_unique(), days=pl.col("day").n_unique())
    return counts.filter(pl.col("orders") > most_orders * pl.col("days")).collect()["customer"].sort().to_list()


def assign_guest_ids(
    events: pl.LazyFrame, shared: Sequence[object], has_orders: bool, accept_guests: bool
) -> pl.LazyFrame:
    """Replace missing and shared customer ids by one guest id per order.

    Parameters
    ----------
    events : polars.LazyFrame
        Events.
    shared : sequence
        Ids of `shared_ids`.
    has_orders : bool
        Whether the order column is mapped.
    accept_guests : bool
        Whether guests are used; otherwise the customer is null.

    Returns
    -------
    polars.LazyFrame
        The events with `?shared` and `?guest`.
    """
    customer, dtype = pl.col("customer"), events.collect_schema()["customer"]
    ids = pl.Series(list(shared), dtype=dtype).implode()
    events = events.with_columns((customer.is_in(ids).fill_null(False) if shared else pl.lit(False)).alias("?shared"))
    without_customer, guest = pl.col("?shared") | customer.is_null(), pl.lit(False)
    new_id: pl.Expr = pl.when(~without_customer).then(customer)
    if has_orders and accept_guests and dtype == pl.String:
        names = [name for name in ("parent", "order") if name in events.collect_schema().names()]
        order = pl.coalesce(pl.col(name).cast(pl.String) for name in names)  # a refund is the guest's of its order
        guest = without_customer & order.is_not_null()
        new_id = pl.when(guest).then(pl.lit(GUEST) + order).otherwise(new_id)
    return events.with_columns(new_id.alias("customer"), guest.alias("?guest"))
