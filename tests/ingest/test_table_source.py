"""Laws of the table source: every row is accounted for, and every fault is one sentence with its exit code."""

from __future__ import annotations

import random
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest
from polars.testing import assert_frame_equal

from propensity.errors import ConfigurationError, DataError
from propensity.ingest.source import Settled, Tables
from propensity.ingest.source.table import Table

SHOP = {"customer": "who", "day": "when", "item": "sku", "quantity": "units", "revenue": "paid"}
ROWS = pl.DataFrame(
    {
        "who": ["007", "007", "007", "12", "31"],
        "when": ["2024-02-28", "2024-02-29", "2024-03-01", "2024-03-01", "2024-03-02"],
        "sku": ["milk", "bread", "milk", "soap", "milk"],
        "units": [2.0, 1.0, -1.0, 1.0, 3.0],
        "paid": [3.0, 2.5, -1.5, 4.0, 4.5],
        "aisle": ["dairy", "bakery", "cold", "care", "dairy"],
    }
)


def write(frame: pl.DataFrame, file: Path) -> str:
    frame.write_csv(file) if file.suffix == ".csv" else frame.write_parquet(file)
    return str(file)


def shop(file: str, **settings: Any) -> Table:
    columns = {**SHOP, **settings.pop("columns", {})}
    return Table(**{"events": file, "columns": columns, **settings})


def load(folder: Path, frame: pl.DataFrame, **settings: Any) -> tuple[Tables, pl.DataFrame]:
    tables = shop(write(frame, folder / "sales.parquet"), **settings).load()
    return tables, settled(tables).accepted


def screened(tables: Tables) -> pl.DataFrame:
    return tables.screen(tables.events).collect()


def settled(tables: Tables) -> Settled:
    rows = screened(tables)
    return tables.settle(rows.filter(pl.col("reason").is_null()).drop("reason"))


def broken(tables: Tables) -> dict[str, int]:
    """Number of rows by rule."""
    outcome = settled(tables)
    alone = screened(tables)["reason"].drop_nulls()
    reasons = pl.concat([alone, outcome.quarantined["reason"]]) if outcome.quarantined.height else alone
    return dict(reasons.value_counts().sort("reason").iter_rows()) | outcome.merged


def conserved(tables: Tables) -> bool:
    outcome = settled(tables)
    return screened(tables).height == outcome.accepted.height + sum(broken(tables).values())


def test_csv_and_parquet_give_the_same_events(tmp_path: Path) -> None:
    text, binary = (shop(write(ROWS, tmp_path / f"sales.{kind}")).load() for kind in ("csv", "parquet"))
    names = cs.exclude("file", cs.starts_with("raw."))
    assert_frame_equal(*(screened(tables).select(names) for tables in (text, binary)))
    events = settled(text).accepted
    assert events["customer"].to_list() == ["007", "007", "007", "12", "31"]
    assert events["kind"].to_list() == ["purchase", "purchase", "return", "purchase", "purchase"]
    assert events["row"].to_list() == [1, 2, 3, 4, 5] and broken(text) == {}


def test_a_pattern_reads_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(ROWS[3:], tmp_path / "b.csv"), write(ROWS[:3], tmp_path / "a.csv")
    whole = shop(write(ROWS, tmp_path / "whole.parquet")).load()
    parts = shop(str(tmp_path / "?.csv")).load()
    names = cs.exclude("file", "row", cs.starts_with("raw."))
    assert_frame_equal(*(screened(tables).select(names) for tables in (parts, whole)))
    assert screened(parts)["row"].to_list() == [1, 2, 3, 1, 2]


@pytest.mark.parametrize("seed", range(3))
def test_every_row_is_used_or_counted_once(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    cells: dict[str, list[Any]] = {
        "who": ["1", "2", "", None],
        "when": ["2024-01-05", "20240106", "yesterday", "2024-02-30", None],
        "sku": ["milk", "bread", " ", None],
        "units": ["1", "2.5", "0", "-1", "many", "inf", None],
        "paid": ["3.2", "-1", "nan", "free", "inf", None],
        "sort": ["purchase", "Return", "view", "message", "gift", None],
        "id": ["a", "b", "c", "d", None],
    }
    rows = pl.DataFrame(
        [{name: draw.choice(values) for name, values in cells.items()} for _ in range(2000)], list(cells)
    )
    for mapped in ({}, {"kind": "sort"}, {"event_id": "id"}, {"kind": "sort", "event_id": "id"}):
        tables = shop(write(rows, tmp_path / "sales.csv"), columns=mapped).load()
        accepted = settled(tables).accepted
        assert conserved(tables) and screened(tables).height == 2000 and accepted.height > 0
        assert (
            accepted.select(pl.col("customer", "day", "kind", "quantity", "revenue").is_null().any()).row(0)
            == (False,) * 5
        )
        assert accepted.select(pl.col("quantity", "revenue").is_finite().all()).row(0) == (True, True)
        sign = {
            "purchase": accepted["quantity"] > 0,
            "return": (accepted["quantity"] <= 0) & (accepted["revenue"] <= 0),
        }
        for kind, right in sign.items():
            assert right.filter(accepted["kind"] == kind).all()
        items = accepted.filter(pl.col("kind").is_in(["purchase", "return", "view"]))["item"]
        assert items.null_count() == 0


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("who", "", "customer_missing"),
        ("when", "2024-13-01", "day_unreadable"),
        ("when", None, "day_missing"),
        ("when", "1900-01-01", "day_sentinel"),
        ("when", "1970-01-01", "day_sentinel"),
        ("when", "9999-12-31", "day_sentinel"),
        ("when", "2098-01-01", "day_in_future"),
        ("sku", None, "item_missing"),
        ("units", float("nan"), "quantity_unreadable"),
        ("units", None, "quantity_unreadable"),
        ("units", 0.0, "quantity_zero"),
        ("paid", float("inf"), "revenue_unreadable"),
        ("paid", None, "revenue_unreadable"),
        ("paid", -2.0, "price_negative"),
        ("units", 1e6, "line_in_bulk"),
    ],
)
def test_a_row_is_counted_under_the_rule_it_breaks(tmp_path: Path, column: str, value: Any, rule: str) -> None:
    corrupted = pl.concat([ROWS[:4], ROWS[4:].with_columns(pl.lit(value, ROWS.schema[column]).alias(column))])
    tables, accepted = load(tmp_path, corrupted)
    assert broken(tables) == {rule: 1}
    assert accepted.height == 4
    aside = screened(tables).filter(pl.col("reason").is_not_null())
    assert aside.select("row", "reason").rows() == [(5, rule)] and aside["file"][0].endswith("sales.parquet")


@pytest.mark.parametrize(
    "days",
    [
        pl.Series([date(2024, 2, 29)]),
        pl.Series([datetime(2024, 2, 29, 23, 59)]),
        pl.Series([datetime(2024, 2, 29, 23, 59)]).dt.replace_time_zone("America/New_York"),
        pl.Series([20240229]),
        pl.Series([20240229.0]),
        pl.Series(["20240229"]),
        pl.Series(["2024-02-29"]),
        pl.Series(["2024-02-29T23:59:00Z"]),
        pl.Series(["2024-02-29 23:59:00"]),
    ],
)
def test_a_day_is_the_date_as_written(tmp_path: Path, days: pl.Series) -> None:
    _, accepted = load(tmp_path, ROWS[:1].with_columns(days.alias("when")))
    assert accepted["day"].to_list() == [date(2024, 2, 29)]


def test_a_day_format_reads_other_dates(tmp_path: Path) -> None:
    _, accepted = load(tmp_path, ROWS[:1].with_columns(when=pl.lit("2/29/2024")), day_format="%m/%d/%Y")
    assert accepted["day"].to_list() == [date(2024, 2, 29)]


def test_a_readable_row_that_is_delivered_again_replaces_the_earlier_one(tmp_path: Path) -> None:
    again = ROWS.with_columns(
        id=pl.Series(["a", "a", "b", "b", None]),
        who=pl.Series(["7", "7", "7", "7", "8"]),
        units=pl.Series([1.0, 5.0, 2.0, float("nan"), 1.0]),
        paid=pl.lit(1.0),
    )
    tables, accepted = load(tmp_path, again, columns={"event_id": "id"})
    assert accepted["quantity"].to_list() == [5.0, 2.0, 1.0]
    assert broken(tables) == {"quantity_unreadable": 1, "event_again": 1}
    assert conserved(tables)


def test_a_unit_price_becomes_the_total_of_the_line(tmp_path: Path) -> None:
    _, accepted = load(tmp_path, ROWS, revenue_is="unit")
    assert accepted["revenue"].to_list() == [6.0, 2.5, -1.5, 4.0, 13.5]


def test_without_quantity_and_revenue_a_line_is_one_unit_of_revenue_one(tmp_path: Path) -> None:
    _, accepted = load(tmp_path, ROWS, columns={"quantity": None, "revenue": None})
    assert accepted.select("quantity", "revenue", "kind").unique().row(0) == (1.0, 1.0, "purchase")


def test_the_earliest_day_describes_an_item_that_has_no_table(tmp_path: Path) -> None:
    tables, _ = load(tmp_path, ROWS[::-1], item_columns=["aisle"])
    assert tables.items is not None
    items = tables.items.collect()
    assert dict(items.select("item", "aisle").iter_rows()) == {"milk": "dairy", "bread": "bakery", "soap": "care"}
    assert dict(items.select("item", "?known").iter_rows())["milk"] == date(2024, 2, 28)


def test_attribute_tables_are_matched_by_the_ids_of_the_events(tmp_path: Path) -> None:
    goods = write(pl.DataFrame({"code": ["milk", "tea"], "price": [1.5, 4.0]}), tmp_path / "goods.csv")
    people = write(pl.DataFrame({"who": ["007", "99"], "city": ["Rome", "Oslo"]}), tmp_path / "people.csv")
    tables, _ = load(tmp_path, ROWS, items=goods, item_key="code", customers=people)
    assert tables.items is not None and tables.customers is not None
    assert tables.items.collect().to_dict(as_series=False) == {"item": ["milk", "tea"], "price": [1.5, 4.0]}
    assert tables.customers.collect().to_dict(as_series=False) == {"customer": ["007", "99"], "city": ["Rome", "Oslo"]}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"columns": {"customer": "whom"}},
            "data.source.columns.customer=whom is not a column of .*; the closest of its 6 columns is 'who'",
        ),
        (
            {"columns": {"quantity": "Unit"}},
            "data.source.columns.quantity=Unit is not a column of .*; the closest of its 6 columns is 'units'",
        ),
        ({"columns": {"costumer": "who"}}, "data.source.columns has no key 'costumer'; the closest key is 'customer'"),
        ({"columns": {"day": None}}, "data.source.columns.day is null; set it to the name of the column"),
        (
            {"item_columns": ["aisles"]},
            "data.source.item_columns=aisles is not a column of .*; the closest of its 6 columns is 'aisle'",
        ),
        ({"events": "gone.csv"}, "data.source.events=gone.csv matches no file; correct the path"),
        ({"events": "."}, "data.source.events=. is a folder; use a pattern such as"),
        ({"items": "gone.csv"}, "data.source.items=gone.csv matches no file"),
        ({"items": "goods.csv", "item_columns": ["aisle"]}, "data.source.items describe the same; remove one"),
        (
            {"revenue_is": "list"},
            "data.source.revenue_is=list is unknown; use net or total or gross or unit or net_unit",
        ),
    ],
)
def test_an_invalid_setting_is_a_configuration_error(tmp_path: Path, settings: Any, words: str) -> None:
    file = write(ROWS, tmp_path / "sales.csv")
    with pytest.raises(ConfigurationError, match=words) as caught:
        shop(file, **settings).load()
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def spoil(file: Path, how: str) -> None:
    """Write a damaged delivery to `file`."""
    write(ROWS.head(0) if how == "header only" else pl.concat([ROWS] * 500), file)
    whole = file.read_bytes()
    if how == "empty":
        file.write_bytes(b"")
    elif how == "truncated":
        file.write_bytes(whole[: len(whole) // 2])
    elif how == "damaged":
        file.write_bytes(whole[:100] + b"\xff\xfe\x00" * 30 + whole[190:])


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("sales.csv", "empty", "sales.csv is empty \\(0 bytes\\); deliver it again"),
        ("sales.parquet", "empty", "sales.parquet is empty \\(0 bytes\\); deliver it again"),
        ("sales.csv", "header only", "sales.csv has no rows; deliver it again"),
        ("sales.parquet", "header only", "sales.parquet has no rows; deliver it again"),
        ("sales.parquet", "truncated", "sales.parquet cannot be read \\(.+\\); deliver it again"),
        ("sales.parquet", "damaged", "sales.parquet cannot be read \\(.+\\); deliver it again"),
        ("sales.csv", "damaged", "sales.csv cannot be read \\(.+\\); deliver it again"),
    ],
)
def test_a_delivery_that_cannot_be_read_is_a_data_error(tmp_path: Path, name: str, how: str, words: str) -> None:
    spoil(tmp_path / name, how)
    with pytest.raises(DataError, match=words) as caught:
        shop(str(tmp_path / name)).load()
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)


def test_every_row_of_ta_feng_is_accounted_for() -> None:
    file = Path(__file__).parents[3] / "shared/data/ta_feng/transactions.parquet"
    if not file.is_file():
        pytest.skip("the Ta-Feng transactions are not beside the repository, in ../shared/data/ta_feng")
    names = {"customer": "customer_id", "day": "transaction_dt", "item": "product_id"}
    columns: dict[str, str | None] = {**names, "quantity": "amount", "revenue": "sales_price"}
    tables = Table(str(file), columns, item_columns=["product_subclass"], customer_columns=["age_group"]).load()
    assert conserved(tables) and screened(tables).height == 817_741 and broken(tables) == {}
    assert tables.items is not None and tables.customers is not None
    assert tables.items.select(pl.len()).collect().item() == 23_812
    assert tables.customers.select(pl.len()).collect().item() == 32_266


def test_rows_are_read_in_a_stream(tmp_path: Path) -> None:
    """Every step of the query plan streams, so memory does not grow with the rows."""
    rows = ROWS.with_columns(what=pl.lit("Sale"), money=pl.lit("EUR"))
    write(rows, tmp_path / "a.parquet")
    write(rows.with_columns(pl.col("who") + "0"), tmp_path / "b.parquet")
    columns = {"kind": "what", "currency": "money"}
    tables = shop(str(tmp_path / "*.parquet"), columns=columns, kinds={"sale": "purchase"}, rates={"EUR": 2.0}).load()
    plan = tables.screen(tables.events).show_graph(plan_stage="physical", engine="streaming", raw_output=True)
    assert plan is not None and plan.count("multi-scan") == 2
    steps = plan.partition("fallback>")[2]  # below the legend
    assert steps and not [step for step in ("columnar", "in-memory", "multiplexer") if step in steps]
    assert settled(tables).accepted["revenue"].sum() == pytest.approx(2 * 2 * rows["paid"].sum())
