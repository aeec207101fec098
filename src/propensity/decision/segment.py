"""Customer segments: K-means with profiles, migration between two dates, and segments named by a condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import to_date
from propensity.decision.condition import LIFECYCLE, applicable, rows_where
from propensity.decision.context import DecisionContext
from propensity.decision.history import PurchaseHistory
from propensity.decision.kmeans import KMeansFit, adjusted_rand, assigned, fit_all, knee, lloyd, plus_plus
from propensity.decision.result import DecisionResult
from propensity.decision.rfm import LOGGED, PLAIN, CustomerTable, customer_table, feature_matrix
from propensity.decision.segment_name import components, segment_names
from propensity.decision.segment_picture import picture
from propensity.decision.segment_result import Clusters, Migration
from propensity.decision.table import aligned, read
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.rule.matching import rows_of
from propensity.kernel.customer import TENURE_CAP

REACH = 4.0  # standard deviations at which standardised features are clipped
TOP_OFFERS = 3  # named in a profile
MAINLY = 0.6  # share from which a customer belongs to a channel or to a value of an item column
NAMED = LIFECYCLE | {
    "specialist": "top_share >= 0.3 AND orders_364 >= 3",
    "cross_category": "penetration >= 0.3",
    "seasonal": "season_share >= 0.5 AND tenure >= 182",
    "deal_seeker": "discount_share >= 0.25",
    "private_label": "private_label_share >= 0.5",
}
RFM = "rfm"  # stands for the RFM features among `features`
BEST = {"revenue": "revenue_each", "value": "expected_each", "retention": "retention"}  # columns of profiles


class Standardisation(NamedTuple):
    """Mean and standard deviation (F,) of features at the date they were fitted."""

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = np.clip((x - self.mean) / self.deviation, -REACH, REACH).astype(np.float32)
        return scaled


def standardisation(features: np.ndarray) -> Standardisation:
    """Of features (n, F); a constant column keeps the scale 1."""
    deviation = features.std(axis=0)
    return Standardisation(features.mean(axis=0), np.where(deviation > 0, deviation, 1.0))


@dataclass
class Segment:
    """K-means segments of customers, and segments named by a condition.

    Parameters
    ----------
    k : int, optional
        Number of segments; None takes the knee of the inertia over 1 to `max_k`.
    max_k : int
        Largest k that is fitted.
    restarts : int
        Starts of each k, at least 10.
    states : str, optional
        Parquet or CSV with customer_id and columns of numbers, such as the network's customer states, to cluster
        instead of the RFM features.
    features : Sequence[str], optional
        Columns of numbers to cluster: features of the log, columns of the customers' table such as satisfaction,
        predicted value or uplift, and `rfm` for all RFM features. None: the RFM features.
    migration_days : int
        Days from the date whose segments are kept fixed to the cutoff, for migration.
    active_days : int
        Days within which a customer must have bought to take part in migration.
    shares : Mapping[str, str], optional
        Name to SQL condition on items; the column ``<name>_share`` of a customer is the share of a year's spend on
        them. None: ``<column>_<value>_share`` for each value of each text column of the items with 2 to 8 values. An
        empty mapping computes none.
    named : Mapping[str, str], optional
        Name to SQL condition on the customers' columns. None: `NAMED` without those that need a column which is not
        there, and for each share a segment ``mainly <share>`` of the customers with at least 60 % of their spend in it.
        An empty mapping names none.
    min_agreement : float
        Adjusted Rand index of fixed and fresh segments below which the result advises to fit again.
    max_inertia_ratio : float
        Inertia of the fixed segments over that of fresh ones above which it advises the same.

    Raises
    ------
    ConfigurationError
        If a setting is out of range, or a condition that was given cannot be applied.
    """

    k: int | None = None
    max_k: int = 15
    restarts: int = 10
    states: str | None = None
    features: Sequence[str] | None = None
    migration_days: int = 91
    active_days: int = 364
    shares: Mapping[str, str] | None = None
    named: Mapping[str, str] | None = None
    min_agreement: float = 0.6
    max_inertia_ratio: float = 1.1

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise ConfigurationError(f"decision.k={self.k} makes no segments; give 1 or more")
        for name, low in (("max_k", 1), ("restarts", 10), ("migration_days", 1), ("active_days", 1)):
            if getattr(self, name) < low:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} is too few; give {low} or more")
        if self.states is not None and self.features is not None:
            raise ConfigurationError("decision.states and decision.features both say what to cluster; give one of them")
        if self.features is not None and not self.features:
            raise ConfigurationError("decision.features=[] names no column; name some, or give null for RFM features")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        customers, row = self.customers(context)
        table = customers.table
        states = self.read_states(context, table)
        max_k = max(self.max_k, self.k or 1)
        if table.height < max_k:
            setting = "max_k" if max_k == self.max_k else "k"
            raise ConfigurationError(f"{table.height} customers cannot be {max_k} segments; lower decision.{setting}")
        table, chosen = self.chosen_features(context, table, row)
        features, names = feature_matrix(table if states is None else states, chosen)
        points = standardisation(features)(features)
        fits = fit_all(points, max_k, self.restarts, context.seed)
        curve = pl.DataFrame([(f.k, f.inertia, f.silhouette, f.stability) for f in fits], schema=CURVE, orient="row")
        fit = fits[(self.k or knee(curve["inertia"].to_numpy())) - 1]
        fit = by_spend(fit, table["spend_91"].to_numpy() if "spend_91" in table.columns else None)
        profiles = profile(context, table, row, fit, self.migration_days)
        profiles = profiles.insert_column(1, pl.Series("name", segment_names(centres_of(points, fit), names)))
        named, left_out = self.named_segments(customers)
        migration = None
        if context.history is not None and states is None and self.features is None:
            migration = migrate(context.history, self, fit.k, context.seed)
        clusters = Clusters(*components(points), names, centres_of(points, fit))
        return self.result(context, table, fit, curve, profiles, named, left_out, migration, clusters)

    def chosen_features(
        self, context: DecisionContext, table: pl.DataFrame, row: np.ndarray | None
    ) -> tuple[pl.DataFrame, list[str] | None]:
        """The table with the columns that `features` names, and their names; None where it names none."""
        if self.features is None:
            return table, None
        rfm = [name for name in (*LOGGED, *PLAIN) if name in table.columns]
        names = list(dict.fromkeys(each for name in self.features for each in (rfm if name == RFM else [name])))
        for name in names:
            if name not in table.columns:
                table = table.with_columns(attribute(context, table, row, name))
            if not (table[name].dtype.is_numeric() or table[name].dtype == pl.Boolean):
                raise ConfigurationError(
                    f"decision.features names {name}, which is a column of {table[name].dtype}; name columns of numbers"
                )
        return table, names

    def customers(self, context: DecisionContext) -> tuple[CustomerTable, np.ndarray | None]:
        """Features of the scored customers, and their rows of the log; without a log, the customers table."""
        if context.history is None:
            if context.customers is None:
                raise ConfigurationError("segments need the event log or a table of customers; give log= or customers=")
            return CustomerTable(np.empty(0, np.int64), context.customers, {}), None
        known = customer_table(context.history, self.shares)
        scored = rows_of(known.table["customer_id"], pl.Series(context.scores.customer)) >= 0
        table = known.table.filter(pl.Series(scored))
        return known._replace(row=known.row[scored], table=table), known.row[scored]

    def no_migration(self, context: DecisionContext) -> str:
        """Why there is no migration."""
        if self.states is not None or self.features is not None:
            return "no migration: it needs RFM features"
        if context.history is None:
            return "no migration: it needs the event log"
        return f"no migration: too few customers bought more than {self.migration_days} days before the cutoff"

    def read_states(self, context: DecisionContext, table: pl.DataFrame) -> pl.DataFrame | None:
        """The states of the customers, where a table of them is given."""
        if self.states is None:
            return None
        states = read(self.states, "decision.states")
        own = aligned(states, table["customer_id"].to_numpy(), self.states)
        lacking = pl.Series(rows_of(table["customer_id"], states["customer_id"]) < 0)
        if lacking.any():
            raise DataError(
                f"{self.states} lacks {lacking.sum():,} of {table.height:,} customers, such as "
                f"{own.filter(lacking)['customer_id'][0]}; write it again for {context.scores.cutoff}"
            )
        return own

    def named_segments(self, customers: CustomerTable) -> tuple[pl.DataFrame, list[str]]:
        """One boolean column per named segment, and the built-in ones that are left out, with what they need."""
        table = customers.table
        conditions, left_out = (self.named, []) if self.named is not None else applicable(NAMED, table.columns)
        masks = {name: rows_where(table, rule, f"decision.named.{name}") for name, rule in conditions.items()}
        mainly = dict(customers.share_labels) if self.named is None else {}
        mainly |= {name: name.removeprefix("channel_") for name in table.columns if name.startswith("channel_")}
        for column, label in mainly.items():
            mask = (table[column] >= MAINLY).fill_null(False).to_numpy()
            if mask.any():
                masks[f"mainly {label}"] = mask
        return pl.DataFrame({name: pl.Series(mask, dtype=pl.Boolean) for name, mask in masks.items()}), left_out

    def result(
        self,
        context: DecisionContext,
        table: pl.DataFrame,
        fit: KMeansFit,
        curve: pl.DataFrame,
        profiles: pl.DataFrame,
        named: pl.DataFrame,
        left_out: list[str],
        migration: Migration | None,
        clusters: Clusters,
    ) -> DecisionResult:
        lists = pl.DataFrame({"customer_id": table["customer_id"], "segment": fit.label + 1}).hstack(
            named.get_columns()
        )
        sizes = pl.DataFrame(
            {"named": named.columns, "customers": [int(column.sum()) for column in named]},
            schema={"named": pl.String, "customers": pl.Int64},
        )
        summary = {
            "decision": "segment",
            "consent": context.gate.summary(),
            "cutoff": context.scores.cutoff,
            "k": fit.k,
            "chosen_by": "decision.k" if self.k else "knee of the inertia",
            "features": clusters.features,
            "components": {"variance": clusters.variance.tolist(), "loadings": clusters.loadings().to_dicts()},
            "best": best_and_worst(profiles),
            "curve": curve.fill_nan(None).to_dicts(),
            "profiles": profiles.to_dicts(),
            "named": dict(sizes.iter_rows()),
            "named_left_out": left_out,
            "migration": None if migration is None else migration.summary(),
        }
        sentences = [*(sentence(row) for row in profiles.to_dicts()), *best_sentences(profiles)]
        if sizes.height:
            sentences.append("named segments: " + ", ".join(f"{name} {size:,}" for name, size in sizes.iter_rows()))
        if left_out:
            sentences.append(f"named segments left out, because customers lack a column: {', '.join(left_out)}")
        sentences += (
            [self.no_migration(context)]
            if migration is None
            else migration.sentences(self.min_agreement, self.max_inertia_ratio)
        )
        places = pl.DataFrame({"component_1": clusters.place[:, 0], "component_2": clusters.place[:, 1]})
        places = lists.select("customer_id", "segment").hstack(places)
        extra_tables = {"curve": curve, "profiles": profiles, "named": sizes, "clusters": places}
        if migration is not None:
            extra_tables["migration"] = migration.table
        columns = ("segment", "name", "customers", "share", "revenue_each", "expected_each", "retention")
        preview = profiles.select(c for c in columns if c in profiles.columns)
        draw = picture(curve, fit, profiles, migration, self.no_migration(context), clusters)
        return DecisionResult("segment", lists, sentences, preview, summary, draw, extra_tables)


def centres_of(points: np.ndarray, fit: KMeansFit) -> np.ndarray:
    """Means (k, F) of the standardised features (n, F) of each segment."""
    count = np.maximum(np.bincount(fit.label, minlength=fit.k), 1)
    sums = [np.bincount(fit.label, column.astype(np.float64), fit.k) for column in points.T]
    return np.stack(sums, axis=1) / count[:, None]


def attribute(context: DecisionContext, table: pl.DataFrame, row: np.ndarray | None, name: str) -> pl.Series:
    """A column of the customers' table, or of the customers of the log, for the rows of a table of features."""
    if context.customers is not None and name in context.customers.columns:
        place = rows_of(table["customer_id"], pl.Series(context.scores.customer))
        return context.customers[name].gather(place).alias(name)
    if context.history is not None and row is not None and name in context.history.log.customers.columns:
        return context.history.log.customers[name].gather(row).alias(name)
    near = [*table.columns, *([] if context.customers is None else context.customers.columns)]
    numbers = sorted({column for column in near if column != "customer_id"})
    raise ConfigurationError(
        f"decision.features names {name!r}, which customers do not have; name some of: {', '.join(numbers)}"
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


def profile(
    context: DecisionContext, table: pl.DataFrame, row: np.ndarray | None, fit: KMeansFit, days: int
) -> pl.DataFrame:
    """One row per segment: size, revenue of 91 days, recency, orders, offers that it buys more and less of than others,
    the revenue expected of it, and retention: the share of the customers known `days` ago who bought since."""
    rows = []
    index = {str(c): n for n, c in enumerate(context.scores.customer.tolist())}
    place = np.array([index[str(c)] for c in table["customer_id"]])
    expected = context.scores.revenue.sum(axis=1, dtype=float)[place]
    spend = None
    if row is not None and context.history is not None:
        spend = np.nan_to_num(context.history.pairs(row, context.scores.offer, "spend_182"))
    revenue = table["spend_91"].fill_null(0.0).to_numpy() if "spend_91" in table.columns else expected
    for c in range(fit.k):
        inside = fit.label == c
        values: dict[str, Any] = {
            "segment": c + 1,
            "customers": int(inside.sum()),
            "share": float(inside.mean()),
            "revenue": float(revenue[inside].sum()),
            "revenue_share": float(revenue[inside].sum() / max(revenue.sum(), 1e-9)),
            "revenue_each": float(revenue[inside].sum() / max(int(inside.sum()), 1)),
            "expected_revenue": float(expected[inside].sum()),
            "expected_each": float(expected[inside].sum() / max(int(inside.sum()), 1)),
        }
        if {"tenure", "recency"} <= {*table.columns}:
            values["retention"] = retention_of(table.filter(pl.Series(inside)), days)
        for name, column in (("recency", "recency"), ("orders", "orders_91"), ("tenure", "tenure")):
            if column in table.columns:
                values[name] = table[column].filter(pl.Series(inside)).median()
        if spend is not None:
            values |= typical_offers(spend, inside, context.scores.offer)
        rows.append(values)
    return pl.DataFrame(rows, infer_schema_length=None)


def retention_of(table: pl.DataFrame, days: int) -> float | None:
    """Share of the customers with a purchase more than `days` ago who bought since; None without any."""
    known = table.filter(pl.col("tenure") > min(days, TENURE_CAP - 1))
    return float((known["recency"] <= days).mean()) if known.height else None  # type: ignore[arg-type]


def best_and_worst(profiles: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The best and the worst segment by revenue, expected value and retention; what is not known is left out."""
    found = {}
    for name, column in BEST.items():
        known = profiles.drop_nulls(column) if column in profiles.columns else profiles.clear()
        if known.height:
            ranked = known.sort(column, "segment", descending=[True, False])
            ends = {"best": ranked[0], "worst": ranked[-1]}
            found[name] = {end: {"segment": r["segment"][0], "value": r[column][0]} for end, r in ends.items()}
    return found


def best_sentences(profiles: pl.DataFrame) -> list[str]:
    """The best and the worst segment in words; nothing for one segment."""
    if profiles.height < 2:
        return []
    written = {"revenue": "{:,.2f} a customer in 91 days", "value": "{:,.2f} expected", "retention": "{:.0%} came back"}
    parts = []
    for name, ends in best_and_worst(profiles).items():
        best, worst = (f"segment {e['segment']} ({written[name].format(e['value'])})" for e in ends.values())
        parts.append(f"by {name} best {best}, worst {worst}")
    return ["; ".join(parts)] if parts else []


def typical_offers(spend: np.ndarray, inside: np.ndarray, offer: tuple[str, ...]) -> dict[str, list[str]]:
    """The offers with the highest spend (favourite), and the highest (over) and lowest (under) share of spend relative
    to that of all customers."""
    own, total = spend[inside].sum(axis=0), spend.sum(axis=0)
    ratio = (own / max(own.sum(), 1e-9)) / np.maximum(total / max(total.sum(), 1e-9), 1e-12)
    common = np.argsort(-total, kind="stable")[: max(10, len(offer) // 2)]
    ranked = common[np.argsort(-ratio[common], kind="stable")]
    return {
        "favourite": [offer[m] for m in np.argsort(-own, kind="stable")[:TOP_OFFERS]],
        "over": [offer[m] for m in ranked[:TOP_OFFERS]],
        "under": [offer[m] for m in ranked[::-1][:TOP_OFFERS]],
    }


def sentence(row: Mapping[str, Any]) -> str:
    """A profile as a sentence."""
    name = f" ({row['name']})" if row.get("name") else ""
    text = f"segment {row['segment']}{name}: {row['customers']:,} customers ({row['share']:.0%}), "
    text += f"{row['revenue_share']:.0%} of the revenue, {row['revenue_each']:,.0f} a customer in 91 days"
    if row.get("recency") is not None:
        text += f"; median recency {row['recency']:,.0f} days"
    if row.get("orders") is not None:
        text += f", median orders in 91 days {row['orders']:,.0f}"
    if row.get("over"):
        text += f"; buys more {', '.join(row['over'])} and less {', '.join(row['under'])} than others"
    return text


def migrate(history: PurchaseHistory, settings: Segment, k: int, seed: int) -> Migration | None:
    """Segments fixed at the earlier date, followed to the later one; None if the log does not reach back."""
    earlier = history.at(history.day - settings.migration_days)
    if earlier.purchasers().size < max(k, 2):
        return None
    tables = [active(customer_table(one, {}).table, settings.active_days) for one in (earlier, history)]
    features = [feature_matrix(table)[0] for table in tables]
    scale = standardisation(features[0])
    first, second = (scale(x) for x in features)
    fixed = by_spend(best_of(first, k, settings.restarts, seed), tables[0]["spend_91"].to_numpy())
    later, inertia = assigned(second, fixed.centre)
    fresh = best_of(second, k, settings.restarts, seed)
    start, end = (frame_of(t, label) for t, label in zip(tables, (fixed.label, later), strict=True))
    joined = start.join(end, on="customer_id", how="full", coalesce=True, suffix="_after").with_columns(
        pl.col("segment").fill_null("new"), pl.col("segment_after").fill_null("left")
    )
    flows = joined.group_by(pl.col("segment").alias("from"), pl.col("segment_after").alias("to")).agg(
        customers=pl.len(), before=pl.col("spend_91").sum(), after=pl.col("spend_91_after").sum()
    )
    rand = adjusted_rand(later, fresh.label)
    dates = [to_date(day).isoformat() for day in (earlier.day, history.day)]
    return Migration(flows.sort("from", "to"), rand, inertia / max(fresh.inertia, 1e-9), *dates)


def active(table: pl.DataFrame, days: int) -> pl.DataFrame:
    """Customers who bought in the last so many days."""
    return table.filter(pl.col("recency") <= days)


def best_of(row: np.ndarray, k: int, restarts: int, seed: int) -> KMeansFit:
    """The best of some restarts on all rows."""
    random = np.random.default_rng(seed)
    best = min((lloyd(row, plus_plus(row, k, random)) for _ in range(restarts)), key=lambda fit: fit[2])
    return KMeansFit(*best, 1.0, float("nan"))


def frame_of(table: pl.DataFrame, label: np.ndarray) -> pl.DataFrame:
    names = pl.Series("segment", [str(c + 1) for c in label], dtype=pl.String)
    return table.select("customer_id", pl.col("spend_91").fill_null(0.0)).with_columns(names)
