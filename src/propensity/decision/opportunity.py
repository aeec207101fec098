"""Opportunities: expected demand of every offer, its concentration in a small group of customers, and its trend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from propensity.data.offer import is_categorical
from propensity.decision.condition import LIFECYCLE, applicable, rows_where
from propensity.decision.context import DecisionContext
from propensity.decision.history import PurchaseHistory
from propensity.decision.picture import INK, ORANGE, short
from propensity.decision.result import DecisionResult, cell
from propensity.decision.rfm import customer_table
from propensity.errors import ConfigurationError

GROUPS = LIFECYCLE | {"best customers": "spend_rank >= 0.9"}
WHOLE = 0.9  # share of the items that must agree with the rest of their offer for a column to sum up offers


@dataclass
class Opportunity:
    """Demand of the catalogue by offer, and by customer group and category.

    Parameters
    ----------
    share : float
        Customers in the small group of an offer, those with the highest expected revenue of it, as a share of all.
    best_sellers : int
        Length of the best-seller list, and most categories of the heat map.
    niche : int
        Offers to name that are off the best-seller list and in high demand in their small group.
    groups : Mapping[str, str], optional
        Customer groups by SQL conditions on their features (or on the customers table, without a log). None: `GROUPS`
        without those that need a column which is not there. An empty mapping: everybody is one group.
    category : str, optional
        Item column that sums up offers. None: the column with most values in which 9 of 10 items agree with the rest of
        their offer; without one, the offers with the highest demand stand for themselves.

    Raises
    ------
    ConfigurationError
        If a setting is out of range, or a condition or column that was given cannot be used.
    InfeasibleError
        If the scores expect no revenue.
    """

    share: float = 0.05
    best_sellers: int = 20
    niche: int = 12
    groups: Mapping[str, str] | None = None
    category: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigurationError(f"decision.share={self.share} is no share; give more than 0 and less than 1")
        for name in ("best_sellers", "niche"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} shows nothing; give 1 or more")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        context.require_revenue()
        revenue = context.scores.revenue.astype(np.float64)
        table = self.offers(context, revenue)
        groups, left_out = self.customer_groups(context)
        heat = self.heat(context, revenue, groups)
        niche = table.filter("niche").head(self.niche)
        small = max(1, round(self.share * revenue.shape[0]))
        summary = {
            "decision": "opportunity",
            "consent": context.gate.summary(),
            "cutoff": context.scores.cutoff,
            "customers_in_the_group": small,
            "trend_against": self.trend_words(context),
            "groups_left_out": left_out,
            "niche": niche["offer_id"].to_list(),
            "offers": table.to_dicts(),
        }
        sentences = [
            f"{row['offer_id']}: rank {row['demand_rank']} by expected demand; {small:,} customers hold "
            f"{row['concentration']:.0%} of its expected {row['demand']:,.0f}, {row['group_each']:,.2f} each"
            + ("" if row["trend"] is None else f"; trend {row['trend']:+.0%}")
            for row in niche.head(5).to_dicts()
        ]
        sentences.append(f"trend: {summary['trend_against']}")
        if left_out:
            sentences.append(f"groups left out, because customers lack a column: {', '.join(left_out)}")
        columns = ("offer_id", "demand", "concentration", "trend", "group_each")
        preview = niche.select(*columns) if niche.height else table.select(*columns)
        draw, html = picture(table, heat, small), page(table, heat, context.scores.cutoff, small, summary)
        return DecisionResult("opportunity", table, sentences, preview, summary, draw, {"heat": heat}, html)

    def offers(self, context: DecisionContext, revenue: np.ndarray) -> pl.DataFrame:
        """One row per offer, niche offers first: demand, concentration, trend and the demand of its small group.

        A niche offer is off the best-seller list, and both its concentration and the demand in its group are above the
        median.
        """
        small = max(1, round(self.share * revenue.shape[0]))
        top = np.partition(revenue, revenue.shape[0] - small, axis=0)[revenue.shape[0] - small :].sum(axis=0)
        demand = revenue.sum(axis=0)
        before = self.recent_demand(context)
        trend = None if before is None else np.where(before > 0, demand / np.maximum(before, 1e-12) - 1, np.nan)
        table = pl.DataFrame(
            {
                "offer_id": list(context.scores.offer),
                "demand": demand,
                "buyers": context.scores.probability.sum(axis=0, dtype=np.float64),
                "concentration": np.where(demand > 0, top / np.maximum(demand, 1e-12), np.nan),
                "trend": pl.Series(trend if trend is not None else [None] * demand.size, dtype=pl.Float64),
                "group_demand": top,
                "group_each": top / small,
            }
        ).fill_nan(None)
        table = table.with_columns(demand_rank=pl.col("demand").rank("ordinal", descending=True).cast(pl.Int64))
        niche = (
            (pl.col("demand_rank") > self.best_sellers)
            & (pl.col("concentration") >= pl.col("concentration").median())
            & (pl.col("group_demand") >= pl.col("group_demand").median())
        )
        return table.with_columns(niche=niche.fill_null(False)).sort(
            "niche", "group_demand", "offer_id", descending=[True, True, False]
        )

    def recent_demand(self, context: DecisionContext) -> np.ndarray | None:
        """(M,) revenue of a recent horizon: the mean over 91 days of the log, else what the scores before expected."""
        scores = context.scores
        if context.history is not None:
            row = context.history.rows(scores.customer)
            spend = np.nan_to_num(context.history.pairs(row, scores.offer, "spend_91")).sum(axis=0, dtype=np.float64)
            recent: np.ndarray = spend * context.history.horizon / 91
            return recent
        if not context.earlier:
            return None
        last = context.earlier[-1]
        demand = dict(zip(last.offer, last.revenue.sum(axis=0, dtype=np.float64), strict=True))
        return np.array([demand.get(name, 0.0) for name in scores.offer])

    def trend_words(self, context: DecisionContext) -> str:
        """What the trend is relative to."""
        if context.history is not None:
            return "expected demand relative to the mean revenue of as many days in the 91 before"
        if context.earlier:
            return f"expected demand relative to that of {context.earlier[-1].cutoff}"
        return "unknown without a log or scores of an earlier cutoff"

    def heat(self, context: DecisionContext, revenue: np.ndarray, groups: Mapping[str, np.ndarray]) -> pl.DataFrame:
        """group, category, expected revenue a customer, and index: the ratio to that of all customers."""
        names, member = self.categories(context, revenue)
        total = revenue @ member
        overall = np.maximum(total.mean(axis=0), 1e-12)
        rows = []
        for group, mask in groups.items():
            each = total[mask].mean(axis=0)
            for c, name in enumerate(names):
                rows.append((group, int(mask.sum()), name, float(each[c]), float(each[c] / overall[c])))
        schema = ["group", "customers", "category", "revenue_each", "index"]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def customer_groups(self, context: DecisionContext) -> tuple[dict[str, np.ndarray], list[str]]:
        """Masks (N,) of the groups that hold customers, and the built-in groups left out, with what they need."""
        ids = pl.DataFrame({"customer_id": [str(c) for c in context.scores.customer.tolist()]})
        if context.history is not None:
            features = customer_table(context.history, {}).table.with_columns(pl.col("customer_id").cast(pl.String))
            table = ids.join(features, on="customer_id", how="left", maintain_order="left")
        else:
            table = ids if context.customers is None else context.customers
        conditions, left_out = (self.groups, []) if self.groups is not None else applicable(GROUPS, table.columns)
        masks = {name: rows_where(table, rule, f"decision.groups.{name}") for name, rule in conditions.items()}
        masks = {name: mask for name, mask in masks.items() if mask.any()}
        return masks or {"everybody": np.ones(ids.height, bool)}, left_out

    def categories(self, context: DecisionContext, revenue: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Names and the offers in each: (M, K) of 0 and 1. An offer belongs where most of its items do."""
        offers, history, category_of = context.scores.offer, context.history, None
        if self.category is not None:
            if history is None:
                raise ConfigurationError("decision.category needs the event log; give log=<folder>, or leave it out")
            if self.category not in history.log.items.columns:
                columns = ", ".join(history.log.items.columns)
                raise ConfigurationError(
                    f"items have no column {self.category!r}; give decision.category one of {columns}"
                )
            category_of, _ = majority(history, self.category)
        elif history is not None:
            category_of = coarser_column(history)
        if category_of is None:
            strongest = np.argsort(-revenue.sum(axis=0), kind="stable")[: self.best_sellers]
            return [offers[m] for m in strongest], np.eye(len(offers))[:, strongest]
        label = [category_of.get(name, "other") for name in offers]
        demand: dict[str, float] = {}
        for name, amount in zip(label, revenue.sum(axis=0), strict=True):
            demand[name] = demand.get(name, 0.0) + float(amount)
        names = sorted(demand, key=lambda name: -demand[name])[: self.best_sellers]
        return names, np.array([[float(own == name) for name in names] for own in label])


def majority(history: PurchaseHistory, column: str) -> tuple[dict[str, str], float]:
    """The value of an item column that most items of each offer have, and the share of all items that have it."""
    offers, values = history.offers, history.log.items[column].cast(pl.String)
    entries = pl.DataFrame({"offer": offers.item_offer, "value": values.gather(offers.item)}).drop_nulls()
    counts = entries.group_by("offer", "value").len().sort("len", "value", descending=[True, False])
    first = counts.unique("offer", keep="first", maintain_order=True)
    names = [offers.name[m] for m in first["offer"]]
    return dict(zip(names, first["value"], strict=True)), float(first["len"].sum() or 0) / max(offers.item.size, 1)


def coarser_column(history: PurchaseHistory) -> dict[str, str] | None:
    """Offer to category by the item column with most values that joins whole offers; None where there is no such."""
    best, most = None, 1
    for column, kind in history.log.items.schema.items():
        if column != "item" and is_categorical(kind):
            category_of, agreement = majority(history, column)
            values = len(set(category_of.values()))
            if agreement >= WHOLE and most < values < len(category_of):
                best, most = category_of, values
    return best


def grid(heat: pl.DataFrame) -> tuple[list[str], list[str], np.ndarray]:
    """Groups, categories and the index of each."""
    groups, names = (heat[column].unique(maintain_order=True).to_list() for column in ("group", "category"))
    return groups, names, heat["index"].to_numpy().reshape(len(groups), len(names))


def picture(table: pl.DataFrame, heat: pl.DataFrame, small: int) -> Any:
    def draw(figure: Any) -> None:
        figure.set_size_inches(10, 9)
        above, below = figure.subplots(2, 1, height_ratios=(1.25, 1))
        known = table.filter((pl.col("demand") > 0) & pl.col("concentration").is_not_null())
        colour = known["trend"].fill_null(0.0).clip(-0.5, 0.5).to_numpy()
        dots = above.scatter(
            *(known["demand"], known["concentration"]),
            c=colour, cmap="PuOr_r", vmin=-0.5, vmax=0.5, s=26, edgecolors=INK, linewidths=0.4,
        )  # fmt: skip
        figure.colorbar(dots, ax=above, label="trend")
        above.set_xscale("log")
        name_offers(above, known.filter("niche").head(12), float(known["demand"].max() or 1.0))  # type: ignore[arg-type]
        title = "Offers; niche offers are named"
        above.set(xlabel="expected demand", ylabel=f"share of the top {small:,} customers", title=title)
        groups, names, index = grid(heat)
        shown = np.log2(np.maximum(index, 1e-3))
        below.imshow(shown, cmap="PuOr_r", vmin=-2, vmax=2, aspect="auto")
        below.grid(False)
        for i in range(index.shape[0]):
            for j in range(index.shape[1]):
                shade = "white" if abs(shown[i, j]) > 1.3 else "black"
                below.text(j, i, f"{index[i, j]:.1f}", ha="center", va="center", fontsize=7, color=shade)
        below.set_xticks(range(len(names)), [short(n, 18) for n in names], rotation=45, ha="right", fontsize=7)
        below.set_yticks(range(len(groups)), groups)
        below.set(title="Expected revenue per customer, relative to all customers")

    return draw


def name_offers(axes: Any, niche: pl.DataFrame, most: float) -> None:
    """Names beside the points, one below the other, each with a line to its point."""
    low, high = axes.get_ylim()
    axes.set_xlim(right=most * 60)
    line, above = {"arrowstyle": "-", "color": ORANGE, "lw": 0.5, "relpos": (0, 0.5)}, high
    for k, row in enumerate(niche.sort("concentration", descending=True).to_dicts()):
        step = 0.055 * (high - low)
        above = max(min(row["concentration"], above - step), low + step * (niche.height - k - 0.5))
        at, name = (row["demand"], row["concentration"]), short(row["offer_id"], 26)
        axes.annotate(name, at, (1.6 * most, above), va="center", fontsize=8, color=ORANGE, arrowprops=line)


STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .6em;border:1px solid #e3e5e8;text-align:right}
td:first-child,th:first-child{text-align:left}tr.niche td:first-child{font-weight:bold}div{overflow-x:auto}"""


def page(table: pl.DataFrame, heat: pl.DataFrame, cutoff: str, small: int, summary: Mapping[str, Any]) -> str:
    """The whole catalogue as one HTML page that loads nothing from the network."""
    head = "".join(Markup("<th>{}</th>").format(n) for n in ("offer", "demand", "in the small group", "trend", "each"))
    rows = Markup("").join(
        Markup(
            '<tr{}><td>{}</td><td style="{}">{}</td><td style="{}">{}</td><td style="{}">{}</td><td>{}</td></tr>'
        ).format(
            Markup(' class="niche"') if row["niche"] else "",
            row["offer_id"],
            *(shade(row["demand"] / (table["demand"].max() or 1)), cell(row["demand"])),
            *(
                shade(row["concentration"] or 0.0),
                "-" if row["concentration"] is None else f"{row['concentration']:.0%}",
            ),
            *(turn(row["trend"]), "-" if row["trend"] is None else f"{row['trend']:+.0%}"),
            cell(row["group_each"]),
        )
        for row in table.to_dicts()
    )
    groups, names, index = grid(heat)
    top = Markup("").join(Markup("<th>{}</th>").format(g) for g in groups)
    body = Markup("").join(
        Markup("<tr><td>{}</td>{}</tr>").format(
            name,
            Markup("").join(
                Markup('<td style="{}">{}</td>').format(turn((index[i, j] - 1) / 2), f"{index[i, j]:.1f}")
                for i in range(len(groups))
            ),
        )
        for j, name in enumerate(names)
    )
    return str(
        Markup(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width"><title>Opportunities {}</title><style>{}</style></head><body>'
            "<h1>Opportunities on {}</h1><p>Bold: niche offers, off the best-seller list and in high demand among "
            "their top {} customers. Trend is {}.</p><div><table><tr>{}</tr>{}</table></div>"
            "<h2>By group and category</h2><p>"
            "Expected revenue per customer, relative to all customers.</p><div><table><tr><th></th>{}</tr>{}</table>"
            "</div></body></html>"
        ).format(cutoff, Markup(STYLE), cutoff, f"{small:,}", summary["trend_against"], Markup(head), rows, top, body)
    )


def shade(share: float) -> str:
    """A blue that deepens from 0 to 1."""
    return f"background:rgba(0,114,178,{min(max(share, 0.0), 1.0) * 0.6:.2f})"


def turn(change: float | None) -> str:
    """Orange for more and purple for less, full at half as much again."""
    if change is None:
        return ""
    colour = "213,94,0" if change > 0 else "94,60,153"
    return f"background:rgba({colour},{min(abs(change), 0.5) * 1.2:.2f})"
