"""Segments: who resembles whom, in plain terms; how customers move between them; and segments named by a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import to_date
from propensity.decision.context import DecisionContext, aligned, read
from propensity.decision.history import PurchaseHistory
from propensity.decision.kmeans import KMeansFit, adjusted_rand, assigned, fit_all, knee, lloyd, plus_plus
from propensity.decision.picture import BLUE, INK, ORANGE, short
from propensity.decision.result import DecisionResult
from propensity.decision.rfm import matrix, standing
from propensity.errors import ConfigurationError, DataError

REACH = 4.0  # standard deviations beyond which a customer is no further away
FAVOURITES = 3


class Standardisation(NamedTuple):
    """Mean and standard deviation (F,) of features at the date they were fitted."""

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = np.clip((x - self.mean) / self.deviation, -REACH, REACH).astype(np.float32)
        return scaled


@dataclass
class Segment:
    """K-means segments of customers, and segments named by a condition.

    k: how many; None takes the knee of the inertia over 1 to `most`. restarts of each k. states: a table with
    customer_id and columns of numbers, such as the model's customer states, to make segments of instead of behaviour.
    before: days between the date whose segments are fixed and the send date, for migration. alive: days within which a
    customer must have bought to belong to a date. shares: names to SQL conditions on items, whose share of spend is a
    column. named: segments by an SQL condition on columns of behaviour.
    drift, worse: the alarm to fit anew, when the adjusted Rand index between fixed and fresh segments is below, or the
    ratio of their inertias above.
    """

    k: int | None = None
    most: int = 15
    restarts: int = 10
    states: str | None = None
    before: int = 91
    alive: int = 364
    shares: Mapping[str, str] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)
    drift: float = 0.6
    worse: float = 1.1

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise ConfigurationError(f"decision.k={self.k} makes no segments; give 1 or more")
        for name, low in (("most", 1), ("restarts", 10), ("before", 1), ("alive", 1)):
            if getattr(self, name) < low:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} is too few; give {low} or more")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        table, row = self.customers(context)
        states = self.columns(context, table)
        most = max(self.most, self.k or 1)
        if table.height < most:
            lower = "most" if most == self.most else "k"
            raise ConfigurationError(f"{table.height} customers cannot be {most} segments; lower decision.{lower}")
        features, names = matrix(table) if states is None else matrix(states)
        deviation = features.std(axis=0)
        scale = Standardisation(features.mean(axis=0), np.where(deviation > 0, deviation, 1.0))
        fits = fit_all(scale(features), most, self.restarts, context.seed)
        curve = pl.DataFrame([(f.k, f.inertia, f.silhouette, f.stability) for f in fits], schema=CURVE, orient="row")
        chosen = fits[(self.k or knee(curve["inertia"].to_numpy())) - 1]
        spend = table["spend_91"].to_numpy() if "spend_91" in table.columns else None
        chosen = by_spend(chosen, spend)
        profiles = profile(context, table, row, chosen)
        named = self.named_segments(table)
        moved = None
        if context.past is not None and states is None:
            moved = migrate(context.past, self, chosen.k, context.seed)
        return self.result(context, table, chosen, curve, profiles, named, moved, names)

    def customers(self, context: DecisionContext) -> tuple[pl.DataFrame, np.ndarray | None]:
        """Behaviour of the customers of the scores, and their rows of the log; without a log, the customers table."""
        if context.past is None:
            if context.customers is None:
                raise ConfigurationError("segments need the event log or a table of customers; give log= or customers=")
            return context.customers, None
        found = standing(context.past, self.shares)
        kept = np.isin(found.table["customer_id"].to_numpy(), context.scores.customer)
        return found.table.filter(pl.Series(kept)), found.row[kept]

    @property
    def unmoved(self) -> str:
        """Why there is no migration."""
        return "migration is unknown without a log" if self.states is None else "migration is told of behaviour only"

    def columns(self, context: DecisionContext, table: pl.DataFrame) -> pl.DataFrame | None:
        """The states of the customers, where a table of them is given."""
        if self.states is None:
            return None
        given = read(self.states, "decision.states")
        found = aligned(given, table["customer_id"].to_numpy(), self.states)
        lacking = table["customer_id"].cast(pl.String).is_in(given["customer_id"].cast(pl.String).implode()).not_()
        if lacking.any():
            raise DataError(
                f"{self.states} lacks {lacking.sum():,} of {table.height:,} customers, such as "
                f"{found.filter(lacking)['customer_id'][0]}; write it again for {context.scores.cutoff}"
            )
        return found

    def named_segments(self, table: pl.DataFrame) -> pl.DataFrame:
        """One boolean column per named segment; a condition on a column that there is not here is left out as null."""
        found = []
        for name, rule in self.named.items():
            try:
                found.append(table.select(pl.sql_expr(rule).cast(pl.Boolean).fill_null(False).alias(name)).to_series())
            except pl.exceptions.ColumnNotFoundError:
                found.append(pl.Series(name, [None] * table.height, dtype=pl.Boolean))
            except pl.exceptions.PolarsError as error:
                reason = str(error).splitlines()[0]
                raise ConfigurationError(f"decision.named.{name} ({rule}) cannot be applied: {reason}") from None
        found += [
            (table[name] >= 0.6).alias(f"mostly {name.removeprefix('channel_')}")
            for name in table.columns
            if name.startswith("channel_") and (table[name] > 0).any()
        ]
        return pl.DataFrame(found)

    def result(
        self,
        context: DecisionContext,
        table: pl.DataFrame,
        fit: KMeansFit,
        curve: pl.DataFrame,
        profiles: pl.DataFrame,
        named: pl.DataFrame,
        moved: Migration | None,
        features: list[str],
    ) -> DecisionResult:
        lists = pl.DataFrame({"customer_id": table["customer_id"], "segment": fit.label + 1}).hstack(named)
        sizes = pl.DataFrame(
            {"named": named.columns, "customers": [c.sum() if c.null_count() == 0 else None for c in named]},
            schema={"named": pl.String, "customers": pl.Int64},
        )
        summary = {
            "decision": "segment",
            "cutoff": context.scores.cutoff,
            "k": fit.k,
            "chosen_by": "decision.k" if self.k else "knee of the inertia",
            "features": features,
            "curve": curve.fill_nan(None).to_dicts(),
            "profiles": profiles.to_dicts(),
            "named": dict(sizes.iter_rows()),
            "migration": None if moved is None else moved.summary(),
        }
        said = [sentence(row) for row in profiles.to_dicts()]
        said.append("named: " + ", ".join(f"{n} {c:,}" for n, c in sizes.iter_rows() if c is not None))
        said += [self.unmoved] if moved is None else moved.said(self.drift, self.worse)
        more = {"curve": curve, "profiles": profiles, "named": sizes}
        if moved is not None:
            more["migration"] = moved.table
        columns = ("segment", "customers", "share", "revenue_share", "revenue_each", "recency", "orders")
        shown = profiles.select(c for c in columns if c in profiles.columns)
        return DecisionResult(
            "segment", lists, said, shown, summary, picture(curve, fit.k, profiles, moved, self.unmoved), more
        )


CURVE = {"k": pl.Int64, "inertia": pl.Float64, "silhouette": pl.Float64, "stability": pl.Float64}


def by_spend(fit: KMeansFit, spend: np.ndarray | None) -> KMeansFit:
    """The fit with its segments numbered by mean spend, the highest first (without one, by size)."""
    weight = np.ones(fit.label.size) if spend is None else np.nan_to_num(spend.astype(float))
    size = np.bincount(fit.label, minlength=fit.k)
    mean = np.bincount(fit.label, weight, fit.k) / (np.maximum(size, 1) if spend is not None else 1)
    order = np.argsort(-mean, kind="stable")
    number = np.empty(fit.k, np.int64)
    number[order] = np.arange(fit.k)
    return fit._replace(centre=fit.centre[order], label=number[fit.label])


def profile(context: DecisionContext, table: pl.DataFrame, row: np.ndarray | None, fit: KMeansFit) -> pl.DataFrame:
    """One row per segment: size, revenue of 91 days, recency, orders, what it buys more and less of than others, and
    the revenue expected of it."""
    rows = []
    ids = {str(c): n for n, c in enumerate(context.scores.customer.tolist())}
    place = np.array([ids[str(c)] for c in table["customer_id"]])
    expected = context.scores.revenue.sum(axis=1, dtype=float)[place]
    spent = None
    if row is not None and context.past is not None:
        spent = np.nan_to_num(context.past.pairs(row, context.scores.offer, "spend_182"))
    money = table["spend_91"].fill_null(0.0).to_numpy() if "spend_91" in table.columns else expected
    for c in range(fit.k):
        inside = fit.label == c
        found: dict[str, Any] = {
            "segment": c + 1,
            "customers": int(inside.sum()),
            "share": float(inside.mean()),
            "revenue": float(money[inside].sum()),
            "revenue_share": float(money[inside].sum() / max(money.sum(), 1e-9)),
            "revenue_each": float(money[inside].sum() / max(int(inside.sum()), 1)),
            "expected_revenue": float(expected[inside].sum()),
        }
        for name, column in (("recency", "recency"), ("orders", "orders_91"), ("tenure", "tenure")):
            if column in table.columns:
                found[name] = table[column].filter(pl.Series(inside)).median()
        if spent is not None:
            found |= favourites(spent, inside, context.scores.offer)
        rows.append(found)
    return pl.DataFrame(rows, infer_schema_length=None)


def favourites(spent: np.ndarray, inside: np.ndarray, offer: tuple[str, ...]) -> dict[str, list[str]]:
    """The offers with the highest spend, and those it buys more and less of, by share of spend against everybody's."""
    own, all_of_it = spent[inside].sum(axis=0), spent.sum(axis=0)
    ratio = (own / max(own.sum(), 1e-9)) / np.maximum(all_of_it / max(all_of_it.sum(), 1e-9), 1e-12)
    common = np.argsort(-all_of_it, kind="stable")[: max(10, len(offer) // 2)]
    ranked = common[np.argsort(-ratio[common], kind="stable")]
    return {
        "favourite": [offer[m] for m in np.argsort(-own, kind="stable")[:FAVOURITES]],
        "best": [offer[m] for m in ranked[:FAVOURITES]],
        "worst": [offer[m] for m in ranked[::-1][:FAVOURITES]],
    }


def sentence(row: Mapping[str, Any]) -> str:
    """A profile in plain terms."""
    text = f"segment {row['segment']}: {row['customers']:,} customers ({row['share']:.0%}), "
    text += f"{row['revenue_share']:.0%} of the revenue, {row['revenue_each']:,.0f} each in 91 days"
    if row.get("recency") is not None:
        text += f"; last bought {row['recency']:,.0f} days ago at the median"
    if row.get("orders") is not None:
        text += f", {row['orders']:,.0f} orders in 91 days"
    if row.get("best"):
        text += f"; more than others {', '.join(row['best'])}, less {', '.join(row['worst'])}"
    return text


class Migration(NamedTuple):
    """Between two dates under centres fixed at the first: table from, to, customers, money before and after; rand and
    ratio of inertia of a fresh fit; start and end as ISO dates."""

    table: pl.DataFrame
    rand: float
    ratio: float
    start: str
    end: str

    def summary(self) -> dict[str, Any]:
        flows = self.table.to_dicts()
        return {"start": self.start, "end": self.end, "rand": self.rand, "inertia_ratio": self.ratio, "flows": flows}

    def said(self, drift: float, worse: float) -> list[str]:
        flows = self.table
        moving = flows.filter((pl.col("from") != pl.col("to")) & (pl.col("from") != "new") & (pl.col("to") != "left"))
        entered, left = flows.filter(pl.col("from") == "new"), flows.filter(pl.col("to") == "left")
        stayed = flows.filter(pl.col("from") == pl.col("to"))["customers"].sum()
        alarm = self.rand < drift or self.ratio > worse
        return [
            f"from {self.start} to {self.end}: {stayed:,} customers stayed, {moving['customers'].sum():,} moved (their "
            f"revenue of 91 days went from {moving['before'].sum():,.0f} to {moving['after'].sum():,.0f}), "
            f"{entered['customers'].sum():,} entered and {left['customers'].sum():,} left",
            f"a fresh fit agrees with the fixed segments to {self.rand:.2f} (adjusted Rand), inertia of the fixed ones "
            f"{self.ratio:.3f} times its own: " + ("fit anew" if alarm else "no need to fit anew"),
        ]


def migrate(past: PurchaseHistory, rule: Segment, k: int, seed: int) -> Migration | None:
    """Segments fixed at the earlier date, followed to the later one; None if the log does not reach back."""
    then = past.at(past.day - rule.before)
    if then.log.purchasers(then.day).size < max(k, 2):
        return None
    tables = [alive(standing(at, {}).table, rule.alive) for at in (then, past)]
    features = [matrix(table)[0] for table in tables]
    deviation = features[0].std(axis=0)
    scale = Standardisation(features[0].mean(axis=0), np.where(deviation > 0, deviation, 1.0))
    first, second = (scale(x) for x in features)
    fixed = by_spend(best_of(first, k, rule.restarts, seed), tables[0]["spend_91"].to_numpy())
    later, inertia = assigned(second, fixed.centre)
    fresh = best_of(second, k, rule.restarts, seed)
    start, end = (frame_of(t, label) for t, label in zip(tables, (fixed.label, later), strict=True))
    joined = start.join(end, on="customer_id", how="full", coalesce=True, suffix="_after").with_columns(
        pl.col("segment").fill_null("new"), pl.col("segment_after").fill_null("left")
    )
    flows = joined.group_by(pl.col("segment").alias("from"), pl.col("segment_after").alias("to")).agg(
        customers=pl.len(), before=pl.col("spend_91").sum(), after=pl.col("spend_91_after").sum()
    )
    rand = adjusted_rand(later, fresh.label)
    dates = [to_date(day).isoformat() for day in (then.day, past.day)]
    return Migration(flows.sort("from", "to"), rand, inertia / max(fresh.inertia, 1e-9), *dates)


def alive(table: pl.DataFrame, days: int) -> pl.DataFrame:
    return table.filter(pl.col("recency") <= days)


def best_of(row: np.ndarray, k: int, restarts: int, seed: int) -> KMeansFit:
    """The best of some restarts on all rows."""
    random = np.random.default_rng(seed)
    found = min((lloyd(row, plus_plus(row, k, random)) for _ in range(restarts)), key=lambda fit: fit[2])
    return KMeansFit(*found, 1.0, float("nan"))


def frame_of(table: pl.DataFrame, label: np.ndarray) -> pl.DataFrame:
    names = pl.Series("segment", [str(c + 1) for c in label], dtype=pl.String)
    return table.select("customer_id", pl.col("spend_91").fill_null(0.0)).with_columns(names)


def picture(curve: pl.DataFrame, k: int, profiles: pl.DataFrame, moved: Migration | None, unmoved: str) -> Any:
    def draw(figure: Any) -> None:
        (first, second), (third, fourth) = figure.subplots(2, 2)
        figure.set_size_inches(9, 7)
        first.plot(curve["k"], curve["inertia"], "o-", color=BLUE)
        first.axvline(k, color=INK, ls=":", label=f"{k} segments")
        first.set(xlabel="segments", ylabel="inertia", title="How near customers are to their segment", ylim=0)
        first.legend()
        second.plot(curve["k"], curve["silhouette"], "s-", color=BLUE, label="silhouette")
        second.plot(curve["k"], curve["stability"], "^--", color=ORANGE, label="agreement of restarts")
        second.set(xlabel="segments", ylim=(0, 1.02), title="Do the segments stand apart, and come again?")
        second.legend()
        names = [f"{row['segment']}" for row in profiles.to_dicts()]
        place = np.arange(len(names))
        third.bar(place - 0.2, profiles["share"] * 100, 0.4, color="#b8bcc4", label="% of customers")
        third.bar(place + 0.2, profiles["revenue_share"] * 100, 0.4, color=BLUE, label="% of revenue, 91 days")
        third.set_xticks(place, names)
        third.set(xlabel="segment", title="Who brings the revenue")
        third.legend()
        heat(fourth, moved, unmoved)

    return draw


def heat(axes: Any, moved: Migration | None, unmoved: str) -> None:
    """Customers from segment to segment, as shares of where they came from."""
    if moved is None:
        axes.axis("off")
        axes.text(0.5, 0.5, unmoved, ha="center")
        return
    rows = sorted(moved.table["from"].unique(), key=lambda n: (n == "new", n.zfill(3)))
    columns = sorted(moved.table["to"].unique(), key=lambda n: (n == "left", n.zfill(3)))
    count = np.zeros((len(rows), len(columns)))
    for row in moved.table.to_dicts():
        count[rows.index(row["from"]), columns.index(row["to"])] = row["customers"]
    share = count / np.maximum(count.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(False)
    for i in range(len(rows)):
        for j in range(len(columns)):
            shade = "white" if share[i, j] > 0.55 else "black"
            axes.text(j, i, f"{count[i, j]:,.0f}", ha="center", va="center", color=shade, fontsize=7)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), [short(r) for r in rows])
    axes.set(
        xlabel=f"segment on {moved.end}", ylabel=f"on {moved.start}", title="Customers who moved, dark: most of a row"
    )
