"""Evidence for the formats of a file: a table of what was found, why, and the setting that decides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from propensity.ingest.rule.day import EXCEL, MOMENT, DayFormat
from propensity.ingest.rule.identity import is_truncated_id
from propensity.ingest.rule.number import clean_text
from propensity.ingest.source.collection import collect
from propensity.ingest.source.column_mapping import ColumnMapping
from propensity.ingest.source.delivery import ROW, Delivery
from propensity.ingest.source.file_format import FileFormat
from propensity.ingest.source.layout import Finding

SAMPLED = 20_000  # rows in which offsets and truncated ids are counted
OTHER_MARK = {".": ",", ",": "."}


def findings(delivery: Delivery, mapping: ColumnMapping, style: FileFormat) -> list[dict[str, Any]]:
    """List the formats of a file.

    Parameters
    ----------
    delivery : Delivery
        File of events.
    mapping : ColumnMapping
        Mapping of its columns.
    style : FileFormat
        Its format.

    Returns
    -------
    list of dict
        `file`, `what`, `value`, `evidence` and `setting` of the layout, amounts, days and ids.
    """
    rows = [*delivery.layout, *_amounts(mapping, style), *_days(delivery, mapping, style), *_ids(delivery, mapping)]
    return [{"file": str(delivery.file), **finding._asdict()} for finding in rows]


def _amounts(mapping: ColumnMapping, style: FileFormat) -> list[Finding]:
    """Decimal and thousands marks of the text columns of a file, which share their evidence."""
    if not style.decimal:
        return []
    commas, points, unclear = (sum(getattr(each, name) for each in style.marks.values()) for name in
                               ("commas", "points", "unclear"))  # fmt: skip
    marks = sorted({mark for mark in style.decimal.values() if mark})
    counted = f"{commas:,} amounts show a decimal comma, {points:,} a decimal point, {unclear:,} such as 1.234 neither"
    evidence = "configured" if mapping.decimal else counted
    thousands = [f"{OTHER_MARK[mark]} or a space" for mark in marks]
    return [
        Finding("decimal mark", " and ".join(marks) or "unknown", evidence, "data.source.decimal"),
        Finding(
            "thousands mark", " and ".join(thousands) or "unknown", "follows the decimal mark", "data.source.decimal"
        ),
    ]


def _days(delivery: Delivery, mapping: ColumnMapping, style: FileFormat) -> list[Finding]:
    """Order of day and month, serial dates and offsets."""
    rows = []
    for name, form in style.days.items():
        column = mapping.columns[name]
        value, evidence = _date_form(form, style.dates.get(name, {}), mapping.day_format is not None)
        rows.append(Finding(f"dates of {column}", value, evidence, "data.source.day_format"))
        if delivery.schema[column] == pl.String:
            zone = clean_text(pl.col(column)).str.extract(MOMENT, 6).alias("zone")
            counts = collect(delivery.frame.head(SAMPLED).select(zone), str(delivery.file))["zone"].drop_nulls()
            offsets = ", ".join(counts.unique().sort().head(4).to_list())
            text = f"{len(counts):,} of the first {SAMPLED:,} rows have an offset" + (f": {offsets}" if offsets else "")
            rows.append(Finding(f"time zone of {column}", form.zone or "as written", text, "data.source.timezone"))
    return rows


def _date_form(form: DayFormat, evidence: Mapping[str, Any], configured: bool) -> tuple[str, str]:
    """Form of the dates of a column and the evidence for it."""
    if configured:
        return str(form.format), "configured"
    if form.format == EXCEL:
        text = f"{evidence['small']:,} numbers from {evidence['low']:g} to {evidence['high']:g}"
        return "serial dates of Excel", text
    if not evidence.get("eithers"):
        return "year first, names of months, or numbers", "no date of two small numbers and a year"
    examples = [each["text"] for each in (evidence["day"], evidence["month"]) if each]
    text = f"{evidence['days']:,} dates must be day first, {evidence['months']:,} month first"
    return f"{form.first} first", text + (f", such as {examples[0]}" if examples else "; another column decides")


def _ids(delivery: Delivery, mapping: ColumnMapping) -> list[Finding]:
    """Ids that a spreadsheet cut, if there are any."""
    rows = []
    for name in ("customer", "item", "order"):
        if mapping.has(name):
            column = mapping.columns[name]
            cut = is_truncated_id(column, delivery.schema[column]).sum()
            count = collect(delivery.frame.drop(ROW).head(SAMPLED).select(cut), str(delivery.file)).item()
            if count:
                text = f"{count:,} of the first {SAMPLED:,} rows, such as 1.23457E+12"
                rows.append(Finding(f"ids of {column}", "cut by a spreadsheet", text, ""))
    return rows
