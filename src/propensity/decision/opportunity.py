"""Opportunities: what the catalogue is expected to sell, in whose hands that lies, and which way it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from propensity.decision.context import DecisionContext
from propensity.decision.picture import INK, ORANGE, short
from propensity.decision.result import DecisionResult, cell
from propensity.decision.rfm import standing
from propensity.errors import ConfigurationError, InfeasibleError


@dataclass
class Opportunity:
    """A heat map of the catalogue.

    share: the small group, as a share of the customers; sellers: how long a best-seller list is; gems: how many offers
    off that list are named for their demand in the group. groups: customer segments by SQL conditions on columns of
    behaviour (or of the customers table, without a log); category: item column that sums up offers; None: `department`
    if there is one, else the offers with the highest demand stand for themselves.
    """

    share: float = 0.05
    sellers: int = 20
    gems: int = 12
    groups: Mapping[str, str] = field(default_factory=dict)
    category: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigurationError(f"decision.share={self.share} is no share; give more than 0 and less than 1")
        for name in ("sellers", "gems"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} shows nothing; give 1 or more")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        money = context.scores.revenue.astype(np.float64)
        if not money.sum() > 0:
            raise InfeasibleError("the scores expect no revenue of any offer; score another date")
        table = self.offers(context, money)
        heat = self.heat(context, money)
        gems = table.filter("gem").head(self.gems)
        small = max(1, round(self.share * money.shape[0]))
        summary = {
            "decision": "opportunity",
            "cutoff": context.scores.cutoff,
            "customers_in_the_group": small,
            "trend_against": self.trend_words(context),
            "gems": gems["offer_id"].to_list(),
            "offers": table.to_dicts(),
        }
        said = [
            f"{row['offer_id']}: number {row['demand_rank']} of the catalogue, but {small:,} customers stand for "
            f"{row['concentration']:.0%} of its expected {row['demand']:,.0f}, {row['group_each']:,.2f} each"
            + ("" if row["trend"] is None else f"; demand {row['trend']:+.0%}")
            for row in gems.head(5).to_dicts()
        ]
        said.append(f"trend: {summary['trend_against']}")
        columns = ("offer_id", "demand", "concentration", "trend", "group_each")
        shown = gems.select(*columns) if gems.height else table.select(*columns)
        drawn, written = picture(table, heat, small), page(table, heat, context.scores.cutoff, small, summary)
        return DecisionResult("opportunity", table, said, shown, summary, drawn, {"heat": heat}, written)

    def offers(self, context: DecisionContext, money: np.ndarray) -> pl.DataFrame:
        """One row per offer, gems first: demand, concentration, trend, what a customer of the group is expected to pay.

        A gem is off the best-seller list, and both its concentration and the demand in its group are above the median.
        """
        small = max(1, round(self.share * money.shape[0]))
        top = np.partition(money, money.shape[0] - small, axis=0)[money.shape[0] - small :].sum(axis=0)
        demand = money.sum(axis=0)
        before = self.before(context)
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
        gem = (
            (pl.col("demand_rank") > self.sellers)
            & (pl.col("concentration") >= pl.col("concentration").median())
            & (pl.col("group_demand") >= pl.col("group_demand").median())
        )
        return table.with_columns(gem=gem.fill_null(False)).sort(
            "gem", "group_demand", "offer_id", descending=[True, True, False]
        )

    def before(self, context: DecisionContext) -> np.ndarray | None:
        """(M,) what a horizon sold of late: the mean of 91 days of the log, else what the scores before expected."""
        scores = context.scores
        if context.past is not None:
            row = context.past.rows(scores.customer)
            spent = np.nan_to_num(context.past.pairs(row, scores.offer, "spend_91")).sum(axis=0, dtype=np.float64)
            recent: np.ndarray = spent * context.past.horizon / 91
            return recent
        if not context.earlier:
            return None
        last = context.earlier[-1]
        sold = dict(zip(last.offer, last.revenue.sum(axis=0, dtype=np.float64), strict=True))
        return np.array([sold.get(name, 0.0) for name in scores.offer])

    def trend_words(self, context: DecisionContext) -> str:
        if context.past is not None:
            return "expected demand against what as many days sold on average in the 91 before"
        if context.earlier:
            return f"expected demand against that of {context.earlier[-1].cutoff}"
        return "unknown without a log or scores of an earlier date"

    def heat(self, context: DecisionContext, money: np.ndarray) -> pl.DataFrame:
        """group, category, expected revenue a customer, and index: times that of all customers."""
        groups, names, member = self.segments(context), *self.categories(context, money)
        total = money @ member
        overall = np.maximum(total.mean(axis=0), 1e-12)
        rows = []
        for group, mask in groups.items():
            if not mask.any():
                continue
            each = total[mask].mean(axis=0)
            for c, name in enumerate(names):
                rows.append((group, int(mask.sum()), name, float(each[c]), float(each[c] / overall[c])))
        schema = ["group", "customers", "category", "revenue_each", "index"]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def segments(self, context: DecisionContext) -> dict[str, np.ndarray]:
        """Masks (N,) of customers by group; conditions on columns that are not there are left out."""
        table, everybody = None, np.ones(context.scores.customer.size, bool)
        if context.past is None:
            table = context.customers
        else:
            found = standing(context.past, {}).table.with_columns(pl.col("customer_id").cast(pl.String))
            ids = pl.DataFrame({"customer_id": [str(c) for c in context.scores.customer.tolist()]})
            table = ids.join(found, on="customer_id", how="left", maintain_order="left")
        masks = {}
        for name, rule in self.groups.items() if table is not None else ():
            try:
                assert table is not None
                kept = table.select(pl.sql_expr(rule).cast(pl.Boolean).fill_null(False)).to_series()
            except pl.exceptions.ColumnNotFoundError:
                continue
            except pl.exceptions.PolarsError as error:
                reason = str(error).splitlines()[0]
                raise ConfigurationError(f"decision.groups.{name} ({rule}) cannot be applied: {reason}") from None
            masks[name] = kept.to_numpy()
        return masks or {"everybody": everybody}

    def categories(self, context: DecisionContext, money: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Names and the offers in each: (M, K) of 0 and 1. An offer belongs where most of its items do."""
        offers, past = context.scores.offer, context.past
        items = None if past is None else past.log.items
        column = self.category or ("department" if items is not None and "department" in items.columns else None)
        if column is None or past is None or items is None:
            if self.category is not None:
                raise ConfigurationError("decision.category needs the event log; give log=<folder>, or leave it out")
            strongest = np.argsort(-money.sum(axis=0), kind="stable")[: self.sellers]
            return [offers[m] for m in strongest], np.eye(len(offers))[:, strongest]
        if column not in items.columns:
            raise ConfigurationError(
                f"items have no column {column!r}; give decision.category one of {', '.join(items.columns)}"
            )
        known = pl.DataFrame({"offer": past.offers.item_offer, "category": items[column][past.offers.item]})
        counted = (
            known.drop_nulls().group_by("offer", "category").len().sort("len", "category", descending=[True, False])
        )
        first = counted.unique("offer", keep="first", maintain_order=True)
        belongs = dict(
            zip([past.offers.name[k] for k in first["offer"]], first["category"].cast(pl.String), strict=True)
        )
        label = [belongs.get(name, "other") for name in offers]
        demand: dict[str, float] = {}
        for name, amount in zip(label, money.sum(axis=0), strict=True):
            demand[name] = demand.get(name, 0.0) + float(amount)
        names = sorted(demand, key=lambda name: -demand[name])[: self.sellers]
        return names, np.array([[float(own == name) for name in names] for own in label])


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
        name_gems(above, known.filter("gem").head(12), float(known["demand"].max() or 1.0))  # type: ignore[arg-type]
        title = "Offers: strong in a small group and on no best-seller list are named"
        above.set(xlabel="expected demand", ylabel=f"share of the best {small:,} customers", title=title)
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
        below.set(title="Expected revenue of a customer, in multiples of everybody's")

    return draw


def name_gems(axes: Any, gems: pl.DataFrame, most: float) -> None:
    """Names beside the dots, one below the other, each with a line to its dot."""
    low, high = axes.get_ylim()
    axes.set_xlim(right=most * 60)
    line, above = {"arrowstyle": "-", "color": ORANGE, "lw": 0.5, "relpos": (0, 0.5)}, high
    for k, row in enumerate(gems.sort("concentration", descending=True).to_dicts()):
        step = 0.055 * (high - low)
        above = max(min(row["concentration"], above - step), low + step * (gems.height - k - 0.5))
        at, name = (row["demand"], row["concentration"]), short(row["offer_id"], 26)
        axes.annotate(name, at, (1.6 * most, above), va="center", fontsize=8, color=ORANGE, arrowprops=line)


STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .6em;border:1px solid #e3e5e8;text-align:right}
td:first-child,th:first-child{text-align:left}tr.gem td:first-child{font-weight:bold}div{overflow-x:auto}"""


def page(table: pl.DataFrame, heat: pl.DataFrame, cutoff: str, small: int, summary: Mapping[str, Any]) -> str:
    """The whole catalogue as one HTML page that needs no network."""
    head = "".join(Markup("<th>{}</th>").format(n) for n in ("offer", "demand", "in the small group", "trend", "each"))
    rows = Markup("").join(
        Markup(
            '<tr{}><td>{}</td><td style="{}">{}</td><td style="{}">{}</td><td style="{}">{}</td><td>{}</td></tr>'
        ).format(
            Markup(' class="gem"') if row["gem"] else "",
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
            "<h1>Opportunities on {}</h1><p>Bold: off the best-seller list, with strong demand among its best {} "
            "customers. Trend is {}.</p><div><table><tr>{}</tr>{}</table></div><h2>By group and category</h2><p>"
            "Expected revenue of a customer, in multiples of everybody's.</p><div><table><tr><th></th>{}</tr>{}</table>"
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
