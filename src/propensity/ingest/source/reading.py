"""How the columns of one delivery are read: what its text gives away of itself, and the events under our names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import polars as pl

from propensity.errors import DataError
from propensity.ingest.rule.day import DayFormat, day_order_evidence, read_day
from propensity.ingest.rule.identity import clean_attribute, normalised_id
from propensity.ingest.rule.number import clean_text, currency_of, decimal_mark, read_number
from propensity.ingest.rule.screen import has_amount
from propensity.ingest.source.delivery import ROW, Delivery, collect
from propensity.ingest.source.id_normalisation import IdFormat

SAMPLED = 20_000  # rows of a file whose prices are compared
SHARED_ITEMS = 3
ANYTHING = "anything"  # the item of lines that name none
SMALLEST_DATE = 19_000_000  # as yyyymmdd
WORDS = {
    "purchase": ("purchase", "purchased", "transaction", "buy", "bought", "order", "sale", "sold", "checkout"),
    "view": ("view", "viewed", "addtocart", "add_to_cart", "add to cart", "cart", "click", "detail", "pageview"),
    "message": ("message", "email", "e-mail", "sms", "push", "mailing", "sent"),
    "redemption": ("redemption", "redeem", "redeemed", "coupon"),
    "return": ("return", "returned", "refund", "refunded", "cancel", "cancelled", "canceled", "cancellation"),
}
KIND_OF = {word: kind for kind, words in WORDS.items() for word in words}


@dataclass(frozen=True)
class ColumnMapping:
    """What a table's owner says of its columns; see `propensity.ingest.source.table.Table`."""

    columns: Mapping[str, str]
    item_columns: tuple[str, ...] = ()
    customer_columns: tuple[str, ...] = ()
    item_identity: tuple[str, ...] = ()
    unit_price: bool = False
    day_format: str | None = None
    timezone: str | None = None
    decimal: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    scale: float | Mapping[str, float] = 1.0
    kinds: Mapping[str, str] = field(default_factory=dict)
    cancelled: str | None = None
    leave_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return name in self.columns


@dataclass(frozen=True)
class FileFormat:
    """What the text of one delivery gives away: the decimal mark of its numbers, the order of its days."""

    decimal: Mapping[str, str | None]
    day: DayFormat
    plain: Mapping[str, bool]
    currencies: tuple[str, ...] = ()


def detect_format(delivery: Delivery, mapping: ColumnMapping) -> FileFormat:
    """Looks once through the columns that are text; DataError for dates and currencies that could mean two things."""
    schema, day = delivery.schema, mapping.columns["day"]
    texts = {n: mapping.columns[n] for n in ("quantity", "revenue", "discount") if mapping.has(n)}
    texts = {name: column for name, column in texts.items() if not schema[column].is_numeric()}
    looks = [pl.lit(None).alias("nothing")]
    for name, column in texts.items():
        number = pl.col(column).cast(pl.Float64, strict=False)
        looks.append((number.is_null() & clean_text(pl.col(column)).is_not_null()).any().not_().alias(f"{name} plain"))
        looks.append(decimal_mark(pl.col(column)).alias(f"{name} mark"))
    if "revenue" in texts:
        looks.append(currency_of(pl.col(texts["revenue"])).drop_nulls().unique().sort().implode().alias("signs"))
    if mapping.has("currency"):
        looks.append(currency(mapping).drop_nulls().unique().sort().implode().alias("currencies"))
    ordered = mapping.day_format is None and schema[day] == pl.String
    if ordered:
        looks += day_order_evidence(day)
    if schema[day].is_numeric() or schema[day] == pl.String:
        number = pl.col(day).cast(pl.Float64, strict=False)
        looks += [number.min().alias("least"), number.max().alias("most")]
    found: dict[str, Any] = {}
    if len(looks) > 1:
        found = collect(delivery.frame.rename({ROW: "row"}).select(looks), str(delivery.file)).row(0, named=True)
    _refuse_gaps(found, delivery, mapping)
    first = _first(found, delivery, mapping) if ordered else None
    return FileFormat(
        decimal={name: mapping.decimal or found[f"{name} mark"] for name in texts},
        day=DayFormat(mapping.day_format, first, mapping.timezone),
        plain={name: bool(found[f"{name} plain"]) and mapping.decimal != "," for name in texts},
        currencies=tuple(found.get("currencies") or found.get("signs") or ()),
    )


def check_currencies(styles: Sequence[FileFormat], delivered: Sequence[Delivery], mapping: ColumnMapping) -> None:
    """DataError for amounts in several currencies without rates between them."""
    currencies = sorted({currency for style in styles for currency in style.currencies})
    if len(currencies) > 1 and not mapping.rates:
        file = next(d.file for d, style in zip(delivered, styles, strict=True) if currencies[-1] in style.currencies)
        raise DataError(
            f"{file} has amounts in {', '.join(currencies)} and no rates between them; give each its rate, as "
            f"'data.source.rates={{{currencies[0]}: 1, {currencies[1]}: 1.1}}'"
        )


def _refuse_gaps(found: dict[str, Any], delivery: Delivery, mapping: ColumnMapping) -> None:
    """DataError for a day column of numbers too small for any date."""
    least, most, column = found.get("least"), found.get("most"), mapping.columns["day"]
    if mapping.day_format is None and least is not None and most is not None and 0 <= least <= most < SMALLEST_DATE:
        raise DataError(
            f"{delivery.file} column {column} holds numbers from {least:g} to {most:g}: gaps, it seems, and no dates; "
            "a send date needs calendar dates, so map data.source.columns.day to a column of those"
        )


def _first(found: dict[str, Any], delivery: Delivery, mapping: ColumnMapping) -> str | None:
    """Whether day or month comes first in dates such as 13/02/2024."""
    day, month, either = (found[name] and found[name]["text"] and found[name] for name in ("day", "month", "either"))
    place = f"{delivery.file} column {mapping.columns['day']}"
    way = "give data.source.day_format, as %d/%m/%Y or %m/%d/%Y"
    if day and month:
        raise DataError(
            f"{place} has {day['text']} in line {day['row'] + 1} and {month['text']} in line {month['row'] + 1}: "
            f"day first and month first in one column; {way}"
        )
    if either and not day and not month:
        raise DataError(f"{place} has {either['text']} in line {either['row'] + 1}: day or month first? {way}")
    return "day" if day else "month" if month else None


def currency(mapping: ColumnMapping) -> pl.Expr:
    return clean_text(pl.col(mapping.columns["currency"])).str.to_uppercase()


def read_events(
    delivery: Delivery, files: Sequence[str], mapping: ColumnMapping, style: FileFormat, ids: Mapping[str, IdFormat]
) -> pl.LazyFrame:
    """The events of a delivery under our names and types, row by row; what cannot be read is null.

    Columns `given.x` hold what was delivered, for the quarantine; attributes travel as `item.x` and `customer.x`; facts
    for the rules begin with a question mark.
    """
    cells = delivery.frame.select(
        pl.lit(str(delivery.file)).cast(pl.Enum(list(files))).alias("file"),
        pl.col(ROW).cast(pl.UInt32).alias("row"),
        *_names(delivery, mapping, ids),
        *_days(delivery, mapping, style),
        *_numbers(delivery, mapping, style),
        *_facts(delivery, mapping, ids),
        *_attributes(delivery, mapping),
    )
    return _signed(cells, mapping)


def concat_deliveries(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """The events of all deliveries; a column that was retyped between them is text."""
    schemas = [frame.collect_schema() for frame in frames]
    mixed = [name for name in schemas[0].names() if len({schema[name] for schema in schemas}) > 1]
    return pl.concat([frame.with_columns(pl.col(mixed).cast(pl.String, strict=False)) for frame in frames])


def _names(delivery: Delivery, mapping: ColumnMapping, ids: Mapping[str, IdFormat]) -> list[pl.Expr]:
    """Customer, item, and what else is text."""
    column, schema = mapping.columns, delivery.schema
    item = ids["item"].read(column["item"], schema[column["item"]]) if mapping.has("item") else pl.lit(ANYTHING)
    if mapping.item_identity:
        item = pl.concat_str(item, *(clean_text(pl.col(c)) for c in mapping.item_identity), separator="|")
    found = [ids["customer"].read(column["customer"], schema[column["customer"]]).alias("customer"), item.alias("item")]
    for name in ("channel", "order", "event_id"):
        if mapping.has(name):
            whole = name != "channel" and schema[column[name]].is_integer()
            found.append(normalised_id(column[name], schema[column[name]], numeric=whole).alias(name))
    if mapping.has("kind"):
        word = clean_text(pl.col(column["kind"])).str.to_lowercase()
        kinds = KIND_OF | {key.lower(): kind for key, kind in mapping.kinds.items()}
        found.append(map_words(word, kinds, word).alias("kind"))
    return found


def map_words(word: pl.Expr, known: Mapping[str, Any], otherwise: pl.Expr) -> pl.Expr:
    """What each of the known words stands for. `Expr.replace` would hold the whole table in memory."""
    for value in dict.fromkeys(known.values()):
        words = [name for name, stands_for in known.items() if stands_for == value]
        otherwise = pl.when(word.is_in(words)).then(pl.lit(value)).otherwise(otherwise)
    return otherwise


def _days(delivery: Delivery, mapping: ColumnMapping, style: FileFormat) -> list[pl.Expr]:
    """day, and where it is mapped the day on which the event was there to be seen."""
    found = {}
    for name, ours in (("day", "day"), ("available_at", "available")):
        if mapping.has(name):
            column = mapping.columns[name]
            found[ours] = read_day(column, delivery.schema[column], style.day)
    return [value.alias(name) for name, value in found.items()]


def _numbers(delivery: Delivery, mapping: ColumnMapping, style: FileFormat) -> list[pl.Expr]:
    """quantity, revenue as delivered and discount."""
    found = []
    for name in ("quantity", "revenue", "discount"):
        if not mapping.has(name):
            found.append(pl.lit(0.0 if name == "discount" else 1.0).alias(name))
            continue
        value = pl.col(mapping.columns[name])
        plain = name not in style.plain or style.plain[name]
        number = value.cast(pl.Float64, strict=False) if plain else read_number(value, style.decimal[name])
        found.append(number.alias(name))
    return found


def _facts(delivery: Delivery, mapping: ColumnMapping, ids: Mapping[str, IdFormat]) -> list[pl.Expr]:
    """What only the rules look at."""
    column, schema = mapping.columns, delivery.schema
    raw = [pl.col(name) for name in schema.names() if name != ROW and schema[name] == pl.String]
    text = len(raw) == len(schema) - 1
    out = [clean_text(pl.col(name)).is_in(list(values)).fill_null(False) for name, values in mapping.leave_out.items()]
    facts = {
        "?blank": pl.all_horizontal(value.is_null() for value in raw) if text else pl.lit(False),
        "?ragged": pl.col(ROW).is_in(delivery.ragged) if delivery.ragged else pl.lit(False),
        "?left_out": pl.any_horizontal(out) if out else pl.lit(False),
        "?day_given": clean_text(pl.col(column["day"])).is_not_null() if text else pl.col(column["day"]).is_not_null(),
        "?rate": _rate(mapping, schema),
        "?rewritten": pl.any_horizontal(
            _rewritten(column[key], schema[column[key]], ids[key]) for key in ("customer", "item") if mapping.has(key)
        ),
        "?formatted": _formatted(mapping, schema),
        "?transcoded": pl.lit(delivery.encoding is not None),
    }
    scale = mapping.scale if isinstance(mapping.scale, float | int) else _scale(delivery, mapping.scale)
    return [(value * scale if name == "?rate" else value).alias(name) for name, value in facts.items()]


def _scale(delivery: Delivery, scales: Mapping[str, float]) -> float:
    """The scale of the first pattern that fits the file's name."""
    name = delivery.file.name
    return next((float(scale) for pattern, scale in scales.items() if fnmatch(name, pattern)), 1.0)


def _rate(mapping: ColumnMapping, schema: pl.Schema) -> pl.Expr:
    """What one unit of a row's currency is worth, null where nobody said."""
    rates = {name.upper(): float(rate) for name, rate in mapping.rates.items()}
    if mapping.has("currency"):
        written = currency(mapping)
        if not rates:
            return pl.lit(1.0)
    elif rates and mapping.has("revenue") and schema[mapping.columns["revenue"]] == pl.String:
        written = currency_of(pl.col(mapping.columns["revenue"])).fill_null(next(iter(rates)))
    else:
        return pl.lit(1.0)
    return map_words(written, rates, pl.lit(None, pl.Float64))


def _rewritten(column: str, dtype: pl.DataType, ids: IdFormat) -> pl.Expr:
    if dtype != pl.String:
        return pl.lit(False)
    return (pl.col(column).ne_missing(ids.read(column, dtype)) & clean_text(pl.col(column)).is_not_null()).fill_null(
        False
    )


def _formatted(mapping: ColumnMapping, schema: pl.Schema) -> pl.Expr:
    """Whether an amount is written otherwise than a program would."""
    texts = [mapping.columns[n] for n in ("quantity", "revenue") if mapping.has(n)]
    found = [
        pl.col(c).cast(pl.Float64, strict=False).is_null() & pl.col(c).str.contains(r"\d")
        for c in texts
        if schema[c] == pl.String
    ]
    return pl.any_horizontal(found).fill_null(False) if found else pl.lit(False)


def _attributes(delivery: Delivery, mapping: ColumnMapping) -> list[pl.Expr]:
    """Descriptions of items and customers, and the text of what an event is made of."""
    schema = delivery.schema
    described = [("item", c) for c in mapping.item_columns] + [("customer", c) for c in mapping.customer_columns]
    seen = [column for name, column in mapping.columns.items() if name not in ("customer", "event_id")]
    given = [pl.col(c).alias(f"given.{c}") for c in dict.fromkeys(seen)]
    return [clean_attribute(c, schema[c]).alias(f"{key}.{c}") for key, c in described] + given


def _signed(cells: pl.LazyFrame, mapping: ColumnMapping) -> pl.LazyFrame:
    """Amounts in the log's currency, a total a line; what came back is a return, below zero."""
    quantity, given = pl.col("quantity"), pl.col("revenue")
    money = (quantity * given if mapping.unit_price or not mapping.has("revenue") else given) * pl.col(
        "?rate"
    ).fill_null(1.0)
    back = (quantity < 0) if mapping.has("quantity") else (given < 0)
    if mapping.cancelled and mapping.has("order"):
        back = back | pl.col("order").cast(pl.String).str.contains(mapping.cancelled)
    back = back.fill_null(False)
    if mapping.has("kind"):
        kind = pl.when(back & (pl.col("kind") == "purchase")).then(pl.lit("return")).otherwise(pl.col("kind"))
    else:
        kind = pl.when(back).then(pl.lit("return")).otherwise(pl.lit("purchase"))
    cells = cells.with_columns(kind=kind, revenue=money)
    returned, worth = pl.col("kind") == "return", has_amount()
    day = pl.max_horizontal("day", pl.when(pl.col("day").is_not_null()).then(pl.col("available")))
    amounts = {
        name: pl.when(returned).then(-pl.col(name).abs()).otherwise(pl.col(name)) for name in ("quantity", "revenue")
    }
    return cells.with_columns(
        *(pl.when(worth).then(value).otherwise(finite_or_zero(value)).alias(name) for name, value in amounts.items()),
        *(
            [day.alias("day"), (pl.col("available") > pl.col("day")).fill_null(False).alias("?late")]
            if mapping.has("available_at")
            else [pl.lit(False).alias("?late")]
        ),
        discount=finite_or_zero(pl.col("discount")),
    )


def finite_or_zero(number: pl.Expr) -> pl.Expr:
    """The number, or zero where there is none."""
    return pl.when(number.is_finite()).then(number).otherwise(0.0)


def check_scales(delivered: Sequence[Delivery], mapping: ColumnMapping) -> None:
    """DataError where one file's prices are whole numbers a hundred times those of the first, for the same items."""
    if len(delivered) < 2 or not (mapping.has("revenue") and mapping.has("item")) or mapping.scale != 1.0:
        return
    prices = [_prices(each, mapping) for each in delivered]
    for each, other in zip(delivered[1:], prices[1:], strict=True):
        for cents, units, file in ((other, prices[0], each.file), (prices[0], other, delivered[0].file)):
            both = cents.join(units, on="item", suffix="_units").filter(pl.col("price_units") > 0)
            ratio = both.select((pl.col("price") / pl.col("price_units")).median()).item()
            if both.height >= SHARED_ITEMS and cents["whole"].all() and 80 < ratio < 125:
                raise DataError(
                    f"{file} seems to be in cents: its prices are {ratio:.0f} times those of the same {both.height} "
                    f"items elsewhere; give 'data.source.scale={{{file.name}: 0.01}}'"
                )


def _prices(delivery: Delivery, mapping: ColumnMapping) -> pl.DataFrame:
    """The usual price of the items in the first rows of a file, and whether all are whole numbers."""
    item, money = mapping.columns["item"], pl.col(mapping.columns["revenue"])
    units = pl.col(mapping.columns["quantity"]) if mapping.has("quantity") and not mapping.unit_price else pl.lit(1.0)
    price = read_number(money, mapping.decimal) / pl.when(read_number(units, None) > 0).then(read_number(units, None))
    rows = delivery.frame.head(SAMPLED).select(
        item=normalised_id(item, delivery.schema[item], padded=False), price=price
    )
    whole = (pl.col("price") % 1 == 0).all()
    return collect(rows.drop_nulls().group_by("item").agg(pl.col("price").median(), whole=whole), str(delivery.file))
