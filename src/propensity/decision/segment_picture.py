"""Pictures of segments: their migration, the clusters and what sets them apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from propensity.decision.kmeans import KMeansFit
from propensity.decision.picture import BLUE, COLOURS, INK, MARKS, ORANGE, short
from propensity.decision.segment_result import Clusters, Migration

LEGEND = 8  # segments up to which a legend names them
APART = 12  # features that the picture compares
POINTS = 4_000  # customers that the picture of the clusters shows at most


def picture(
    curve: pl.DataFrame,
    fit: KMeansFit,
    profiles: pl.DataFrame,
    migration: Migration | None,
    no_migration: str,
    clusters: Clusters,
) -> Any:
    def draw(figure: Any) -> None:
        (first, second), (third, fourth), (fifth, sixth) = figure.subplots(3, 2)
        figure.set_size_inches(9, 10.5)
        first.plot(curve["k"], curve["inertia"], "o-", color=BLUE)
        first.axvline(fit.k, color=INK, ls=":", label=f"{fit.k} segments")
        first.set(xlabel="segments", ylabel="inertia", title="Inertia by number of segments", ylim=0)
        first.legend()
        second.plot(curve["k"], curve["silhouette"], "s-", color=BLUE, label="silhouette")
        second.plot(curve["k"], curve["stability"], "^--", color=ORANGE, label="stability over restarts")
        second.set(xlabel="segments", ylim=(0, 1.02), title="Silhouette and stability")
        second.legend()
        points(third, fit, profiles, clusters)
        apart(fourth, clusters)
        names = [f"{row['segment']}" for row in profiles.to_dicts()]
        place = np.arange(len(names))
        fifth.bar(place - 0.2, profiles["share"] * 100, 0.4, color="#b8bcc4", label="% of customers")
        fifth.bar(place + 0.2, profiles["revenue_share"] * 100, 0.4, color=BLUE, label="% of revenue, 91 days")
        fifth.set_xticks(place, names)
        fifth.set(xlabel="segment", title="Customers and revenue by segment")
        fifth.legend()
        heat(sixth, migration, no_migration)

    return draw


def points(axes: Any, fit: KMeansFit, profiles: pl.DataFrame, clusters: Clusters) -> None:
    """Customers in the two components, by segment; a sample of a large number."""
    shown = np.random.default_rng(0).permutation(fit.label.size)[:POINTS]
    for c, row in enumerate(profiles.to_dicts()):
        own = shown[fit.label[shown] == c]
        style = {"color": COLOURS[c % len(COLOURS)], "marker": MARKS[c % len(MARKS)], "alpha": 0.55, "linewidths": 0}
        label = f"{row['segment']}: {short(row['name'], 34)}"
        axes.scatter(clusters.place[own, 0], clusters.place[own, 1], s=9, label=label, **style)
    for c in range(fit.k):
        middle = clusters.place[fit.label == c].mean(axis=0) if (fit.label == c).any() else np.zeros(2)
        axes.annotate(str(c + 1), middle, ha="center", va="center", fontsize=9, fontweight="bold", color="black")
    share = clusters.variance
    axes.set(
        xlabel=f"first component, {share[0]:.0%} of the variance",
        ylabel=f"second component, {share[1]:.0%}",
        title="Customers by segment",
    )
    if fit.k <= LEGEND:
        axes.set_ylim(top=axes.get_ylim()[1] + (0.08 * fit.k + 0.05) * np.ptp(axes.get_ylim()))
        axes.legend(fontsize=7, loc="upper left", handletextpad=0.2)


def apart(axes: Any, clusters: Clusters) -> None:
    """Means of the features by segment, in standard deviations from all customers: the most different features."""
    spread = np.ptp(clusters.mean, axis=0)
    rows = np.argsort(-spread, kind="stable")[:APART]
    axes.imshow(clusters.mean[:, rows].T, cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto")
    axes.grid(False)
    axes.set_yticks(range(rows.size), [short(clusters.features[f].replace("_", " "), 22) for f in rows])
    axes.set_xticks(range(clusters.mean.shape[0]), [str(c + 1) for c in range(clusters.mean.shape[0])])
    axes.set(xlabel="segment", title="What sets the segments apart")
    for i, f in enumerate(rows):
        for c in range(clusters.mean.shape[0]):
            shade = "white" if abs(clusters.mean[c, f]) > 1.2 else "black"
            axes.text(c, i, f"{clusters.mean[c, f]:+.1f}", ha="center", va="center", color=shade, fontsize=7)


def heat(axes: Any, migration: Migration | None, no_migration: str) -> None:
    """Customers by segment at both dates, shaded by the share of their segment at the first."""
    if migration is None:
        axes.axis("off")
        axes.text(0.5, 0.5, no_migration, ha="center")
        return
    rows = sorted(migration.table["from"].unique(), key=lambda n: (n == "new", n.zfill(3)))
    columns = sorted(migration.table["to"].unique(), key=lambda n: (n == "left", n.zfill(3)))
    count = np.zeros((len(rows), len(columns)))
    for row in migration.table.to_dicts():
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
        xlabel=f"segment on {migration.end}",
        ylabel=f"on {migration.start}",
        title="Migration: customers, shaded by share of the row",
    )
