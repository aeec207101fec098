"""Reading of event files: detection of number and date formats, and conversion to the columns of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import polars as pl

from propensity.ingest.rule.day import read_day
from propensity.ingest.rule.distinct import COLUMN, by_distinct, computed, is_plain
from propensity.ingest.rule.identity import clean_attribute, is_truncated_id, normalised_id
from propensity.ingest.rule.number import EDGES, clean_text, currency_of, read_number
from propensity.ingest.rule.product import describes_items, names_no_product
from propensity.ingest.rule.screen import has_amount, is_storable
from propensity.ingest.source import RAW
from propensity.ingest.source.column_mapping import BEFORE_DISCOUNT, UNIT_PRICES, ColumnMapping
from propensity.ingest.source.delivery import COMPLETED, ROW, Delivery
from propensity.ingest.source.file_format import FileFormat, currency
from propensity.ingest.source.id_normalisation import IdFormat
from propensity.ingest.source.line_refund import REFUNDS, deduct_refunds, refund_cells
from propensity.ingest.source.optional import TimeColumn, optional_cells, settled_values, with_time
from propensity.ingest.source.order_amount import ORDER_AMOUNTS

PERCENTAGES = ("discount", "order_discount")
WITH_PERCENT = (*PERCENTAGES, "probability")  # numbers that may have a sign %
ANYTHING = "anything"  # item of events without an item column
WORDS = {
    "purchase": ("purchase", "purchased", "transaction", "buy", "bought", "order", "sale", "sold", "checkout"),
    "view": ("view", "viewed", "detail", "pageview", "page_view", "product_view"),
    "message": ("message", "email", "e-mail", "sms", "push", "mailing", "sent"),
    "redemption": ("redemption", "redeem", "redeemed", "coupon"),
    "return": ("return", "returned", "refund", "refunded", "cancel", "cancelled", "canceled", "cancellation"),
    "cart": ("cart", "addtocart", "add_to_cart", "add to cart", "basket_add"),
    "open": ("open", "opened", "email_open", "email_opened"),
    "click": ("click", "clicked", "email_click", "email_clicked"),
    "search": ("search", "searched", "site_search"),
    "unsubscribe": ("unsubscribe", "unsubscribed", "optout", "opt-out", "opt_out"),
    "complaint": ("complaint", "complained", "spam", "spam_complaint", "spamreport"),
}
KIND_OF = {word: kind for kind, words in WORDS.items() for word in words}


def read_events(
    delivery: Delivery, files: Sequence[str], mapping: ColumnMapping, style: FileFormat, ids: Mapping[str, IdFormat]
) -> pl.LazyFrame:
    """Convert a file to the columns of the contract.

    Parameters
    ----------
    delivery : Delivery
        File of events.
    files : sequence of str
        Names of all files, the categories of the column `file`.
    mapping : ColumnMapping
        Configured mapping.
    style : FileFormat
        Detected format.
    ids : mapping of str to IdFormat
        Format of customer and item ids.

    Returns
    -------
    polars.LazyFrame
        One row per record; unreadable values are null. Columns `raw.<column>` hold the delivered values for the
        quarantine, `item.<column>` and `customer.<column>` hold attributes, and columns used by the rules only begin
        with a question mark.
    """
    cells = delivery.frame.select(
        pl.lit(str(delivery.file)).cast(pl.Enum(list(files))).alias("file"),
        pl.col(ROW).cast(pl.UInt32).alias("row"),
        *_names(delivery, mapping, ids),
        *_days(delivery, mapping, style),
        *_numbers(delivery, mapping, style),
        *_rule_columns(delivery, mapping, style, ids),
        *_attributes(delivery, mapping),
        *optional_cells(mapping.columns, delivery.schema, lambda name: read_amount(name, delivery, mapping, style)),
    )
    if mapping.has("time"):
        name = mapping.columns["time"]
        is_day = name == mapping.columns["day"]
        cells = with_time(cells, TimeColumn(f"{RAW}{name}", delivery.schema[name], is_day, style.days["day"]))
    return settled_values(_signed(cells, mapping), mapping.cost_is == "unit")


def concat_deliveries(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Concatenate the events of all files.

    Parameters
    ----------
    frames : sequence of polars.LazyFrame
        Events of each file.

    Returns
    -------
    polars.LazyFrame
        All events; a column whose type differs between files is text.
    """
    schemas = [frame.collect_schema() for frame in frames]
    mixed = [name for name in schemas[0].names() if len({schema[name] for schema in schemas}) > 1]
    return pl.concat([frame.with_columns(pl.col(mixed).cast(pl.String, strict=False)) for frame in frames])


def _names(delivery: Delivery, mapping: ColumnMapping, ids: Mapping[str, IdFormat]) -> list[pl.Expr]:
    """Customer, item, channel, order, event id and kind."""
    column, schema = mapping.columns, delivery.schema
    item = ids["item"].read(column["item"], schema[column["item"]]) if mapping.has("item") else pl.lit(ANYTHING)
    if mapping.has("item") and mapping.has("description"):  # an item without a code is its description
        item = pl.coalesce(item.cast(pl.String), clean_text(pl.col(column["description"])))
    if mapping.item_identity:
        item = pl.concat_str(item, *(clean_text(pl.col(c)).fill_null("") for c in mapping.item_identity), separator="|")
    names = [ids["customer"].read(column["customer"], schema[column["customer"]]).alias("customer"), item.alias("item")]
    for name in ("channel", "order", "event_id", "parent"):
        if mapping.has(name):
            whole = name != "channel" and schema[column[name]].is_integer()
            names.append(normalised_id(column[name], schema[column[name]], numeric=whole).alias(name))
    if mapping.has("kind"):
        kinds = KIND_OF | {str(key).lower(): kind for key, kind in mapping.kinds.items()}
        names.append(by_distinct(pl.col(column["kind"]), lambda word: _kind(word, kinds), pl.String()).alias("kind"))
    return names


def _kind(value: pl.Expr, kinds: Mapping[str, str]) -> pl.Expr:
    """Kind of an event, or the word itself where it is not known."""
    word = clean_text(value).str.to_lowercase().str.replace(r"^(\d+)\.0+$", "$1")
    return map_words(word, kinds, word)


def map_words(word: pl.Expr, values: Mapping[str, Any], otherwise: pl.Expr) -> pl.Expr:
    """Build an expression that maps words to values. Unlike `Expr.replace` it runs in a stream.

    Parameters
    ----------
    word : polars.Expr
        Words.
    values : mapping of str to object
        Value of each word.
    otherwise : polars.Expr
        Value of other words.

    Returns
    -------
    polars.Expr
        Values.
    """
    for value in dict.fromkeys(values.values()):
        words = [name for name, word_value in values.items() if word_value == value]
        otherwise = pl.when(word.is_in(words)).then(pl.lit(value)).otherwise(otherwise)
    return otherwise


def _days(delivery: Delivery, mapping: ColumnMapping, style: FileFormat) -> list[pl.Expr]:
    """Columns `day` and, if it is mapped, `available`."""
    days = []
    for name, alias in (("day", "day"), ("available_at", "available")):
        if mapping.has(name):
            column = mapping.columns[name]
            days.append(read_day(column, delivery.schema[column], style.days[name]).alias(alias))
    return days


def _numbers(delivery: Delivery, mapping: ColumnMapping, style: FileFormat) -> list[pl.Expr]:
    """Columns `quantity`, `revenue` as delivered, and `discount`."""
    defaults = {"quantity": 1.0, "revenue": 1.0, "discount": 0.0}
    return [
        (read_amount(name, delivery, mapping, style) if mapping.has(name) else pl.lit(default)).alias(name)
        for name, default in defaults.items()
    ]


def read_amount(name: str, delivery: Delivery, mapping: ColumnMapping, style: FileFormat) -> pl.Expr:
    """Build an expression that reads a mapped amount.

    Parameters
    ----------
    name : str
        Column of the contract.
    delivery : Delivery
        The file.
    mapping : ColumnMapping
        Configured mapping.
    style : FileFormat
        Format of the file.

    Returns
    -------
    polars.Expr
        Numbers; a percentage without its sign.
    """
    value = pl.col(mapping.columns[name])
    if name in WITH_PERCENT and delivery.schema[mapping.columns[name]] == pl.String:
        value = value.str.strip_chars(EDGES).str.strip_suffix("%")
    plain = name not in style.plain or style.plain[name]
    return value.cast(pl.Float64, strict=False) if plain else read_number(value, style.decimal[name])


def _rule_columns(
    delivery: Delivery, mapping: ColumnMapping, style: FileFormat, ids: Mapping[str, IdFormat]
) -> list[pl.Expr]:
    """Columns used by the rules only."""
    column, schema = mapping.columns, delivery.schema
    names = [name for name in schema.names() if name != ROW and name not in delivery.partitions]
    raw = [pl.col(name) for name in names if schema[name] == pl.String]
    text = len(raw) == len(names)
    excluded = [_excluded(name, values) for name, values in mapping.leave_out.items()]
    columns = {
        "?blank": pl.all_horizontal(value.is_null() for value in raw) if text else pl.lit(False),
        "?ragged": pl.col(ROW).is_in(delivery.ragged) if delivery.ragged else pl.lit(False),
        "?left_out": pl.any_horizontal(excluded) if excluded else pl.lit(False),
        "?has_day": clean_text(pl.col(column["day"])).is_not_null() if text else pl.col(column["day"]).is_not_null(),
        "?rate": _rate(mapping, schema),
        "?rewritten": pl.any_horizontal(
            _rewritten(column[key], schema[column[key]], ids[key]) for key in ("customer", "item") if mapping.has(key)
        ),
        "?truncated": pl.any_horizontal(
            is_truncated_id(column[key], schema[column[key]]) for key in ("customer", "item") if mapping.has(key)
        ),
        "?formatted": _formatted(mapping, schema),
        "?percent": pl.lit(False),
        "?discount": pl.lit(True),
        "?not_product": pl.lit(False) if mapping.not_products == () else _not_product(mapping, schema),
        "?transcoded": pl.lit(delivery.encoding is not None),
        "?completed": pl.col(COMPLETED) if delivery.completed else pl.lit(False),
    }
    columns |= {"?not_product_kept": _not_product(mapping, schema)} if mapping.not_products == () else {}
    columns |= _discount_columns(delivery, mapping, style)
    columns |= refund_cells(mapping.columns, lambda name: read_amount(name, delivery, mapping, style))
    scale = mapping.scale if isinstance(mapping.scale, float | int) else _scale(delivery, mapping.scale)
    return [(value * scale if name == "?rate" else value).alias(name) for name, value in columns.items()]


def _excluded(name: str, values: Sequence[str]) -> pl.Expr:
    """Whether a cell has one of the values of `leave_out`, whatever their case; * stands for any."""
    listed = [value.lower() for value in values]

    def excluded(cell: pl.Expr) -> pl.Expr:
        text = clean_text(cell)
        return text.is_not_null() if "*" in values else text.str.to_lowercase().is_in(listed).fill_null(False)

    return by_distinct(pl.col(name), excluded, pl.Boolean())


def _not_product(mapping: ColumnMapping, schema: pl.Schema) -> pl.Expr:
    """Whether the code or a description of an item names no product; with an empty list, by the built-in words."""
    described = [c for c in mapping.item_columns if describes_items(c)]
    described += [mapping.columns["description"]] if mapping.has("description") else []
    names = [mapping.columns["item"]] if mapping.has("item") else []
    listed = mapping.not_products or None
    texts = [c for c in dict.fromkeys([*names, *described]) if schema[c] == pl.String or listed]
    if not texts:
        return pl.lit(False)
    return pl.any_horizontal(
        by_distinct(pl.col(c), lambda text: names_no_product(text, listed), pl.Boolean()) for c in texts
    )


def _discount_columns(delivery: Delivery, mapping: ColumnMapping, style: FileFormat) -> dict[str, pl.Expr]:
    """Whether discounts are percentages and readable, and the amounts of whole orders."""
    columns: dict[str, pl.Expr] = {}
    for name, flag in (("discount", "?percent"), ("order_discount", "?order_percent")):
        if mapping.has(name):
            text, cell = delivery.schema[mapping.columns[name]] == pl.String, clean_text(pl.col(mapping.columns[name]))
            signed = cell.str.ends_with("%").fill_null(False) if text else pl.lit(False)
            columns[flag] = signed if mapping.discount_is in (None, "amount") else pl.lit(True)
    for name in ORDER_AMOUNTS:
        if mapping.has(name):
            number = read_amount(name, delivery, mapping, style)
            columns[f"?{name}"] = number * 100 if _is_fraction(name, mapping) else number
    readable = [
        clean_text(pl.col(mapping.columns[name])).is_null() | is_storable(read_amount(name, delivery, mapping, style))
        for name in ("discount", *ORDER_AMOUNTS, *REFUNDS)
        if mapping.has(name)
    ]
    return columns | ({"?discount": pl.all_horizontal(readable)} if readable else {})


def _is_fraction(name: str, mapping: ColumnMapping) -> bool:
    """Whether 0.1 in a column of discounts means 10 %."""
    return name in PERCENTAGES and mapping.discount_is == "fraction"


def _scale(delivery: Delivery, scales: Mapping[str, float]) -> float:
    """Scale of the first pattern that matches the file's name."""
    name = delivery.file.name
    return next((float(scale) for pattern, scale in scales.items() if fnmatch(name, pattern)), 1.0)


def _rate(mapping: ColumnMapping, schema: pl.Schema) -> pl.Expr:
    """Exchange rate of a row's currency, null without one."""
    rates = {name.upper(): float(rate) for name, rate in mapping.rates.items()}
    if mapping.has("currency"):
        code = currency(mapping)
        if not rates:
            return pl.lit(1.0)
    elif rates and mapping.has("revenue") and schema[mapping.columns["revenue"]] == pl.String:
        code = currency_of(pl.col(mapping.columns["revenue"])).fill_null(next(iter(rates)))
    else:
        return pl.lit(1.0)
    return map_words(code, rates, pl.lit(None, pl.Float64))


def _rewritten(column: str, dtype: pl.DataType, ids: IdFormat) -> pl.Expr:
    """Whether normalisation changes an id."""
    if dtype != pl.String:
        return pl.lit(False)

    def changed(text: pl.Expr) -> pl.Expr:
        return text.ne_missing(ids.read(COLUMN, dtype)) & clean_text(text).is_not_null()

    def apply(values: pl.Series) -> pl.Series:
        if ids.padded and not ids.fold and is_plain(values):
            return pl.repeat(False, values.len(), eager=True)
        return computed(values, changed, pl.Boolean())

    return pl.col(column).map_batches(apply, return_dtype=pl.Boolean(), is_elementwise=True)


def _formatted(mapping: ColumnMapping, schema: pl.Schema) -> pl.Expr:
    """Whether an amount is not a plain number."""
    texts = [mapping.columns[n] for n in ("quantity", "revenue") if mapping.has(n)]
    formatted = [
        pl.col(c).cast(pl.Float64, strict=False).is_null() & pl.col(c).str.contains(r"\d")
        for c in texts
        if schema[c] == pl.String
    ]
    return pl.any_horizontal(formatted).fill_null(False) if formatted else pl.lit(False)


def _attributes(delivery: Delivery, mapping: ColumnMapping) -> list[pl.Expr]:
    """Attributes of items and customers, and the delivered values of the mapped columns."""
    schema = delivery.schema
    described = [("item", c) for c in mapping.item_columns] + [("customer", c) for c in mapping.customer_columns]
    mapped = [column for name, column in mapping.columns.items() if name not in ("customer", "event_id")]
    raw = [pl.col(c).alias(f"{RAW}{c}") for c in dict.fromkeys(mapped)]
    return [clean_attribute(c, schema[c]).alias(f"{key}.{c}") for key, c in described] + raw


def _signed(cells: pl.LazyFrame, mapping: ColumnMapping) -> pl.LazyFrame:
    """Line totals in the currency of the log, kinds of events, and negative amounts for returns."""
    quantity, delivered = pl.col("quantity"), pl.col("revenue")
    unit_price = mapping.revenue_is in UNIT_PRICES or not mapping.has("revenue")
    total = quantity * delivered if unit_price else delivered
    rate = pl.col("?rate").fill_null(1.0)
    off = finite_or_zero(pl.col("discount")) * (100 if _is_fraction("discount", mapping) else 1)
    discount = pl.when(pl.col("?percent")).then(total.abs() * off / 100).otherwise(off)
    orders = [name for name in ORDER_AMOUNTS if mapping.has(name)]
    if mapping.revenue_is in BEFORE_DISCOUNT and mapping.has("discount"):
        total = pl.when(total < 0).then(total + discount.abs()).otherwise(total - discount.abs())
    revenue = total * rate
    negative = (quantity < 0) if mapping.has("quantity") else (delivered < 0)
    if mapping.cancelled and mapping.has("order"):
        negative = negative | pl.col("order").cast(pl.String).str.contains(mapping.cancelled)
    negative = negative.fill_null(False)
    if mapping.has("kind"):
        kind = pl.when(negative & (pl.col("kind") == "purchase")).then(pl.lit("return")).otherwise(pl.col("kind"))
    else:
        kind = pl.when(negative).then(pl.lit("return")).otherwise(pl.lit("purchase"))
    whole = {f"?{name}": pl.col(f"?{name}") * rate for name in orders}
    if "order_discount" in orders:
        given = pl.col("?order_discount")
        whole["?order_discount"] = pl.when(pl.col("?order_percent")).then(given).otherwise(given * rate)
    cells = cells.with_columns(kind=kind, revenue=revenue, discount=discount * rate, **whole)
    before_discount = mapping.refund_is == "gross" and mapping.revenue_is in BEFORE_DISCOUNT
    cells = deduct_refunds(cells, before_discount, mapping.cost_is == "unit")
    is_return, has_amounts = pl.col("kind") == "return", has_amount()
    day = pl.max_horizontal("day", pl.when(pl.col("day").is_not_null()).then(pl.col("available")))
    amounts = {
        name: pl.when(is_return).then(-pl.col(name).abs()).otherwise(pl.col(name)) for name in ("quantity", "revenue")
    }
    return cells.with_columns(
        *(
            pl.when(has_amounts).then(value).otherwise(finite_or_zero(value)).alias(name)
            for name, value in amounts.items()
        ),
        *(
            [
                day.alias("day"),
                pl.col("day").alias("ordered"),
                (pl.col("available") > pl.col("day")).fill_null(False).alias("?late"),
            ]
            if mapping.has("available_at")
            else [pl.lit(False).alias("?late")]
        ),
        discount=finite_or_zero(pl.col("discount")),
    )


def finite_or_zero(number: pl.Expr) -> pl.Expr:
    """Build an expression that replaces missing and infinite numbers by zero.

    Parameters
    ----------
    number : polars.Expr
        Numbers.

    Returns
    -------
    polars.Expr
        Finite numbers.
    """
    return pl.when(is_storable(number)).then(number).otherwise(0.0)
