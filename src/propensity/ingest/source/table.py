"""Bring your own table: transactions in CSV or Parquet, under whatever column names they have, clean or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, cast

import polars as pl

from propensity.data.event_log import to_date, to_day
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.contract import CONSENTS, CONTACTS, EVENTS, IDENTITY_MAP, mandatory
from propensity.ingest.rule.day import EARLIEST, DayFormat
from propensity.ingest.rule.screen import MOST_UNITS, NOT_PRODUCTS, rejection_reason, screen_events
from propensity.ingest.rule.settle import Corrections, settle
from propensity.ingest.source import Tables
from propensity.ingest.source.delivery import (
    Delivery,
    check_keys,
    collect,
    collect_all,
    count_rows,
    find_files,
    open_file,
    split_duplicates,
)
from propensity.ingest.source.id_normalisation import (
    IdFormat,
    assign_guest_ids,
    detect_id_format,
    shared_ids,
    text_for_guests,
)
from propensity.ingest.source.join import join_tables
from propensity.ingest.source.meta import attribute_table, event_attributes, first_day_attributes, table_warnings
from propensity.ingest.source.people import (
    add_consents,
    add_guests,
    add_messages,
    apply_identity_map,
    open_table,
    read_consents,
    read_contacts,
    read_identity_map,
)
from propensity.ingest.source.reading import (
    ANYTHING,
    ColumnMapping,
    check_currencies,
    check_scales,
    concat_deliveries,
    detect_format,
    read_events,
)
from propensity.kernel.event import KINDS

CHOICES = {
    "revenue_is": ("total", "unit"),
    "guests": ("popularity", "quarantine"),
    "ids": ("auto", "text", "number"),
    "corrections": ("overlap", "always", "never"),
    "orphans": ("quarantine", "keep"),
    "unknown_items": ("keep", "quarantine"),
}


@dataclass
class Table:
    """Transactions from `events`, a file or a pattern of files, with optional tables beside them.

    columns: our names to yours; customer and day are mandatory, null means that there is no such column; what
    each means is declared in `propensity.ingest.contract`. revenue is the line's total, or with revenue_is="unit" the
    price of one. A missing quantity counts 1 a line, a missing revenue 1 a unit, so that revenue is units.
    joins: tables that hold further columns of the events; see `propensity.ingest.source.join`.
    items, customers: tables with one row each, and their keys; or item_columns, customer_columns: columns of the
    events that describe them, the earliest day's value counting. identity_map: path, alias and customer, ids that stand
    for another; consents: path, customer, consent and, if there are, channel and day; contacts: path, customer, day
    and, if there is one, channel: messages sent.
    day_format: such as %m/%d/%Y, where dates are neither ISO, timestamps, epochs nor yyyymmdd. timezone: of the shop's
    calendar, for timestamps with a zone. decimal: "." or ",", where the numbers do not show it. rates: currency ->
    what one of it is worth. scale: what revenue is multiplied by, 0.01 for cents, or a pattern of file names -> that.
    kinds: your words for kinds of events -> ours. cancelled: a pattern of order ids that cancel, such as ^C.
    leave_out: column -> values whose rows are no sales. not_products: item codes that are none. most_units: of a line,
    most_orders: of a customer's day on average, above which it is nobody's household (null: no bound).
    earliest, latest: the first and last day that is believed (null: today). ids, fold_case: how ids are written.
    item_identity: further columns that tell products of one code apart. guests, corrections, orphans, unknown_items:
    what is done under the rules of these names; see docs/data.md for all of them. folder: where all these files are,
    if not where the command starts.
    Raises: ConfigurationError for a file or column that does not exist, DataError for a file that cannot be read.
    """

    events: str
    columns: dict[str, str | None]
    joins: Sequence[Mapping[str, Any]] = field(default_factory=list)
    items: str | None = None
    customers: str | None = None
    identity_map: Mapping[str, str] | None = None
    consents: Mapping[str, str] | None = None
    contacts: Mapping[str, str] | None = None
    item_columns: Sequence[str] = field(default_factory=list)
    customer_columns: Sequence[str] = field(default_factory=list)
    item_key: str | None = None
    customer_key: str | None = None
    item_identity: Sequence[str] = field(default_factory=list)
    revenue_is: str = "total"
    day_format: str | None = None
    timezone: str | None = None
    decimal: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    scale: Any = 1.0
    kinds: Mapping[str, str] = field(default_factory=dict)
    cancelled: str | None = None
    leave_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    not_products: Sequence[str] | None = None
    most_units: float | None = MOST_UNITS
    most_orders: float | None = 50.0
    earliest: str | None = None
    latest: str | None = None
    ids: str = "auto"
    fold_case: bool = False
    guests: str = "popularity"
    corrections: str = "overlap"
    orphans: str = "quarantine"
    unknown_items: str = "keep"
    separator: str = ","
    encoding: str | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        self._place()
        check_keys(self.columns, [column.name for column in EVENTS], "data.source.columns")
        for name in mandatory(EVENTS):
            if self.columns.get(name) is None:
                raise ConfigurationError(f"data.source.columns.{name} is null; give the name of that column")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigurationError(
                    f"data.source.{name}={getattr(self, name)} is unknown; give {' or '.join(choices)}"
                )
        if self.columns.get("item") is None and (self.items or self.item_columns or self.item_identity):
            raise ConfigurationError(
                "data.source.columns.item is null, so nothing can describe items; name that column"
            )
        for key, names in (("item", self.item_columns), ("customer", self.customer_columns)):
            if names and getattr(self, f"{key}s") is not None:
                raise ConfigurationError(
                    f"data.source.{key}_columns={list(names)} and data.source.{key}s describe the same; drop one"
                )
        if wrong := sorted(set(self.kinds.values()) - set(KINDS)):
            raise ConfigurationError(f"data.source.kinds names {wrong[0]!r}; the kinds are {', '.join(KINDS)}")

    def _place(self) -> None:
        """Puts `folder` before all paths."""
        if self.folder is None:
            return
        home = Path(self.folder)
        self.events = str(home / self.events)
        self.items, self.customers = (path and str(home / path) for path in (self.items, self.customers))
        self.joins = [
            {key: str(home / value) if key == "table" else value for key, value in join.items()} for join in self.joins
        ]
        for name in ("identity_map", "consents", "contacts"):
            if given := getattr(self, name):
                setattr(self, name, {**given, "path": str(home / given.get("path", ""))})

    def files(self) -> list[Path]:
        """What is read, so that a log can be told out of date."""
        beside = [
            attribute_table.get("path")
            for attribute_table in (self.identity_map, self.consents, self.contacts)
            if attribute_table
        ]
        given = (self.events, self.items, self.customers, *beside, *(join.get("table") for join in self.joins))
        return [file for path in given if path for file in find_files(path, "data.source")]

    def load(self) -> Tables:
        """Scans; the text of CSV files is looked through once before, for what it gives away of itself."""
        files, again = split_duplicates(find_files(self.events, "data.source.events"))
        delivered = [self._open(file) for file in files]
        if not sum(map(count_rows, delivered)):
            raise DataError(f"{self.events} has no rows; deliver it again")
        merged = {"file_twice": sum(count_rows(self._open(file)) for file in again)} if again else {}
        delivered = join_tables(delivered, self.joins, self.separator)
        for each in delivered:
            for name, setting in self._wanted().items():
                each.column(name, setting)
        ids = {key: self._writing(key, delivered) for key in ("customer", "item")}
        events, warnings = self._events(delivered, ids)
        screen = partial(screen_events, rule=self._reason())
        passed = screen(events).filter(pl.col("reason").is_null())
        tables, found = self._about(passed, ids)
        customers, asked = self._people(passed, tables["customer"], ids["customer"])
        corrections = cast(Corrections, self.corrections)
        return Tables(
            events=events,
            items=tables["item"],
            customers=customers,
            dropped={},
            read=None,
            screen=screen,
            settle=partial(settle, corrections=corrections, orphans=self.orphans == "keep"),
            merged=merged,
            warnings=warnings | found | asked,
        )

    def _writing(self, key: str, delivered: list[Delivery]) -> IdFormat:
        """How customers or items are written here and in their own tables."""
        if self.columns.get(key) is None:
            return IdFormat()
        column, beside = str(self.columns[key]), []
        if path := getattr(self, f"{key}s"):
            name = getattr(self, f"{key}_key") or column
            open_table = [self._open(file) for file in find_files(path, f"data.source.{key}s")]
            beside = [each.schema[each.column(name, f"data.source.{key}_key")] for each in open_table]
        ids = detect_id_format(column, delivered, beside, self.ids, self.fold_case)
        guests = key == "customer" and self.guests == "popularity" and self.columns.get("order")
        return text_for_guests(ids, column, delivered) if guests else ids

    def _events(self, delivered: list[Delivery], ids: dict[str, IdFormat]) -> tuple[pl.LazyFrame, dict[str, int]]:
        """All events under our names, with the facts that rules look at, and what is to be said of their ids."""
        mapping = self._mapping()
        check_scales(delivered, mapping)
        contacts = [] if self.contacts is None else open_table(self.contacts, CONTACTS, "contacts", self.separator)
        names = [str(each.file) for each in (*delivered, *contacts)]
        styles = [detect_format(each, mapping) for each in delivered]
        check_currencies(styles, delivered, mapping)
        read_all = [
            read_events(each, names, mapping, style, ids) for each, style in zip(delivered, styles, strict=True)
        ]
        events = concat_deliveries(read_all)
        events, warnings = self._identified(events, ids["customer"])
        events = self._marked(events, ids["item"])
        if contacts and self.contacts:
            style = DayFormat(self.day_format, None, self.timezone)
            events = add_messages(events, read_contacts(contacts, self.contacts, ids["customer"], style, names))
        return events, warnings

    def _open(self, file: Path) -> Delivery:
        return open_file(file, self.separator, self.encoding)

    def _wanted(self) -> dict[str, str]:
        """Columns of the events that must be there, and the setting that names each."""
        wanted = dict.fromkeys(self.leave_out, "data.source.leave_out")
        for name in ("item_columns", "customer_columns", "item_identity"):
            wanted |= dict.fromkeys(getattr(self, name), f"data.source.{name}")
        return wanted | {column: f"data.source.columns.{name}" for name, column in self.columns.items() if column}

    def _mapping(self) -> ColumnMapping:
        return ColumnMapping(
            columns={name: column for name, column in self.columns.items() if column},
            item_columns=tuple(self.item_columns),
            customer_columns=tuple(self.customer_columns),
            item_identity=tuple(self.item_identity),
            unit_price=self.revenue_is == "unit",
            day_format=self.day_format,
            timezone=self.timezone,
            decimal=self.decimal,
            rates=self.rates,
            scale=self.scale,
            kinds=self.kinds,
            cancelled=self.cancelled,
            leave_out={column: tuple(map(str, values)) for column, values in self.leave_out.items()},
        )

    def _reason(self) -> pl.Expr:
        codes = NOT_PRODUCTS if self.not_products is None else tuple(str(code).lower() for code in self.not_products)
        latest = date.today() if self.latest is None else to_date(to_day(self.latest))
        earliest = EARLIEST if self.earliest is None else to_date(to_day(self.earliest))
        return rejection_reason(latest, earliest, codes, self.most_units, self.unknown_items == "keep")

    def _identified(self, events: pl.LazyFrame, ids: IdFormat) -> tuple[pl.LazyFrame, dict[str, int]]:
        """The events under the ids of those that other ids stand for."""
        if self.identity_map is None:
            return events, {}
        files = open_table(self.identity_map, IDENTITY_MAP, "identity_map", self.separator)
        owned, warnings = read_identity_map(files, self.identity_map, ids)
        return apply_identity_map(events, owned), warnings

    def _marked(self, events: pl.LazyFrame, items: IdFormat) -> pl.LazyFrame:
        """The events with guests named by their orders, and what the rules need to know of all rows together."""
        ordered = self.columns.get("order") is not None
        shared = shared_ids(events, self.most_orders) if ordered and self.most_orders else []
        events = assign_guest_ids(events, shared, ordered, ordered and self.guests == "popularity")
        unlisted = pl.lit(False)
        if self.items is not None:
            found = self._table("item", events.collect_schema()["item"], items).select("item").unique()
            known = collect(found, self.items)["item"]
            unlisted = pl.col("item").is_in(known.implode()).not_() & pl.col("item").is_not_null()
        return events.with_columns(unlisted.fill_null(False).alias("?unlisted"))

    def _table(self, key: str, dtype: pl.DataType, ids: IdFormat) -> pl.LazyFrame:
        """A delivered table of items or customers under the id of the events."""
        name = getattr(self, f"{key}_key") or str(self.columns[key])
        return attribute_table(getattr(self, f"{key}s"), f"data.source.{key}s", key, name, self.separator, ids, dtype)

    def _about(
        self, passed: pl.LazyFrame, ids: dict[str, IdFormat]
    ) -> tuple[dict[str, pl.LazyFrame | None], dict[str, int]]:
        """Items and customers: the table delivered, or what the events of their first day say of them."""
        tables: dict[str, pl.LazyFrame | None] = {}
        warnings: dict[str, int] = {}
        said = {key: list(getattr(self, f"{key}_columns")) for key in ids if getattr(self, f"{key}_columns")}
        heard = collect_all([event_attributes(passed, key, columns) for key, columns in said.items()], self.events)
        for (key, columns), rows in zip(said.items(), heard, strict=True):
            found, counts = first_day_attributes(rows, key, columns)
            tables[key], warnings = found.lazy(), warnings | counts
        for key in ids.keys() - said.keys():
            tables[key] = None
            if self.columns.get(key) is None:
                tables[key] = pl.LazyFrame({"item": [ANYTHING], "category": [ANYTHING]})
                continue
            if getattr(self, f"{key}s") is not None:
                frame = self._table(key, passed.collect_schema()[key], ids[key])
                tables[key], warnings = frame, warnings | table_warnings(frame, key)
        return tables, warnings

    def _people(
        self, passed: pl.LazyFrame, customers: pl.LazyFrame | None, ids: IdFormat
    ) -> tuple[pl.LazyFrame | None, dict[str, int]]:
        """The table of customers with guests told apart and consents, where there are any."""
        warnings: dict[str, int] = {}
        if self.guests == "popularity" and self.columns.get("order"):
            customers = add_guests(customers, passed)
        if self.consents is not None:
            files = open_table(self.consents, CONSENTS, "consents", self.separator)
            style = DayFormat(self.day_format, None, self.timezone)
            words, warnings = read_consents(files, self.consents, ids, style)
            customers, never = add_consents(customers, passed, words)
            warnings |= never
        return customers, warnings
