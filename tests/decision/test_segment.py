"""Segments: K-means as defined, the choice of k, migration of customers, and segments named by conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from decision.known import context_with_history
from propensity.decision.context import DecisionContext
from propensity.decision.kmeans import adjusted_rand, assigned, fit_all, knee, lloyd, plus_plus, silhouette
from propensity.decision.rfm import customer_table, private_label
from propensity.decision.segment import Segment
from propensity.decision.segment_name import components, segment_names
from propensity.errors import ConfigurationError, DataError
from propensity.kernel.kmeans import assign, padded
from propensity.scores import Scores

NAMED = {"new": "tenure < 90", "active": "tenure >= 90 AND recency <= 28"}


def clouds(seed: int, k: int = 4, rows: int = 400, features: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    own = random.integers(0, k, rows)
    return (random.normal(0, 9, (k, features))[own] + random.normal(0, 0.3, (rows, features))).astype(np.float32), own


@pytest.mark.parametrize("k", [1, 7, 8, 11])
def test_one_pass_assigns_sums_and_measures_as_defined(k: int) -> None:
    random = np.random.default_rng(k)
    row, centre = random.normal(size=(57, 5)).astype(np.float32), random.normal(size=(k, 5)).astype(np.float32)
    label, total, count = np.empty(57, np.int64), np.empty((k, 5)), np.empty(k, np.int64)
    inertia = assign(row, padded(centre), label, total, count)
    square = ((row[:, None] - centre) ** 2).sum(axis=2)
    np.testing.assert_array_equal(label, square.argmin(axis=1))
    assert inertia == pytest.approx(square.min(axis=1).sum(), rel=1e-5)
    np.testing.assert_array_equal(count, np.bincount(label, minlength=k))
    for c in range(k):
        np.testing.assert_allclose(total[c], row[label == c].sum(axis=0), atol=1e-4)


def test_inertia_never_rises_with_k_and_true_clouds_are_found() -> None:
    row, own = clouds(3)
    fits = fit_all(row, max_k=8, restarts=10, seed=1)
    inertia = np.array([fit.inertia for fit in fits])
    assert (np.diff(inertia) <= 1e-6 * inertia[0]).all()
    assert knee(inertia) == 4
    assert adjusted_rand(fits[3].label, own) == 1.0 and fits[3].stability > 0.5
    assert int(np.nanargmax([fit.silhouette for fit in fits])) == 3


def test_an_iteration_never_raises_inertia_and_equal_rows_are_no_trouble() -> None:
    row, _ = clouds(5)
    start = plus_plus(row, 6, np.random.default_rng(0))
    steps = [lloyd(row, start, steps)[2] for steps in range(1, 8)]
    assert all(after <= before * (1 + 1e-6) for before, after in zip(steps, steps[1:], strict=False))
    same = fit_all(np.ones((40, 3), np.float32), max_k=3, restarts=10, seed=0)
    assert [fit.inertia for fit in same] == [0.0, 0.0, 0.0]


def test_agreement_and_silhouette_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    row, own = clouds(2, rows=150)
    other = np.random.default_rng(1).permutation(own)
    assert adjusted_rand(own, other) == pytest.approx(metrics.adjusted_rand_score(own, other))
    mixed = np.where(np.arange(150) % 3 == 0, other, own)
    assert adjusted_rand(own, mixed) == pytest.approx(metrics.adjusted_rand_score(own, mixed))
    assert silhouette(row, mixed, 0) == pytest.approx(metrics.silhouette_score(row, mixed), abs=1e-6)


def test_fixed_centres_send_a_row_where_a_fit_left_it() -> None:
    row, _ = clouds(8)
    centre, label, inertia = lloyd(row, plus_plus(row, 4, np.random.default_rng(0)))
    again, same = assigned(row, centre)
    np.testing.assert_array_equal(again, label)
    assert same == pytest.approx(inertia)


@pytest.fixture(scope="module")
def known() -> DecisionContext:
    return context_with_history(3, customers=160, days=20)


def decided(known: DecisionContext, **settings: Any) -> Any:
    usual: dict[str, Any] = {"max_k": 5, "named": NAMED, "shares": {"own": "brand = 'own'"}}
    return Segment(**usual | settings)(known)


def test_everybody_belongs_to_one_segment_and_the_profiles_add_up(known: DecisionContext) -> None:
    result = decided(known)
    assert result.table["customer_id"].to_list() == known.scores.customer.tolist()
    profiles = result.extra_tables["profiles"]
    assert profiles["customers"].sum() == known.scores.customer.size
    assert profiles["share"].sum() == pytest.approx(1.0) and profiles["revenue_share"].sum() == pytest.approx(1.0)
    assert profiles["revenue_each"].is_sorted(descending=True), "segments are numbered by what a customer brings"
    assert decided(known, k=2).table["segment"].n_unique() == 2


def test_migration_counts_everybody_once(known: DecisionContext) -> None:
    flows = decided(known, k=3).extra_tables["migration"]
    history = known.history
    assert history is not None
    then, now = (set(history.log.purchasers(day).tolist()) for day in (history.day - 91, history.day))
    recent = {
        day: customer_table(history.at(day), {}).table.filter(pl.col("recency") <= 364).height
        for day in (history.day - 91, history.day)
    }
    assert flows.filter(pl.col("from") != "new")["customers"].sum() == recent[history.day - 91] <= len(then)
    assert flows.filter(pl.col("to") != "left")["customers"].sum() == recent[history.day] <= len(now)


def test_named_segments_are_their_conditions(known: DecisionContext) -> None:
    result = decided(known)
    assert known.history is not None
    table = customer_table(known.history, {}).table
    assert result.table["new"].sum() == (table["tenure"] < 90).sum()
    assert result.summary["named"]["new"] == (table["tenure"] < 90).sum()


def test_behaviour_is_what_the_log_says(known: DecisionContext) -> None:
    history = known.history
    assert history is not None
    customers = customer_table(history, {"own": "brand = 'own'"})
    log = history.log
    for n in range(0, customers.row.size, 7):
        own = slice(log.offsets[customers.row[n]], log.offsets[customers.row[n] + 1])
        day, kind, item, paid = (np.asarray(c)[own] for c in (log.day, log.kind, log.item, log.revenue))
        bought = (kind == 0) & (day < history.day)
        year = bought & (day >= history.day - 364)
        assert customers.table["recency"][n] == history.day - day[bought].max()
        brand = np.array(log.items["brand"].to_list())[item]
        share = paid[year & (brand == "own")].sum() / max(paid[year].sum(), 0.01) if year.any() else None
        assert customers.table["own_share"][n] == (None if share is None else pytest.approx(share, rel=1e-5))


def test_states_of_a_model_make_segments_too(known: DecisionContext, tmp_path: Path) -> None:
    side = np.arange(known.scores.customer.size) % 2
    states = pl.DataFrame({"customer_id": known.scores.customer, "a": 5.0 * side, "b": -3.0 * side})
    states.write_parquet(tmp_path / "states.parquet")
    result = decided(known, k=2, states=str(tmp_path / "states.parquet"))
    assert adjusted_rand(result.table["segment"].to_numpy(), side) == 1.0
    assert result.sentences[-1] == "no migration: it needs RFM features"
    states[1:].write_parquet(tmp_path / "states.parquet")
    words = f"states.parquet lacks 1 of {side.size} customers, such as {states['customer_id'][0]}; write it again for"
    with pytest.raises(DataError, match=words):
        decided(known, k=2, states=str(tmp_path / "states.parquet"))


def test_without_a_log_the_customers_table_is_segmented_and_migration_unknown() -> None:
    random = np.random.default_rng(0)
    money = random.gamma(1.0, 2.0, (60, 2)).astype(np.float32)
    scores = Scores(np.arange(60), ("a", "b"), np.clip(money / 9, 0, 1), money, "2024-03-05", "test")
    table = pl.DataFrame(
        {"customer_id": [str(n) for n in range(60)], "spend_91": random.gamma(1, 9, 60), "recency": random.random(60)}
    )
    result = Segment(max_k=4)(DecisionContext(scores, customers=table))
    assert "no migration: it needs the event log" in result.sentences
    with pytest.raises(ConfigurationError, match="segments need the event log or a table of customers"):
        Segment(max_k=4)(DecisionContext(scores))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"k": 0}, "decision.k=0 makes no segments; give 1 or more"),
        ({"restarts": 3}, "decision.restarts=3 is too few; give 10 or more"),
        ({"max_k": 999}, "customers cannot be 999 segments; lower decision.max_k"),
        ({"k": 999}, "customers cannot be 999 segments; lower decision.k"),
        ({"named": {"x": "recency >"}}, r"decision.named.x \(recency >\) cannot be applied"),
        ({"named": {"x": "colour > 1"}}, r"decision.named.x \(colour > 1\) cannot be applied: unable to find column"),
        ({"shares": {"x": "colour = 'red'"}}, r"decision.shares.x \(colour = 'red'\) cannot be applied"),
        ({"states": "nowhere.parquet"}, "no decision.states at nowhere.parquet"),
    ],
)
def test_a_bad_request_is_one_sentence(known: DecisionContext, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        decided(known, **settings)


def test_any_column_of_numbers_of_the_customers_may_be_clustered(known: DecisionContext) -> None:
    size = known.scores.customer.size
    table = pl.DataFrame({"customer_id": [str(c) for c in known.scores.customer], "nps": np.arange(size) % 2 * 9.0})
    table = table.with_columns(nps=pl.when(pl.int_range(pl.len()) != 4).then("nps"), city=pl.lit("Rome"))
    context = known.changed(customers=table)
    result = decided(context, k=2, features=["nps"])
    side = np.arange(size) % 2
    assert adjusted_rand(result.table["segment"].to_numpy(), side) > 0.9
    assert set(result.extra_tables["profiles"]["name"]) == {"high nps", "low nps"}
    assert result.sentences[-1] == "no migration: it needs RFM features"
    both = decided(context, k=3, features=["rfm", "nps", "tenure"]).summary["features"]
    assert both[-2:] == ["nps", "tenure"] and "recency" in both
    with pytest.raises(ConfigurationError, match="names 'smile', which customers do not have; name some of: .*nps"):
        decided(context, features=["smile"])
    with pytest.raises(ConfigurationError, match="names city, which is a column of String; name columns of numbers"):
        decided(context, features=["city"])
    with pytest.raises(ConfigurationError, match="both say what to cluster"):
        decided(context, features=["nps"], states="x.parquet")


def test_clusters_are_shown_by_their_two_principal_components(known: DecisionContext) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    row, _ = clouds(4, rows=120)
    place, loading, share = components(row)
    theirs = decomposition.PCA(2).fit(row.astype(float))
    np.testing.assert_allclose(np.abs(place), np.abs(theirs.transform(row.astype(float))), atol=1e-4)
    np.testing.assert_allclose(share, theirs.explained_variance_ratio_, rtol=1e-5)
    assert (loading[np.abs(loading).argmax(axis=0), [0, 1]] > 0).all()
    one = components(row[:, :1])
    assert one[0].shape == (120, 2) and not one[0][:, 1].any() and one[2].tolist() == [pytest.approx(1.0), 0.0]
    points = decided(known).extra_tables["clusters"]
    assert points.columns == ["customer_id", "segment", "component_1", "component_2"]
    assert points.height == known.scores.customer.size


def test_segments_have_names_of_their_own_from_what_sets_them_apart() -> None:
    features = ["spend_91", "spend_28", "recency", "nps"]
    mean = np.array([[2.0, 1.9, -0.5, 0.0], [-1.0, -0.6, 1.4, 0.0], [0.1, 0.1, 0.1, 0.1]])
    assert segment_names(mean, features) == ["high spend, recent", "long inactive, low spend", "average"]
    close = np.array([[2.0, 0.0, -0.9, 0.5], [2.0, 0.0, -0.9, -0.5], [0.0] * 4, [0.0] * 4])
    assert segment_names(close, features) == [
        "high spend, recent, high nps",
        "high spend, recent, low nps",
        "average 1",
        "average 2",
    ]


def test_the_best_and_the_worst_segment_are_said(known: DecisionContext) -> None:
    result = decided(known, k=3)
    profiles, best = result.extra_tables["profiles"], result.summary["best"]
    assert set(best) == {"revenue", "value", "retention"}
    for name, column in (("revenue", "revenue_each"), ("value", "expected_each"), ("retention", "retention")):
        assert best[name]["best"]["value"] == profiles[column].max()
        assert best[name]["worst"]["value"] == profiles[column].min()
    assert any(each.startswith("by revenue best segment 1 ") for each in result.sentences)
    table = customer_table(known.history, {}).table  # type: ignore[arg-type]
    table = table.with_columns(segment=result.table["segment"])
    inside = table.filter((pl.col("segment") == 2) & (pl.col("tenure") > 91))
    assert profiles["retention"][1] == pytest.approx((inside["recency"] <= 91).mean())


def test_behaviour_is_segmented_by_default_where_the_log_allows_it(known: DecisionContext) -> None:
    result = decided(known, named=None, shares=None)
    names = {"new", "active", "dormant", "lapsed", "specialist", "cross_category", "seasonal", "deal_seeker"}
    assert names | {"private_label"} <= set(result.summary["named"])
    assert known.history is not None
    table = customer_table(known.history, None).table
    assert result.summary["named"]["private_label"] == (table["private_label_share"] >= 0.5).sum()
    assert table["private_label_share"].to_list() == table["brand_own_share"].to_list()


@pytest.mark.parametrize(
    ("columns", "own"),
    [
        ({"brand": ["Private", "National", None]}, [True, False, False]),
        ({"Store_Brand": [" own label", "x", "y"]}, [True, False, False]),
        ({"is_private_label": [True, None, False]}, [True, False, False]),
        ({"brand": ["Acme", "Bolt", None]}, None),
        ({"colour": ["own", "x", "y"]}, None),
    ],
)
def test_private_label_is_told_by_a_column_of_brands(columns: dict[str, Any], own: list[bool] | None) -> None:
    mask = private_label(pl.DataFrame({"item": ["a", "b", "c"], **columns}))
    assert mask is None if own is None else mask is not None and mask.tolist() == own
