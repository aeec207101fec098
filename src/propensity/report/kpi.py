"""The page and the printed summary of the key figures of a log."""

from __future__ import annotations

from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from rich.markup import escape

from propensity.key_figures.figures import FILE, PAGE, Kpi
from propensity.report import kpi_chart as chart
from propensity.report.number import DASH, LOG_CURRENCY, decimal, percent
from propensity.report.table import SCREEN, plain_table, say

TEMPLATE, STYLE = "kpi.html.j2", "page.css"
MOST_ROWS = 60  # of a table on the page; the file has all
MOST_BARS = 30  # numbers of orders up to which each has a bar
MOST_WEEKS = 52  # bars of recency
ORDER_BINS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500)
LABELS = {"repeat_rate_days": "share with two purchase days or more"}  # of columns whose names say too little
PERCENT = ("precision", "recall", "value_alarmed", "above_upper_90")


class Section(NamedTuple):
    """A table of the page: its title, a sentence on it, head, rows, and how many rows are in the file alone."""

    title: str
    text: str
    head: list[str]
    rows: list[list[str]]
    text_columns: list[bool]
    left_out: int


def label(column: str) -> str:
    """A column in words."""
    return LABELS.get(column, column.replace("_", " "))


def kpi_page(result: Kpi) -> str:
    """The page as text, which needs no network; the template escapes every name and number."""
    environment = Environment(
        loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    currency = str(result.facts["currency"] or "")
    return environment.get_template(TEMPLATE).render(
        style=Markup(_part(STYLE)),
        facts=result.facts,
        warnings=result.warnings,
        cards=cards(result, currency),
        figures=[(label(name), written(name, value)) for name, value in result.figures.items()],
        pictures=pictures(result, currency),
        sections=sections(result),
        currency=currency or LOG_CURRENCY,
        files=", ".join([FILE, *(f"{name}.parquet" for name in result.tables)]),
    )


def cards(result: Kpi, currency: str) -> list[dict[str, str]]:
    """The main values with a title and a line below."""
    own = result.figures
    margin = own["margin_share"]
    money = own["average_order_value"] if result.facts["has_money"] else None
    return [
        {
            "text": written("repeat_rate", own["repeat_rate"]),
            "title": "Repeat rate",
            "below": f"{own['repeat_customers']:,} of {own['customers']:,} customers ordered twice or more",
        },
        {
            "text": DASH if money is None else decimal(money, 2),
            "title": f"Average order value{f' ({currency})' if currency else ''}",
            "below": f"{own['orders']:,} orders",
        },
        {
            "text": written("share", own["window_active_share"]),
            "title": f"Active in {result.facts['window_days']} days",
            "below": f"{own['window_active_customers']:,} customers, {own['window_new_customers']:,} of them new",
        },
        {
            "text": DASH if margin is None else percent(margin),
            "title": "Margin",
            "below": "the log has no costs"
            if margin is None
            else f"of revenue with known cost, {decimal(own['margin'], 2)}",
        },
    ]


def pictures(result: Kpi, currency: str) -> list[tuple[str, Markup]]:
    """Captions and charts; those that the data do not allow are left out."""
    tables, period = result.tables, result.facts["cohort_period"]
    drawn = [
        (
            f"Customers of each {period} of first purchase who bought again, in % by age",
            chart.heat_map(tables["retention"], period),
        ),
        ("Retention by age", chart.retention_curves(tables["retention"], tables["retention_curve"], period)),
        ("Customers by number of orders", _frequency(tables["frequency"])),
        ("Customers by days since the last purchase", _recency(tables["recency"])),
    ]
    if result.facts["has_money"]:
        drawn.append(
            (
                f"Net revenue of two windows of {result.facts['window_days']} days",
                chart.waterfall_chart(tables["waterfall"], currency),
            )
        )
    predicted = tables.get("predicted")
    if predicted is not None and result.facts["has_money"]:
        for head, part in predicted.group_by("source", "predicted_on", "days", maintain_order=True):
            rows = part.to_dicts()
            caption = f"Expected against realised revenue, {head[2]} days from {head[1]}"
            drawn.append((f"{caption}, by decile of the prediction", chart.scatter(rows, "decile", currency)))
    return [(caption, picture) for caption, picture in drawn if picture]


def _frequency(table: pl.DataFrame) -> Markup:
    counted = table.select("orders", "customers", "share")
    if table.height > MOST_BARS:
        edges = pl.Series(ORDER_BINS)
        first = edges.gather(edges.search_sorted(counted["orders"], side="right") - 1)
        counted = counted.with_columns(orders=first).group_by("orders").agg(pl.col("customers", "share").sum())
    names = bin_names(counted.sort("orders")["orders"].to_list(), table.height > MOST_BARS)
    rows = counted.sort("orders").select("customers", "share").iter_rows()
    values = [(name, share, f"({count:,} customers)") for name, (count, share) in zip(names, rows, strict=True)]
    return chart.bars(values, ("orders", "customers"), most=MOST_BARS)


def bin_names(first: list[int], binned: bool) -> list[str]:
    """Names of bins of `ORDER_BINS` by their first number, or of single numbers.

    >>> bin_names([1, 5, 500], True), bin_names([1, 5], False)
    (['1', '5-6', '500+'], ['1', '5'])
    """
    after = dict(zip(ORDER_BINS, ORDER_BINS[1:], strict=False))
    if not binned:
        return [str(number) for number in first]
    ends = {number: after[number] - 1 if number in after else None for number in first}
    return [f"{n}+" if end is None else str(n) if end == n else f"{n}-{end}" for n, end in ends.items()]


def _recency(table: pl.DataFrame) -> Markup:
    """Bars of whole weeks, so many to a bar that `MOST_WEEKS` bars are enough."""
    longest = int(table["to_day"].to_numpy().max())
    step = 7 * -(-longest // (7 * MOST_WEEKS))
    low = (pl.col("from_day") - 1) // step * step + 1
    binned = table.group_by(low=low).agg(pl.col("customers", "share").sum()).sort("low")
    grid = pl.DataFrame({"low": range(1, longest + 1, step)})
    rows = grid.join(binned, on="low", how="left").fill_null(0).sort("low").iter_rows()
    values = [(str(low), share, f"days {low} to {low + step - 1} ({count:,} customers)") for low, count, share in rows]
    return chart.bars(values, ("days since the last purchase", "customers"), most=MOST_WEEKS)


TEXTS = {
    "cohorts": ("Cohorts", "Customers by the period of their first purchase, up to the cutoff."),
    "tiers": ("Value tiers", "By net revenue of the last window; customers without any are inactive."),
    "migration": (
        "Migration between tiers",
        "Net revenue of the same customers in the earlier and in the last window.",
    ),
    "segments": ("Segments", "Margin is revenue minus cost, over lines whose cost is known."),
    "predicted": ("Predicted against realised value", "Every prediction whose window has closed by the cutoff."),
    "churn": ("Churn alarms", "A customer has churned without a purchase in the window."),
    "saves": (
        "Alarmed customers after a message",
        "Saved: a purchase in the window after the message. A difference between arms is an effect only if they were "
        "assigned at random.",
    ),
    "acquisition": (
        "Value over the cost of acquisition",
        "Value of the customers up to the cutoff over what they cost.",
    ),
    "satisfaction": ("Satisfaction", "As the customers' table has it, which carries no date."),
    "drift": (
        "Drift since the training",
        "Population stability index of the customers' features; above 0.1 is a change to watch, above 0.25 a drift.",
    ),
    "quantiles": ("Quantiles of customers", "Of all customers, each column by itself."),
}


def sections(result: Kpi) -> list[Section]:
    """The tables of the page."""
    drawn = []
    for name, (title, text) in TEXTS.items():
        table = result.tables.get(name)
        if table is None or not table.height:
            continue
        shown = table.head(MOST_ROWS)
        period = result.facts["cohort_period"]
        rows = [[written(key, value, period) for key, value in row.items()] for row in shown.to_dicts()]
        head = [label(column) for column in table.columns]
        texts = [kind == pl.String for kind in table.dtypes]
        drawn.append(Section(title, text, head, rows, texts, table.height - shown.height))
    return drawn


def written(name: str, value: Any, period: str = "day") -> str:
    """A value of a column as text.

    >>> written("repeat_rate", 0.251), written("net_revenue", 1234.5), written("orders", 12), written("ltv_cac", 3.456)
    ('25.1\\xa0%', '1,234.50', '12', '3.46')
    """
    if value is None:
        return DASH
    if isinstance(value, date):
        return chart.period_name(value, period) if name == "cohort" else value.isoformat()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if name in PERCENT or {"share", "rate", "coverage"} & {*name.split("_")}:
        return percent(value)
    return decimal(value, 4 if name in ("auc", "stability_index") else 2)


def show_kpi(result: Kpi, out: str | Path) -> None:
    """Print the warnings, the main figures and the tiers.

    Parameters
    ----------
    result : Kpi
        Key figures.
    out : str or Path
        Folder that they were written to.
    """
    for warning in result.warnings:
        say(f"warning: {warning}")
    table = plain_table(f"key figures before {result.facts['cutoff']}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in result.figures.items():
        table.add_row(escape(label(name)), escape(written(name, value)))
    SCREEN.print(table)
    tiers = plain_table(f"tiers by net revenue of {result.facts['window_days']} days")
    columns = ("tier", "customers", "net_revenue", "net_revenue_share", "average_order_value")
    for name in columns:
        tiers.add_column(name.replace("_", " "), justify="left" if name == "tier" else "right")
    for row in result.tables["tiers"].select(columns).to_dicts():
        tiers.add_row(*(escape(written(name, value)) for name, value in row.items()))
    SCREEN.print(tiers)
    SCREEN.print(
        f"{out}: {PAGE}, {FILE} and {len(result.tables)} tables; amounts are in "
        f"{result.facts['currency'] or LOG_CURRENCY}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _part(name: str) -> str:
    return files("propensity.report").joinpath(name).read_text(encoding="utf-8")
