"""Format of the text columns of a file, and the currency of its amounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from propensity.errors import DataError
from propensity.ingest.rule.day import DayFormat, day_evidence, day_format
from propensity.ingest.rule.distinct import by_distinct
from propensity.ingest.rule.number import MarkEvidence, clean_text, currency_of, mark_evidence
from propensity.ingest.source.collection import collect
from propensity.ingest.source.column_mapping import ColumnMapping
from propensity.ingest.source.delivery import ROW, Delivery
from propensity.ingest.source.line_refund import REFUNDS
from propensity.ingest.source.optional import NUMBERS
from propensity.ingest.source.order_amount import ORDER_AMOUNTS

AMOUNTS = ("quantity", "revenue", "discount", *ORDER_AMOUNTS, *REFUNDS, *NUMBERS)


@dataclass(frozen=True)
class FileFormat:
    """Detected format of the text columns of a file."""

    decimal: Mapping[str, str | None]  # decimal separator of each amount
    days: Mapping[str, DayFormat]  # of `day` and `available_at`
    plain: Mapping[str, bool]  # whether all values of an amount parse as plain numbers
    currencies: tuple[str, ...] = ()
    marks: Mapping[str, MarkEvidence] = field(default_factory=dict)  # evidence for `decimal`
    dates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # evidence for `days`


def detect_format(delivery: Delivery, mapping: ColumnMapping) -> FileFormat:
    """Detect the format of a file's text columns in one pass.

    Parameters
    ----------
    delivery : Delivery
        File of events.
    mapping : ColumnMapping
        Configured mapping.

    Returns
    -------
    FileFormat
        Decimal separators, order of dates and currencies.

    Raises
    ------
    DataError
        If the order of dates is ambiguous, or the day column holds durations.
    """
    schema = delivery.schema
    texts = {n: mapping.columns[n] for n in AMOUNTS if mapping.has(n)}
    texts = {name: column for name, column in texts.items() if not schema[column].is_numeric()}
    probes = [pl.lit(None).alias("nothing")]
    for name, column in texts.items():
        number = pl.col(column).cast(pl.Float64, strict=False)
        probes.append((number.is_null() & clean_text(pl.col(column)).is_not_null()).any().not_().alias(f"{name} plain"))
        if mapping.decimal is None:
            probes.append(mark_evidence(pl.col(column)).alias(f"{name} mark"))
    signed = [currency_of(pl.col(texts[name])) for name in ("revenue", "cost") if name in texts]
    if signed:
        probes.append(pl.concat_list(signed).explode().drop_nulls().unique().sort().implode().alias("signs"))
    if mapping.has("currency"):
        probes.append(currency(mapping).drop_nulls().unique().sort().implode().alias("currencies"))
    day_columns = {name: mapping.columns[name] for name in ("day", "available_at") if mapping.has(name)}
    if mapping.day_format is None:
        for name, column in day_columns.items():
            probes += day_evidence(column, schema[column], f"{name} ")
    evidence: dict[str, Any] = {}
    if len(probes) > 1:
        evidence = collect(delivery.frame.rename({ROW: "row"}).select(probes), str(delivery.file)).row(0, named=True)
    dates = {
        name: {key.removeprefix(f"{name} "): value for key, value in evidence.items() if key.startswith(f"{name} ")}
        for name in day_columns
    }
    days = {
        name: day_format(
            _with_shared_order(dates[name], list(dates.values())), f"{delivery.file} column {column}",
            mapping.day_format, mapping.timezone, f"data.source.columns.{name}", mapping.times_in,
        )
        for name, column in day_columns.items()
    }  # fmt: skip
    marks = {name: MarkEvidence(**evidence[f"{name} mark"]) for name in texts if mapping.decimal is None}
    decimal = {name: mapping.decimal or _decimal_mark(name, marks, delivery, mapping) for name in texts}
    return FileFormat(
        decimal=decimal,
        days=days,
        plain={
            name: bool(evidence[f"{name} plain"])
            and (decimal[name] == "." or (decimal[name] is None and not marks[name].unclear))
            for name in texts
        },
        currencies=tuple(evidence.get("currencies") or evidence.get("signs") or ()),
        marks=marks,
        dates=dates,
    )


def _with_shared_order(own: Mapping[str, Any], every: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Evidence of a column of days; if none shows the order of day and month, with that of the file's other columns."""
    if not own.get("eithers") or own["days"] or own["months"]:
        return own
    shared = {name: sum(each.get(name) or 0 for each in every) for name in ("days", "months")}
    firsts = {name: next((each[name] for each in every if each.get(name)), None) for name in ("day", "month")}
    return {**own, **shared, **firsts}


def _decimal_mark(
    name: str, marks: Mapping[str, MarkEvidence], delivery: Delivery, mapping: ColumnMapping
) -> str | None:
    """Decimal separator of an amount by its own evidence, otherwise by that of the file's other amounts."""
    own = marks[name]
    if own.commas or own.points:
        if own.unclear and own.mark() is None:
            raise DataError(
                f"{delivery.file} column {mapping.columns[name]} has {own.commas} amounts with a decimal comma and "
                f"{own.points} with a decimal point, so that {own.unclear} amounts such as 1.234 may be one or a "
                "thousand; set data.source.decimal"
            )
        return own.mark()
    others = {mark for each in marks.values() if (mark := each.mark())}
    return others.pop() if len(others) == 1 else None


def check_currencies(styles: Sequence[FileFormat], delivered: Sequence[Delivery], mapping: ColumnMapping) -> None:
    """Check that amounts have one currency or exchange rates.

    Parameters
    ----------
    styles : sequence of FileFormat
        Format of each file.
    delivered : sequence of Delivery
        The files.
    mapping : ColumnMapping
        Configured mapping.

    Raises
    ------
    DataError
        If there are several currencies and no rates.
    """
    currencies = sorted({currency for style in styles for currency in style.currencies})
    if len(currencies) > 1 and not mapping.rates:
        file = next(d.file for d, style in zip(delivered, styles, strict=True) if currencies[-1] in style.currencies)
        raise DataError(
            f"{file} has amounts in {', '.join(currencies)} without exchange rates; set a rate for each, such as "
            f"'data.source.rates={{{currencies[0]}: 1, {currencies[1]}: 1.1}}'"
        )


def log_currency(styles: Sequence[FileFormat], mapping: ColumnMapping) -> str | None:
    """Find the currency that the amounts of the log are in.

    Parameters
    ----------
    styles : sequence of FileFormat
        Formats of the files.
    mapping : ColumnMapping
        Configured mapping.

    Returns
    -------
    str or None
        The currency with exchange rate 1; without rates the only one of the files; None where there is not exactly one.

    Examples
    --------
    >>> style = FileFormat(decimal={}, days={}, plain={}, currencies=("EUR", "USD"))
    >>> log_currency([style], ColumnMapping(columns={}, rates={"eur": 1, "usd": 0.9}))
    'EUR'
    """
    codes = {name.upper() for name, rate in mapping.rates.items() if float(rate) == 1.0}
    if not mapping.rates:
        codes = {code for style in styles for code in style.currencies}
    return codes.pop() if len(codes) == 1 else None


def currency(mapping: ColumnMapping) -> pl.Expr:
    """Build an expression that reads the currency column.

    Parameters
    ----------
    mapping : ColumnMapping
        Mapping with a currency column.

    Returns
    -------
    polars.Expr
        Currency codes in upper case.
    """
    code = pl.col(mapping.columns["currency"])
    return by_distinct(code, lambda text: clean_text(text).str.to_uppercase(), pl.String())
