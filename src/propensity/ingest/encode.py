"""Encoding of settled rows as columns of a log: codes for ids, sorted by customer and day, orders numbered."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.data.contact import CONTACT_COLUMNS, contact_key
from propensity.data.log_column import KEYS, MISSING, OPTIONAL
from propensity.kernel.event import EVERY_KIND, KINDS, PURCHASE
from propensity.kernel.ragged import offsets_of
from propensity.kernel.sort import by_customer_and_day, number_orders

KEY_OF = {"order_key": "order", "event_key": "event_id"}  # column of the events that each of `KEYS` is a hash of
ALWAYS, NEVER = np.iinfo(np.int32).min, np.iinfo(np.int32).max  # days before and after all others


class CodeTable:
    """Codes of the distinct values of a column, numbered by first appearance, with the first day of each.

    Parameters
    ----------
    dtype : polars.DataType
        Type of the values.
    """

    def __init__(self, dtype: pl.DataType) -> None:
        self.table = pl.DataFrame(schema={"name": dtype, "first": pl.Int32, "code": pl.Int32})

    def code(self, name: pl.Series, day: pl.Series) -> np.ndarray:
        """Encode values and add those that are new.

        Parameters
        ----------
        name : polars.Series
            Values (R,).
        day : polars.Series
            Day of each value, in days since 1970-01-01.

        Returns
        -------
        numpy.ndarray of shape (R,), int32
            Codes, -1 for null.
        """
        rows = pl.DataFrame({"name": name, "day": day})
        batch = rows.lazy().drop_nulls("name").group_by("name").agg(first=pl.col("day").min()).collect()
        batch = batch.join(self.table, on="name", how="left", suffix="_before")
        new = batch.filter(pl.col("code").is_null()).sort("name").select("name", "first")
        old = batch.filter(pl.col("code").is_not_null()).select("code", earlier="first")
        new = new.with_columns(code=pl.int_range(self.table.height, self.table.height + pl.len(), dtype=pl.Int32))
        table = self.table.join(old, on="code", how="left", maintain_order="left")
        table = table.with_columns(first=pl.min_horizontal("first", "earlier")).drop("earlier")
        self.table = pl.concat([table, new])
        coded = rows.join(self.table.select("name", "code"), on="name", how="left", maintain_order="left")
        return coded["code"].fill_null(-1).to_numpy()

    def ranks(self, names: pl.Series) -> np.ndarray:
        """Find the position of each code's value in a list of names.

        Parameters
        ----------
        names : polars.Series
            Names that include all values.

        Returns
        -------
        numpy.ndarray of int
            Position in `names`, by code.
        """
        place = pl.DataFrame({"name": names}).with_row_index("place")
        return self.table.join(place, on="name", how="left", maintain_order="left")["place"].to_numpy()


class EncodedEvents(NamedTuple):
    """Encoded events of some customers."""

    customer: pl.Series  # sorted distinct ids
    events: np.ndarray  # number of events of each
    columns: dict[
        str, np.ndarray
    ]  # `propensity.data.event_log.COLUMNS` and those of `OPTIONAL` and `KEYS` that are delivered
    engagement_events: np.ndarray  # number of events of each of `propensity.kernel.event.ENGAGEMENT_KINDS`
    engagement: dict[str, np.ndarray]  # columns of these events; empty without any


def optional_columns(schema: pl.Schema) -> dict[str, type]:
    """List the optional columns of a log whose values are delivered.

    Parameters
    ----------
    schema : polars.Schema
        Columns of the events of a source.

    Returns
    -------
    dict of str to type
        NumPy type of each column.

    Examples
    --------
    >>> optional_columns(pl.Schema({"customer": pl.Int64, "cost": pl.Float64, "arm": pl.String}))
    {'cost': <class 'numpy.float32'>, 'contact': <class 'numpy.int32'>}
    """
    present = {*schema, *(["contact"] if {*CONTACT_COLUMNS} & {*schema} else [])}
    return {name: kind for name, kind in OPTIONAL.items() if name in present}


def key_columns(schema: pl.Schema, corrections: str | None) -> dict[str, type]:
    """List the hashes of ids that a log of a source stores, see `propensity.ingest.source.Tables`.

    Parameters
    ----------
    schema : polars.Schema
        Columns of the events of a source.
    corrections : str or None
        None: the log stores none.

    Returns
    -------
    dict of str to type
        NumPy type of each column.

    Examples
    --------
    >>> key_columns(pl.Schema({"customer": pl.Int64, "order": pl.String}), "overlap")
    {'order_key': <class 'numpy.int32'>}
    """
    if corrections is None:
        return {}
    return {name: kind for name, kind in KEYS.items() if KEY_OF[name] in schema}


def key_of(ids: pl.Series) -> np.ndarray:
    """Hash ids of orders or lines, which are compared within a customer only.

    Parameters
    ----------
    ids : polars.Series
        Ids (R,), numbers or texts; 7 and "7" have the same hash.

    Returns
    -------
    numpy.ndarray of shape (R,), int32
        CRC-32; 0 for null only.
    """
    texts = ids.cast(pl.String)
    distinct = texts.drop_nulls().unique()
    hashes = pl.Series([zlib.crc32(text.encode()) or 1 for text in distinct], dtype=pl.UInt32)
    table = pl.DataFrame({"text": distinct, "hash": hashes})
    joined = pl.DataFrame({"text": texts}).join(table, on="text", how="left", maintain_order="left")["hash"]
    return joined.fill_null(0).to_numpy().view(np.int32)


def encode(
    rows: pl.DataFrame, items: CodeTable, channels: CodeTable, contacts: CodeTable, keys: Collection[str] = ()
) -> EncodedEvents:
    """Encode the events of some customers in the order of a log.

    Parameters
    ----------
    rows : polars.DataFrame
        Settled rows of the customers.
    items, channels, contacts : CodeTable
        Codes of items, channels and contacts; new values are added.
    keys : collection of str
        Hashes of ids to store, see `key_columns`.

    Returns
    -------
    EncodedEvents
        Columns sorted by customer and day, within a day by time where it is known, otherwise in delivery order.
    """
    day = rows["day"].cast(pl.Date).to_physical()
    customer = rows["customer"].unique().sort()
    row = _place(rows["customer"], customer).to_numpy()
    kind = rows["kind"].cast(pl.Enum(list(EVERY_KIND))).to_physical().cast(pl.Int8).to_numpy()
    item, channel = items.code(rows["item"], day), channels.code(rows["channel"], day)
    if "time" in rows.columns:
        place = np.lexsort((rows["time"].fill_null(MISSING["time"]).to_numpy(), day.to_numpy(), row))
    else:
        place = by_customer_and_day(row, day.to_numpy(), len(customer))
    count = np.bincount(row, minlength=len(customer))
    columns = {"day": day.to_numpy()[place], "item": item[place], "kind": kind[place], "channel": channel[place]}
    columns["order"] = _order_numbers(rows["order"], place, count, columns)
    for name, default in (("quantity", 1.0), ("revenue", 0.0), ("discount", 0.0)):
        columns[name] = rows[name].fill_null(default).to_numpy().astype(np.float32)[place]
    for name, dtype in optional_columns(rows.schema).items():
        columns[name] = _optional(name, rows, day, contacts).astype(dtype)[place]
    columns |= {name: key_of(rows[KEY_OF[name]])[place] for name in keys}
    engaged = columns["kind"] >= len(KINDS)
    if not engaged.any():
        return EncodedEvents(customer, count, columns, np.zeros_like(count), {})
    apart = np.bincount(row[place][engaged], minlength=len(customer))
    history, engagement = ({name: column[part] for name, column in columns.items()} for part in (~engaged, engaged))
    return EncodedEvents(customer, count - apart, history, apart, engagement)


def _optional(name: str, rows: pl.DataFrame, day: pl.Series, contacts: CodeTable) -> np.ndarray:
    """Values (R,) of an optional column."""
    if name == "contact":
        return contacts.code(contact_key(rows), day)
    return rows[name].fill_null(MISSING[name]).to_numpy()


def _place(ids: pl.Series, distinct: pl.Series) -> pl.Series:
    """Position of each id in `distinct`; null stays null."""
    place = pl.DataFrame({"id": distinct}).with_columns(place=pl.int_range(pl.len(), dtype=pl.Int32))
    return pl.DataFrame({"id": ids}).join(place, on="id", how="left", maintain_order="left")["place"]


def _order_numbers(
    order: pl.Series, place: np.ndarray, count: np.ndarray, columns: dict[str, np.ndarray]
) -> np.ndarray:
    """Number of each event's order, of one day, within its customer, by first appearance."""
    if not order.dtype.is_integer():
        order = _place(order, order.drop_nulls().unique())
    offsets = offsets_of(count)
    named, key = order.is_not_null().to_numpy(), order.fill_null(0).cast(pl.Int64, wrap_numerical=True).to_numpy()
    return number_orders(offsets, columns["kind"] == PURCHASE, named[place], key[place], columns["day"])
