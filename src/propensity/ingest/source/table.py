"""Source of a retailer's own tables: transactions in CSV or Parquet with configurable column names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast
from zoneinfo import available_timezones

import polars as pl

from propensity.data.event_log import to_date, to_day
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.contract import BEHAVIOUR, CONSENTS, CONTACTS, EVENTS, IDENTITY_MAP, Column, mandatory
from propensity.ingest.rule.day import EARLIEST, DayFormat
from propensity.ingest.rule.matching import require_match
from propensity.ingest.rule.product import describes_items, names_no_product
from propensity.ingest.rule.screen import MAX_UNITS, rejection_reason, screen_events
from propensity.ingest.rule.settle import Corrections, settle
from propensity.ingest.source import Tables
from propensity.ingest.source.acquisition import (
    add_acquisition,
    check_acquisition,
    read_acquisition,
    without_aliases,
)
from propensity.ingest.source.behaviour import read_behaviour
from propensity.ingest.source.collection import collect, collect_all
from propensity.ingest.source.column_mapping import ColumnMapping
from propensity.ingest.source.consent import (
    add_consents,
    read_consents,
    with_consent_flags,
    with_every_refusal,
    with_refusals_of_owners,
)
from propensity.ingest.source.delivery import Delivery, count_rows, open_file, open_files, renamed
from propensity.ingest.source.evidence import findings
from propensity.ingest.source.file_format import check_currencies, detect_format, log_currency
from propensity.ingest.source.file_search import find_files, split_duplicates
from propensity.ingest.source.id_normalisation import (
    STAND_INS,
    IdFormat,
    assign_guest_ids,
    detect_id_format,
    shared_ids,
    text_for_guests,
    without_stand_ins,
)
from propensity.ingest.source.join import join_tables
from propensity.ingest.source.known_name import check_keys, closest_name
from propensity.ingest.source.line_refund import REFUNDS
from propensity.ingest.source.meta import attribute_table, event_attributes, first_day_attributes, table_warnings
from propensity.ingest.source.name_choice import OPTIONAL, chosen_name, resolve_names
from propensity.ingest.source.order import assign_parents, complete_orders
from propensity.ingest.source.order_amount import divide_order_amounts
from propensity.ingest.source.people import (
    IdentityMap,
    add_guests,
    add_messages,
    apply_identity_map,
    open_table,
    read_contacts,
    read_identity_map,
    with_guest_flag,
)
from propensity.ingest.source.price_check import check_scales, check_unit_prices, count_repeated_discounts
from propensity.ingest.source.reading import ANYTHING, concat_deliveries, read_events
from propensity.kernel.event import EVERY_KIND

TAB = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}
QUOTES = {"double": '"', "single": "'", "none": ""}
CHOICES = {
    "cost_is": ("total", "unit"),
    "refund_is": ("net", "gross"),
    "revenue_is": ("net", "total", "gross", "unit", "net_unit"),
    "order_discount_is": ("further", "total"),
    "discount_is": ("amount", "percent", "fraction"),
    "guests": ("popularity", "quarantine"),
    "ids": ("auto", "text", "number"),
    "corrections": ("overlap", "always", "never"),
    "orphans": ("quarantine", "keep"),
    "unknown_items": ("keep", "quarantine"),
}
UNSET = ("revenue_is", "discount_is")  # choices that may be null


class EarlierLog(NamedTuple):
    """The log that a delivery is appended to."""

    known: Callable[[pl.Series], pl.Series]  # those of some ids that are customers of the log
    is_text: bool  # whether its customer ids are text
    bought: Callable[[pl.DataFrame], pl.Series]  # whether customers of some rows, as it writes them, bought their items
    items: pl.Series  # ids of its items
    has_consents: bool  # whether its customers have words of consents


@dataclass
class Table:
    """Source of transactions from a file or a pattern of files, with optional tables beside them.

    Parameters
    ----------
    events : str
        File or pattern of files with transactions.
    columns : dict of str to str
        Column of the contract (`propensity.ingest.contract`) -> column of the file; null without such a column. Of a
        list of names the first that a file has is used.
        Customer and day are required. A missing quantity counts 1 per line, a missing revenue 1 per unit.
    rename : mapping of str to str
        Name of a column in some files of events -> its name in the others.
    joins : sequence of mapping
        Tables with further columns of the events; see `propensity.ingest.source.join.join_tables`.
    items, customers : str, optional
        Tables with one row per item or customer.
    identity_map : mapping, optional
        `path`, `alias` and `customer`: ids that other ids replace.
    consents : mapping, optional
        `path`, `customer`, `consent` and optionally `channel`, `purpose` and `day`.
    contacts : mapping, optional
        `path`, `customer`, `day` and optionally `channel`: messages that were sent.
    behaviour : mapping, optional
        `path`, `customer`, `day` and optionally `item`, `kind`, `channel`, `time` and `campaign`: what customers did
        besides buying; views without `kind`, whose words are those of `kinds`.
    acquisition : mapping, optional
        `day`, `channel` and `cost`: columns of the table of customers.
    item_columns, customer_columns : sequence of str
        Without the tables: columns of the events that describe items or customers; the value of the first day is used.
    item_key, customer_key : str, optional
        Id columns of the tables; default the names in the events.
    item_identity : sequence of str
        Further columns that distinguish products with the same code.
    revenue_is : {"net", "gross", "unit", "net_unit"}, optional
        Whether revenue is what was paid for the line, the same before its discount, the price of one unit before the
        discount of the line, or the price of one unit after it. By default the total, unless the amounts are
        evidently prices of one unit.
    discount_is : {"amount", "percent", "fraction"}, optional
        What a discount without the sign % is; by default an amount.
    order_discount_is : {"further", "total"}
        Whether the discount of an order stands beside the discounts of its lines or includes them.
    cost_is : {"total", "unit"}
        Whether the cost is that of the line or of one unit.
    refund_is : {"net", "gross"}
        Whether the refund of a line is what was paid back or an amount before the discount, as a revenue that is gross.
    header_once : bool, optional
        Whether facts of an order stand on its first line only; detected for each column by default.
    day_format : str, optional
        strptime format, for dates that are neither ISO, timestamps, epochs nor yyyymmdd; or "excel" for serial dates.
    timezone : str, optional
        Time zone of the shop's calendar, for timestamps with a zone.
    times_in : str, optional
        Time zone of times without an offset, such as UTC; by default `timezone`.
    decimal : str, optional
        Decimal separator, "." or ","; detected by default.
    rates : mapping of str to float
        Currency -> exchange rate.
    currency : str, optional
        Currency of the log, named wherever amounts are shown; by default that of the rates or of the events.
    scale : float or mapping of str to float
        Factor of revenue, such as 0.01 for cents, or pattern of file names -> factor.
    kinds : mapping of str to str
        Word in the column `kind` -> kind of event.
    cancelled : str, optional
        Regular expression of order ids that cancel an order, such as ^C.
    leave_out : mapping of str to sequence of str
        Column -> values whose rows are not sales; * stands for any. A column whose name ends with ? may be missing.
    not_products : sequence of str, optional
        Codes and descriptions of items that are not products, of which `default` stands for the built-in words for
        postage, fees, discounts and the like in eleven languages; by default these. Empty to keep all lines.
    most_units : float, optional
        Maximum units in one line; null for no maximum.
    most_orders : float, optional
        Maximum mean orders of a customer on a day with orders; a customer id with more is shared by several people.
        Null for no maximum.
    earliest, latest : str, optional
        ISO dates of the first and last valid day; default 1980-01-01 and today.
    ids : {"auto", "text", "number"}
        Format of ids.
    guest_ids : sequence, optional
        Customer ids that stand for nobody; default -1, unknown, guest and similar words.
    guests : {"popularity", "quarantine"}
        Whether rows without a customer count for item statistics or are quarantined.
    corrections : {"overlap", "always", "never"}
        When a later delivery of an order replaces an earlier one.
    orphans : {"quarantine", "keep"}
        What is done with returns without an earlier purchase.
    unknown_items : {"keep", "quarantine"}
        What is done with items that are missing from the table of items.
    fold_case : bool
        Whether the case of ids is not significant.
    separator : str, optional
        Field separator of text files, or "tab"; detected by default.
    header : bool, optional
        Whether files of events have a header; otherwise the columns are column_1, column_2 and so on. Detected by
        default.
    skip : int, optional
        Lines above the header in files of events; detected by default.
    quote : {"double", "single", "none"}, optional
        Quotation mark of files of events; detected by default.
    encoding : str, optional
        Encoding of text files; detected by default.
    folder : str, optional
        Folder of all files; default the working directory.

    Raises
    ------
    ConfigurationError
        If a setting is not valid, or a file or column does not exist.
    DataError
        If a file cannot be read.
    """

    events: str
    columns: dict[str, Any]
    rename: Mapping[str, str] = field(default_factory=dict)
    joins: Sequence[Mapping[str, Any]] = field(default_factory=list)
    items: str | None = None
    customers: str | None = None
    identity_map: Mapping[str, str] | None = None
    consents: Mapping[str, str] | None = None
    contacts: Mapping[str, str] | None = None
    behaviour: Mapping[str, str] | None = None
    acquisition: Mapping[str, str] | None = None
    item_columns: Sequence[str] = field(default_factory=list)
    customer_columns: Sequence[str] = field(default_factory=list)
    item_key: str | None = None
    customer_key: str | None = None
    item_identity: Sequence[str] = field(default_factory=list)
    revenue_is: str | None = None
    discount_is: str | None = None
    order_discount_is: str = "further"
    cost_is: str = "total"
    refund_is: str = "net"
    header_once: bool | None = None
    day_format: str | None = None
    timezone: str | None = None
    times_in: str | None = None
    decimal: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    currency: str | None = None
    scale: Any = 1.0
    kinds: Mapping[str, str] = field(default_factory=dict)
    cancelled: str | None = None
    leave_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    not_products: Sequence[str] | None = None
    most_units: float | None = MAX_UNITS
    most_orders: float | None = 50.0
    earliest: str | None = None
    latest: str | None = None
    ids: str = "auto"
    fold_case: bool = False
    guest_ids: Sequence[Any] | None = None
    guests: str = "popularity"
    corrections: str = "overlap"
    orphans: str = "quarantine"
    unknown_items: str = "keep"
    separator: str | None = None
    header: bool | None = None
    skip: int | None = None
    quote: str | None = None
    encoding: str | None = None
    folder: str | None = None
    earlier: EarlierLog | None = field(init=False, default=None, compare=False, repr=False)
    _formats: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._prefix_paths()
        check_keys(self.columns, [column.name for column in EVENTS], "data.source.columns")
        for name in mandatory(EVENTS):
            if self.columns.get(name) is None:
                raise ConfigurationError(f"data.source.columns.{name} is null; set it to the name of the column")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in (*choices, *([None] if name in UNSET else [])):
                raise ConfigurationError(
                    f"data.source.{name}={getattr(self, name)} is unknown; use {' or '.join(choices)}"
                )
        if self.columns.get("item") is None and (self.items or self.item_columns or self.item_identity):
            raise ConfigurationError(
                "data.source.columns.item is null but items are described; set it to the name of the item column"
            )
        for key, names in (("item", self.item_columns), ("customer", self.customer_columns)):
            if names and getattr(self, f"{key}s") is not None:
                raise ConfigurationError(
                    f"data.source.{key}_columns={list(names)} and data.source.{key}s describe the same; remove one"
                )
        check_acquisition(self.acquisition, self.customers)
        if self.separator is not None:
            self.separator = TAB.get(self.separator, self.separator)
            if len(self.separator.encode()) != 1 or self.separator in '"\r\n':
                raise ConfigurationError(
                    f"data.source.separator={self.separator} is not one character; use a character such as ; or tab"
                )
        if self.skip is not None and (not isinstance(self.skip, int) or self.skip < 0):
            raise ConfigurationError(f"data.source.skip={self.skip} is not a number of lines; use 0 or more")
        if self.quote is not None:
            self.quote = QUOTES.get(self.quote, self.quote)
            if self.quote not in QUOTES.values():
                raise ConfigurationError(
                    f"data.source.quote={self.quote} is not a quotation mark; use {' or '.join(QUOTES)}"
                )
        if self.columns.get("parent") and not self.columns.get("order"):
            raise ConfigurationError("data.source.columns.parent needs data.source.columns.order; set both or neither")
        for name in ("timezone", "times_in"):
            zone = getattr(self, name)
            if zone is not None and zone not in available_timezones():
                raise ConfigurationError(
                    f"data.source.{name}={zone} is not a time zone; the closest is "
                    f"{closest_name(str(zone), available_timezones())}"
                )
        if self.times_in is not None and self.timezone is None:
            raise ConfigurationError(
                f"data.source.times_in={self.times_in} needs data.source.timezone, the time zone of the shop's calendar"
            )
        if unknown := sorted(set(self.kinds.values()) - set(EVERY_KIND)):
            raise ConfigurationError(f"data.source.kinds names {unknown[0]!r}; use one of {', '.join(EVERY_KIND)}")

    def _prefix_paths(self) -> None:
        """Put `folder` before all paths."""
        if self.folder is None:
            return
        folder = Path(self.folder)
        self.events = str(folder / self.events)
        self.items, self.customers = (path and str(folder / path) for path in (self.items, self.customers))
        self.joins = [
            {key: str(folder / value) if key == "table" else value for key, value in join.items()}
            for join in self.joins
        ]
        for name in ("identity_map", "consents", "contacts", "behaviour"):
            if setting := getattr(self, name):
                setattr(self, name, {**setting, "path": str(folder / setting.get("path", ""))})

    def files(self) -> list[Path]:
        """List the files, to detect that a log is out of date.

        Returns
        -------
        list of Path
            All files that `load` reads.
        """
        beside = (self.identity_map, self.consents, self.contacts, self.behaviour)
        other = [setting.get("path") for setting in beside if setting]
        paths = (self.events, self.items, self.customers, *other, *(join.get("table") for join in self.joins))
        return [file for path in paths if path for file in find_files(path, "data.source")]

    def load(self) -> Tables:
        """Load the tables as scans, after one pass over text files to detect their formats.

        Returns
        -------
        Tables
            Events under the names of the contract, with the cleaning rules.
        """
        files, duplicates = split_duplicates(find_files(self.events, "data.source.events"))
        delivered = [self._open(file) for file in files]
        if not sum(map(count_rows, delivered)):
            raise DataError(f"{self.events} has no rows; deliver it again")
        merged = {"file_twice": sum(count_rows(self._open(file)) for file in duplicates)} if duplicates else {}
        style = DayFormat(self.day_format, None, self.timezone, times_in=self.times_in)
        day, needed = chosen_name(self.columns["day"], delivered) or "", self._possible_columns()
        delivered = join_tables(delivered, self.joins, self.separator, day, style, needed, self.encoding)
        resolved = replace(self, folder=None, **resolve_names(self, delivered))
        resolved.earlier = self.earlier
        return resolved._load(delivered, merged)

    def _load(self, delivered: list[Delivery], merged: dict[str, int]) -> Tables:
        """`load` after the columns of the files are known."""
        for each in delivered:
            for name, setting in self._required_columns().items():
                each.column(name, setting)
        if order := self.columns.get("order"):
            delivered = [complete_orders(each, order, self._order_facts(), self.header_once) for each in delivered]
        ids = {key: self._id_format(key, delivered) for key in ("customer", "item")}
        people = self._identity_map(ids["customer"])
        events, warnings, currency = self._events(delivered, ids, people)
        screen = partial(screen_events, rule=self._rejection_reason())
        accepted = screen(events).filter(pl.col("reason").is_null())
        tables, attribute_warnings = self._attribute_tables(accepted, ids)
        customers, consent_warnings = self._customers(accepted, tables["customer"], ids["customer"], people)
        corrections = cast(Corrections, self.corrections)
        return Tables(
            events=events,
            items=tables["item"],
            customers=customers,
            dropped={},
            read=None,
            screen=screen,
            settle=partial(
                settle,
                corrections=corrections,
                orphans=self.orphans == "keep",
                bought=None if self.earlier is None else self.earlier.bought,
            ),
            merged=merged,
            warnings=warnings | attribute_warnings | consent_warnings,
            currency=currency,
            timezone=self.timezone,
            formats=self._formats,
            aliases=None if people is None else people.aliases,
            corrections=corrections,
            customers_from_events=bool(self.customer_columns),
        )

    def _id_format(self, key: str, delivered: list[Delivery]) -> IdFormat:
        """Format of the ids of customers or items, in the events and in their own table."""
        if self.columns.get(key) is None:
            return IdFormat()
        column, other_types = str(self.columns[key]), []
        if path := getattr(self, f"{key}s"):
            name = getattr(self, f"{key}_key") or column
            files = [self._open(file) for file in find_files(path, f"data.source.{key}s")]
            other_types = [each.schema[each.column(name, f"data.source.{key}_key")] for each in files]
        ids = detect_id_format(column, delivered, other_types, self.ids, self.fold_case)
        if key == "customer" and self.earlier is not None and self.earlier.is_text and ids.numeric:
            ids = IdFormat(padded=False)
        guests = key == "customer" and self.guests == "popularity" and self.columns.get("order")
        return text_for_guests(ids, column, delivered, self._stand_ins()) if guests else ids

    def _events(
        self, delivered: list[Delivery], ids: dict[str, IdFormat], people: IdentityMap | None
    ) -> tuple[pl.LazyFrame, dict[str, int], str | None]:
        """All events under the names of the contract, warnings about their ids, and the currency of the log."""
        mapping = self._mapping()
        check_scales(delivered, mapping)
        if self.revenue_is is None:
            check_unit_prices(delivered, mapping)
        contacts = self._beside(self.contacts, CONTACTS, "contacts") if self.contacts else []
        behaviour = self._beside(self.behaviour, BEHAVIOUR, "behaviour") if self.behaviour else []
        names = [str(each.file) for each in (*delivered, *contacts, *behaviour)]
        styles = [detect_format(each, mapping) for each in delivered]
        check_currencies(styles, delivered, mapping)
        self._formats = [
            finding for each, style in zip(delivered, styles, strict=True) for finding in findings(each, mapping, style)
        ]
        frames = [read_events(each, names, mapping, style, ids) for each, style in zip(delivered, styles, strict=True)]
        events, warnings = concat_deliveries(frames), {}
        if behaviour and self.behaviour:
            events = add_messages(events, read_behaviour(behaviour, self.behaviour, mapping, names, ids))
        if people is not None:
            events, warnings = apply_identity_map(events, people.aliases), dict(people.warnings)
        if self.columns.get("parent") and self.columns.get("order"):
            events = assign_parents(events, self.events)
        before = mapping.revenue_is in ("gross", "unit")
        events = divide_order_amounts(events, self.events, before, self.order_discount_is == "total")
        if repeated := sum(count_repeated_discounts(each, mapping) for each in delivered):
            warnings |= {"discount_repeated": repeated}
        events = self._with_guests(events, ids["item"])
        if contacts and self.contacts:
            events = add_messages(events, self._messages(contacts, events, ids["customer"], names, people))
        return events, warnings, self.currency or log_currency(styles, mapping)

    def _open(self, file: Path) -> Delivery:
        """A file as a scan."""
        delivery = open_file(file, self.separator, self.encoding, self.header, self.skip, self.quote)
        return renamed(delivery, self.rename) if self.rename else delivery

    def _required_columns(self) -> dict[str, str]:
        """Columns that the events must have, and the setting that names each."""
        settings = dict.fromkeys(self.leave_out, "data.source.leave_out")
        for name in ("item_columns", "customer_columns", "item_identity"):
            settings |= dict.fromkeys(getattr(self, name), f"data.source.{name}")
        return settings | {column: f"data.source.columns.{name}" for name, column in self.columns.items() if column}

    def _possible_columns(self) -> list[str]:
        """Columns that the mapping may use."""
        listed = [each if isinstance(each, list | tuple) else [each] for each in self.columns.values() if each]
        names = [*self.leave_out, *self.item_columns, *self.customer_columns, *self.item_identity]
        return [*(name for each in listed for name in each), *(name.removesuffix(OPTIONAL) for name in names)]

    def _stand_ins(self) -> tuple[str, ...]:
        """Customer ids that stand for nobody, in lower case."""
        return STAND_INS if self.guest_ids is None else tuple(str(name).lower() for name in self.guest_ids)

    def _order_facts(self) -> list[str]:
        """Columns that an order has once."""
        names = ("customer", "day", "kind", "channel", "currency", "available_at", "parent")
        mapped = [column for name in names if (column := self.columns.get(name))]
        return [*mapped, *self.leave_out, *self.customer_columns]

    def _mapping(self) -> ColumnMapping:
        """Settings of the columns."""
        return ColumnMapping(
            columns={name: column for name, column in self.columns.items() if column},
            item_columns=tuple(self.item_columns),
            customer_columns=tuple(self.customer_columns),
            item_identity=tuple(self.item_identity),
            revenue_is=self.revenue_is or "total",
            day_format=self.day_format,
            timezone=self.timezone,
            decimal=self.decimal,
            rates=self.rates,
            scale=self.scale,
            kinds=self.kinds,
            cancelled=self.cancelled,
            leave_out={column: tuple(map(str, values)) for column, values in self.leave_out.items()},
            not_products=None if self.not_products is None else tuple(map(str, self.not_products)),
            discount_is=self.discount_is,
            times_in=self.times_in,
            cost_is=self.cost_is,
            refund_is=self.refund_is,
        )

    def _rejection_reason(self) -> pl.Expr:
        """Rules on single rows with the configured bounds."""
        latest = date.today() if self.latest is None else to_date(to_day(self.latest))
        earliest = EARLIEST if self.earliest is None else to_date(to_day(self.earliest))
        refunds = any(self.columns.get(name) for name in REFUNDS)
        return rejection_reason(latest, earliest, self.most_units, self.unknown_items == "keep", refunds)

    def _identity_map(self, ids: IdFormat) -> IdentityMap | None:
        """The identity map, None where there is none."""
        if self.identity_map is None:
            return None
        files = self._beside(self.identity_map, IDENTITY_MAP, "identity_map")
        return read_identity_map(files, self.identity_map, ids)

    def _messages(
        self,
        contacts: list[Delivery],
        events: pl.LazyFrame,
        ids: IdFormat,
        names: list[str],
        people: IdentityMap | None,
    ) -> list[pl.LazyFrame]:
        """Sent messages after the identity map; DataError if their customers are not those of the events."""
        style = DayFormat(self.day_format, None, self.timezone, times_in=self.times_in)
        messages = read_contacts(contacts, self.contacts or {}, ids, style, names, self.decimal)
        messages = messages if people is None else [apply_identity_map(each, people.aliases) for each in messages]
        frames = [pl.concat([each.select("customer") for each in messages]), events.select("customer")]
        written_to, known = collect_all([frame.unique() for frame in frames], self.events)
        ids_of_messages, customers = written_to["customer"], known["customer"]
        if self.earlier is not None:
            customers = pl.concat([customers, self.earlier.known(ids_of_messages)]).unique()
        require_match(ids_of_messages, customers, "data.source.contacts", "the events")
        return messages

    def _with_guests(self, events: pl.LazyFrame, items: IdFormat) -> pl.LazyFrame:
        """The events with guest ids, and the columns `?shared`, `?guest` and `?unlisted`."""
        has_orders = self.columns.get("order") is not None
        events = without_stand_ins(events, self._stand_ins())
        shared = shared_ids(events, self.most_orders) if has_orders and self.most_orders else []
        accept = has_orders and self.guests == "popularity"
        events = assign_guest_ids(events, shared, has_orders, accept)
        unlisted = pl.lit(False)
        if self.items is not None:
            table = collect(self._attribute_table("item", events.collect_schema()["item"], items), self.items)
            listed = table["item"].unique()
            if others := self._codes_of_no_product(table):
                name = "?not_product_kept" if self.not_products == [] else "?not_product"
                not_product = pl.col(name) | pl.col("item").is_in(others)
                events = events.with_columns(not_product.fill_null(False).alias(name))
            unlisted = pl.col("item").is_in(listed.implode()).not_() & pl.col("item").is_not_null()
        return events.with_columns(unlisted.fill_null(False).alias("?unlisted")).drop("parent", strict=False)

    def _codes_of_no_product(self, items: pl.DataFrame) -> list[object]:
        """Items whose description in their own table names no product."""
        described = [c for c, kind in items.schema.items() if c != "item" and kind == pl.String and describes_items(c)]
        if not described:
            return []
        names = tuple(map(str, self.not_products)) if self.not_products else None
        found = items.filter(pl.any_horizontal(names_no_product(pl.col(c), names) for c in described))
        return found["item"].to_list()

    def _attribute_table(self, key: str, dtype: pl.DataType, ids: IdFormat) -> pl.LazyFrame:
        """The delivered table of items or customers with the ids of the events."""
        name = getattr(self, f"{key}_key") or str(self.columns[key])
        return attribute_table(
            getattr(self, f"{key}s"), f"data.source.{key}s", key, name, self.separator, ids, dtype, self.encoding
        )

    def _attribute_tables(
        self, accepted: pl.LazyFrame, ids: dict[str, IdFormat]
    ) -> tuple[dict[str, pl.LazyFrame | None], dict[str, int]]:
        """Tables of items and customers, delivered or from the first day of each in the events, and warnings."""
        tables: dict[str, pl.LazyFrame | None] = {}
        warnings: dict[str, int] = {}
        described = {key: list(getattr(self, f"{key}_columns")) for key in ids if getattr(self, f"{key}_columns")}
        frames = [event_attributes(accepted, key, columns) for key, columns in described.items()]
        descriptions = collect_all(frames, self.events)
        for (key, columns), rows in zip(described.items(), descriptions, strict=True):
            of_log = self.earlier.items if self.earlier is not None and key == "item" else None
            table, counts = first_day_attributes(rows, key, columns, of_log)
            tables[key], warnings = table.lazy(), warnings | counts
        for key in ids.keys() - described.keys():
            tables[key] = None
            if self.columns.get(key) is None:
                tables[key] = pl.LazyFrame({"item": [ANYTHING], "category": [ANYTHING]})
                continue
            if getattr(self, f"{key}s") is not None:
                frame = self._attribute_table(key, accepted.collect_schema()[key], ids[key])
                tables[key], warnings = frame, warnings | table_warnings(frame, key)
        return tables, warnings

    def _customers(
        self, accepted: pl.LazyFrame, customers: pl.LazyFrame | None, ids: IdFormat, people: IdentityMap | None
    ) -> tuple[pl.LazyFrame | None, dict[str, int]]:
        """The table of customers with guests and consents, and warnings."""
        warnings: dict[str, int] = {}
        aliases = None if people is None else people.aliases
        known = None if self.earlier is None else self.earlier.known
        if customers is not None:
            customers = with_guest_flag(customers)
            if self.acquisition and self.customers:
                table, warnings = self._acquisition(ids)
                customers = add_acquisition(customers, table, self.acquisition)
            customers = with_every_refusal(with_consent_flags(customers), aliases)
            customers = customers if aliases is None else without_aliases(customers, aliases)
        if self.guests == "popularity" and self.columns.get("order"):
            customers = add_guests(customers, accepted)
        if self.consents is not None:
            files = self._beside(self.consents, CONSENTS, "consents")
            style = DayFormat(self.day_format, None, self.timezone, times_in=self.times_in)
            entries = read_consents(files, self.consents, ids, style)
            entries = entries if people is None else with_refusals_of_owners(entries, people.ambiguous)
            customers, consent_warnings = add_consents(
                customers, accepted, entries, aliases, known, self.earlier is not None and self.earlier.has_consents
            )
            warnings |= consent_warnings
        return customers, warnings

    def _acquisition(self, ids: IdFormat) -> tuple[pl.DataFrame, dict[str, int]]:
        """When, how and at what cost customers were acquired, and warnings."""
        files = open_files(str(self.customers), "data.source.customers", self.separator, self.encoding)
        key = self.customer_key or str(self.columns["customer"])
        style = DayFormat(self.day_format, None, self.timezone, times_in=self.times_in)
        return read_acquisition(files, self.acquisition or {}, key, ids, style, self.decimal)

    def _beside(self, setting: Mapping[str, str], columns: tuple[Column, ...], name: str) -> list[Delivery]:
        """Files of a table beside the events."""
        return open_table(setting, columns, name, self.separator, self.encoding)
