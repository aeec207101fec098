"""The pages of customer value and of churn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from propensity.report.chart import ModelStyle, axes, legend_swatch, marker, path, plot_area, svg
from propensity.report.kpi_chart import bars, scatter
from propensity.report.number import DASH, LOG_CURRENCY, decimal, percent, short
from propensity.value.churn import Churn
from propensity.value.valuation import Valuation

TEMPLATE, STYLE = "value.html.j2", "page.css"
STYLES = {
    "high": ModelStyle("#0072B2", "", "circle"),
    "middle": ModelStyle("#D55E00", "6 3", "square"),
    "low": ModelStyle("#009E73", "2 3", "triangle"),
}
CANDIDATES = {
    "pareto_nbd": "Pareto/NBD",
    "bg_nbd": "BG/NBD",
    "mbg_nbd": "MBG/NBD",
    "trees": "LightGBM",
    "network": "Network",
    "blend": "Blend",
}
RULES = {
    "alarm": "Alarm",
    "twice_the_gap": "Silence over twice the own gap",
    "p_alive": "P(alive) of the model of orders",
    "recency": "Days since the last order",
}
ALARM_WEEKS = 26  # bars of the day of the alarm; earlier ones are not drawn


class Section(NamedTuple):
    """A table of the page: title, a sentence on it, head and rows as text."""

    title: str
    text: str
    head: list[str]
    rows: list[list[str]]


def value_page(valuation: Valuation) -> str:
    """The page of `propensity clv`, which needs no network."""
    summary = valuation.summary
    unit, longest = str(summary["currency"] or ""), max(summary["weeks"])
    whole = valuation.table.filter(pl.col("weeks") == longest)
    total, closed = summary["expected"][str(longest)], summary["last_closed_window"]
    high = summary["tiers"]["high"]
    alarms = whole["alarm_since"].is_not_null().sum()
    drawn = [
        (f"Customers who order within so many weeks, by tier, up to {longest} weeks", order_curve(valuation.curve)),
        ("Customers who are still customers after so many weeks, by tier", alive_curve(valuation.curve)),
        (f"Customers by discounted value of {longest} weeks", value_bars(whole["discounted_value"].to_numpy())),
        ("Early warning: customers by the probability that they would have ordered by now", behind_bars(whole)),
    ]
    if deciles := closed.get("deciles"):
        caption = f"Expected against realised revenue by decile, last closed window of {closed['weeks']} weeks"
        drawn.insert(2, (caption, scatter(deciles, "decile", unit)))
    return _page(
        f"Value of customers on {summary['cutoff']}",
        f"{summary['customers']:,} customers with an order before {summary['cutoff']}",
        f"Expected orders and revenue of the next {', '.join(map(str, summary['weeks']))} weeks. Amounts are in "
        f"{unit or LOG_CURRENCY}.",
        valuation.warnings,
        [
            (f"{summary['customers']:,}", "Customers", _left_out(summary)),
            (short(total["revenue"]), f"Expected revenue of {longest} weeks", f"{total['orders']:,.0f} orders"),
            (f"{high['customers']:,}", "Customers with half of the value", f"tier high: {short(high['value'])}"),
            (f"{alarms:,}", "Alarms", f"customers far behind their own rhythm before {summary['cutoff']}"),
        ],
        drawn,
        [_totals(summary), _tiers(summary), *_candidates(closed)],
    )


def churn_page(churn: Churn) -> str:
    """The page of `propensity churn`, which needs no network."""
    summary = churn.summary
    unit, closed = str(summary["currency"] or ""), summary["last_closed_window"]
    drawn = [
        (f"Customers by the probability of no order in {summary['weeks']} weeks", probability_bars(churn.table)),
        ("Early warning: customers by the probability that they would have ordered by now", behind_bars(churn.table)),
    ]
    since = churn.table["alarm_since"].drop_nulls()
    if since.len():
        drawn.append(
            (
                f"Alarms of the last {ALARM_WEEKS} weeks by weeks since the alarm, as shares of all alarms",
                alarm_bars(since, summary["cutoff"]),
            )
        )
    if rules := closed.get("rules"):
        drawn.append(("Value of the churned that as many alarms found", rule_bars(rules)))
    found = closed.get("precision"), closed.get("recall")
    return _page(
        f"Churn on {summary['cutoff']}",
        f"{summary['customers']:,} customers with an order before {summary['cutoff']}",
        f"Churn is no order in the next {summary['weeks']} weeks. Amounts are in {unit or LOG_CURRENCY}.",
        churn.warnings,
        [
            (f"{summary['expected_churners']:,.0f}", "Expected churners", f"of {summary['customers']:,} customers"),
            (f"{summary['alarms']:,}", "Alarms", "customers far behind their own rhythm"),
            (short(summary["expected_revenue_of_alarms"]), "Expected revenue of alarmed customers", "in the window"),
            (
                DASH if found[0] is None else percent(found[0]),
                "Precision of the alarms",
                "no window has closed" if found[1] is None else f"recall {percent(found[1])}, last closed window",
            ),
        ],
        drawn,
        _rules(closed),
    )


def _page(
    title: str, what: str, sentence: str, warnings: Sequence[str], cards: Sequence[tuple[str, str, str]],
    pictures: Sequence[tuple[str, Markup]], sections: Sequence[Section],
) -> str:  # fmt: skip
    environment = Environment(
        loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(TEMPLATE).render(
        style=Markup(_part(STYLE)),
        title=title,
        what=what,
        sentence=sentence,
        warnings=warnings,
        cards=cards,
        pictures=[pair for pair in pictures if pair[1]],
        sections=sections,
    )


def order_curve(curve: pl.DataFrame) -> Markup:
    """Share of each tier with an order within so many weeks."""
    return _curves(curve, "ordered", "customers with an order")


def alive_curve(curve: pl.DataFrame) -> Markup:
    """Share of each tier that is still a customer after so many weeks."""
    return _curves(curve, "alive", "still customers")


def _curves(curve: pl.DataFrame, column: str, title: str) -> Markup:
    last = float(curve["week"].to_numpy().max())
    area = plot_area((0.0, last * 1.02), (0.0, 1.0), 300)
    drawn, legend = [axes(area, ("weeks after the cutoff", title), (short, _whole))], []
    for tier, style in STYLES.items():
        part = curve.filter(pl.col("tier") == tier).sort("week")
        points = [(float(week), float(share)) for week, share in part.select("week", column).iter_rows()]
        if not points:
            continue
        drawn.append(path(area, points, style, tier))
        drawn += [marker(*area.at(p), style, f"{tier}, {p[0]:.0f} weeks: {percent(p[1])}", 3.0) for p in points]
        legend.append(Markup("<li>{}<span>{}</span></li>").format(legend_swatch(style), tier))
    names = Markup('<ul class="legend">{}</ul>').format(Markup("").join(legend))
    return svg(f"{title} by tier and week", area.height, *drawn) + names


def value_bars(value: np.ndarray) -> Markup:
    """Shares of customers by value, in bins of a factor of about 2."""
    edges = _edges(value)
    count = np.bincount(np.searchsorted(edges, value, side="right"), minlength=edges.size + 1)
    names = [f"<{short(edges[0])}", *(short(edge) for edge in edges)]
    rows = [(name, float(n / value.size), f"({n:,} customers)") for name, n in zip(names, count, strict=True)]
    return bars(rows, ("discounted value, from", "customers"), most=len(rows))


def _edges(value: np.ndarray) -> np.ndarray:
    """Round limits of values, from the 5 % quantile to the 99 % quantile of those above 0.

    >>> _edges(np.array([3.0, 30.0, 70.0])).tolist()
    [10.0, 20.0, 50.0]
    """
    above = value[value > 0]
    if not above.size:
        return np.ones(1)
    low, high = np.quantile(above, [0.05, 0.99])
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    steps = np.sort(np.outer(10.0**decades, [1.0, 2.0, 5.0]).ravel().round(12))
    inside = steps[(steps > low) & (steps <= max(high, low * 2))]
    return inside if inside.size else np.array([float(high)])


def probability_bars(table: pl.DataFrame) -> Markup:
    """Shares of customers by tenths of the probability of churn."""
    return _tenths(table["p_churn"].to_numpy(), "probability of churn, from")


def behind_bars(table: pl.DataFrame) -> Markup:
    """Shares of customers by tenths of the probability that one who stays would have ordered by now."""
    return _tenths(table["behind"].to_numpy(), "probability, from")


def _tenths(values: np.ndarray, title: str) -> Markup:
    count = np.bincount(np.minimum((values * 10).astype(int), 9), minlength=10)
    rows = [(f"{k / 10:.1f}", float(n / values.size), f"({n:,} customers)") for k, n in enumerate(count)]
    return bars(rows, (title, "customers"))


def alarm_bars(since: pl.Series, cutoff: str) -> Markup:
    """Shares of the alarms by weeks between the alarm and the cutoff."""
    age = (pl.Series([date.fromisoformat(cutoff)])[0] - since).dt.total_days().to_numpy() // 7
    count = np.bincount(age[age < ALARM_WEEKS], minlength=ALARM_WEEKS)
    rows = [(str(k), float(n / age.size), f"({n:,} alarms)") for k, n in enumerate(count)]
    return bars(rows, ("weeks since the alarm", "alarms"), most=ALARM_WEEKS)


def rule_bars(rules: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Share of the lost value that each rule found with the same number of alarms."""
    rows = [
        (RULES[name].split(" ")[0], float(rule["value_captured"]), f"{RULES[name]}, {rule['alarms']:,} alarms")
        for name, rule in rules.items()
        if rule["value_captured"] is not None
    ]
    return bars(rows, ("rule", "value of the churned")) if rows else Markup("")


def _rules(closed: Mapping[str, Any]) -> list[Section]:
    if not closed.get("rules"):
        return []
    rows = [
        [
            RULES[name],
            f"{rule['alarms']:,}",
            *(DASH if rule[key] is None else percent(rule[key]) for key in ("precision", "recall", "value_captured")),
            DASH if rule["lead_weeks"] is None else decimal(rule["lead_weeks"], 1),
        ]
        for name, rule in closed["rules"].items()
    ]
    text = (
        f"Customers with an order in the year before the last closed window of {closed['weeks']} weeks. Every rule has "
        "as many alarms as ours when it began. Value is the revenue of the year before; lead time is the median number "
        "of weeks between the alarm and the end of the window, by which the customer has churned."
    )
    head = ["rule", "alarms", "precision", "recall", "value found", "lead time (weeks)"]
    return [Section("Alarms of the last closed window", text, head, rows)]


def _totals(summary: Mapping[str, Any]) -> Section:
    rows = [
        [
            weeks,
            f"{total['active']:,.0f}",
            f"{total['orders']:,.0f}",
            decimal(total["revenue"], 2),
            decimal(total["discounted_value"], 2),
        ]
        for weeks, total in summary["expected"].items()
    ]
    head = ["weeks", "customers with an order", "orders", "revenue", "discounted value"]
    return Section("Expected totals", "Sums over all customers.", head, rows)


def _tiers(summary: Mapping[str, Any]) -> Section:
    rows = [[name, f"{tier['customers']:,}", decimal(tier["value"], 2)] for name, tier in summary["tiers"].items()]
    text = "High holds the first half of all discounted value, middle the next 30 %, low the rest."
    return Section("Value tiers", text, ["tier", "customers", "discounted value"], rows)


def _candidates(closed: Mapping[str, Any]) -> list[Section]:
    if not closed.get("candidates"):
        return []
    rows = [
        [
            CANDIDATES.get(name, name),
            *(_number(metrics[key], 4) for key in ("auc_active", "gini_revenue")),
            *(_share(metrics[key]) for key in ("total_orders", "total_revenue", "decile_error_revenue")),
        ]
        for name, metrics in closed["candidates"].items()
    ]
    weights = closed.get("weights") or {}
    mixed = ", ".join(f"{name} {weights[name]:g}" for name in ("active", "orders", "revenue") if name in weights)
    text = f"Fitted on what was known {closed['weeks']} weeks before the cutoff, and compared with what followed."
    text += f" Weights of LightGBM in the blend: {mixed}." if mixed else ""
    head = ["model", "AUC of an order", "normalised Gini of revenue", "orders", "revenue", "decile error"]
    return [Section("Candidates on the last closed window", text, head, rows)]


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None or not np.isfinite(value) else decimal(value, digits)


def _share(value: float | None) -> str:
    return DASH if value is None or not np.isfinite(value) else f"{decimal(100 * value, 1, signed=True)} %"


def _left_out(summary: Mapping[str, Any]) -> str:
    counts = summary["left_out"]
    return ", ".join(f"{count:,} left out: {reason}" for reason, count in counts.items()) or "nobody is left out"


def _whole(value: float) -> str:
    return f"{100 * value:.3g} %"


def _part(name: str) -> str:
    return files("propensity.report").joinpath(name).read_text(encoding="utf-8")
