"""Files of any common layout are read as the same events, or refused in words."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.build import prepare
from propensity.ingest.source.suggestion import suggest
from propensity.ingest.source.table import Table

COLUMNS = {"customer": "who", "day": "when", "item": "sku", "revenue": "paid"}
TEXT = "who,when,sku,paid\nanna,2024-03-01,milk,2.5\nbert,2024-03-02,soap,4\nanna,2024-03-03,tea,1\n"


def log_of(folder: Path, events: str = "sales.csv", columns: dict[str, str] | None = None, **more: Any) -> EventLog:
    return prepare(Table(events, {**COLUMNS, **(columns or {})}, folder=str(folder), **more), folder / "log")


def is_whole(log: EventLog) -> bool:
    revenue: list[float] = log.revenue.tolist()
    return revenue == [2.5, 1, 4] and log.meta["rows"]["in"] == 3 and log.customer_id.tolist() == ["anna", "bert"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["sales.csv", "SALES.CSV", "sales.tsv", "Sales.Txt"])
def test_the_separator_is_detected(separator: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TEXT.replace(",", separator))
    assert is_whole(log_of(tmp_path, name))


@pytest.mark.parametrize("setting", ["\t", "tab", "\\t"])
def test_a_tab_has_three_spellings(setting: str, tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(TEXT.replace(",", "\t"))
    assert is_whole(log_of(tmp_path, separator=setting))


@pytest.mark.parametrize("setting", ["||", "", "é", '"'])
def test_a_separator_of_another_kind_is_a_setting_that_is_wrong(setting: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"data.source.separator=.* is not one character"):
        log_of(tmp_path, separator=setting)


def test_decimal_commas_do_not_hide_the_semicolons(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("sep=;\n" + TEXT.replace(",", ";").replace(".", ","))
    assert is_whole(log_of(tmp_path))
    (tmp_path / "sales.csv").write_text(TEXT.replace(",", ";").replace(".", ",") + "anna;2024-03-03\n")
    log = log_of(tmp_path)
    assert log.revenue.tolist() == [2.5, 1, 4] and log.meta["rows"]["quarantined"] == {"line_ragged": 1}


def test_tables_beside_the_events_have_separators_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(TEXT.replace(",", "\t"))
    (tmp_path / "goods.csv").write_text("sku;aisle;size\nmilk;dairy;1\nsoap;care;2\n")
    log = log_of(tmp_path, items="goods.csv")
    assert log.items.select("aisle", "size").rows() == [("dairy", 1), ("care", 2), (None, None)]


def test_files_without_a_header_are_read_by_position(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(TEXT.split("\n", 1)[1] + "bert,2024-03-02\n")
    positions = {name: f"column_{k}" for k, name in enumerate(COLUMNS, 1)}
    log = log_of(tmp_path, columns=positions, header=False)
    assert log.revenue.tolist() == [2.5, 1, 4] and log.meta["rows"]["quarantined"] == {"line_ragged": 1}
    assert log_of(tmp_path, columns=positions).revenue.tolist() == [2.5, 1, 4]
    with pytest.raises(ConfigurationError, match="who is not a column of .*, which has no header; map column_1 to col"):
        log_of(tmp_path)


def test_lines_above_the_header_are_skipped_and_shown(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("Sales report\nGenerated today\n\n" + TEXT)
    log = log_of(tmp_path)
    assert is_whole(log) and is_whole(log_of(tmp_path, skip=3))
    formats = {each["what"]: each for each in log.meta["formats"]}
    assert formats["skip"]["value"] == "3" and "'Sales report'" in formats["skip"]["evidence"]
    with pytest.raises(DataError, match="has 7 lines, fewer than data.source.skip=7 leaves out; lower it"):
        log_of(tmp_path, skip=7)


def test_compressed_files_and_lines_that_end_with_cr_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sales.csv.zip", "w") as archive:
        archive.writestr("export.csv", TEXT)
    (tmp_path / "sales.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "sales.csv").write_bytes(TEXT.replace("\n", "\r").encode())
    assert all(is_whole(log_of(tmp_path, name)) for name in ("sales.csv.zip", "sales.csv.gz", "sales.csv"))
    with zipfile.ZipFile(tmp_path / "sales.csv.zip", "a") as archive:
        archive.writestr("more.csv", TEXT)
    with pytest.raises(DataError, match=r"sales.csv.zip holds 2 files; deliver an archive of one"):
        log_of(tmp_path, "sales.csv.zip")


def test_json_lines_are_read(tmp_path: Path) -> None:
    pl.read_csv(TEXT.encode()).write_ndjson(tmp_path / "sales.jsonl")
    assert is_whole(log_of(tmp_path, "sales.jsonl"))


def test_a_damaged_workbook_is_named(tmp_path: Path) -> None:
    (tmp_path / "sales.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match="sales.xlsx cannot be read .*; deliver it again"):
        log_of(tmp_path, "sales.xlsx")


def test_dictionary_columns_are_text(tmp_path: Path) -> None:
    frame = pl.read_csv(TEXT.encode(), infer_schema=False)
    frame.with_columns(pl.all().cast(pl.Categorical)).write_parquet(tmp_path / "sales.parquet")
    assert is_whole(log_of(tmp_path, "sales.parquet"))


def test_an_amount_alone_is_drafted_as_money_and_the_draft_names_every_column_it_must(tmp_path: Path) -> None:
    (tmp_path / "till.csv").write_text("card,date,till_no,sku,amount,delivered\na,2024-03-01,7,milk,1.00,2024-03-02\n")
    draft = suggest(str(tmp_path / "till.csv"))
    for part in ("revenue='amount'", "order='till_no'", "available_at='delivered'", "customer='card'", "item='sku'"):
        assert f"data.source.columns.{part}" in draft
    assert "columns.quantity" not in draft
    (tmp_path / "visits.csv").write_text("card,date\na,2024-03-01\n")
    draft = suggest(str(tmp_path / "visits.csv"))
    assert "columns.item=null" in draft and "columns.revenue=null" in draft
    assert "# revenue: no column of" in draft and "revenue counts units, not money" in draft


def test_a_draft_finds_the_unit_price_by_arithmetic(tmp_path: Path) -> None:
    lines = "".join(f"a,2024-03-01,i{k},{k},{k + 0.5},{k * (k + 0.5)}\n" for k in range(1, 9))
    (tmp_path / "sales.csv").write_text(f"card,date,sku,units,price,line\n{lines}")
    assert "# line is units x price: add data.source.revenue_is=unit" in suggest(str(tmp_path / "sales.csv"))
    (tmp_path / "sales.csv").write_text(f"card,date,sku,units,price,line\n{lines.replace('.5', '.7')}")
    assert "is units x price" not in suggest(str(tmp_path / "sales.csv"))


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_folder_names_are_columns(suffix: str, tmp_path: Path) -> None:
    rows = pl.read_csv(TEXT.encode())
    for k, (day, part) in enumerate(rows.group_by("when")):
        place = tmp_path / f"sales/when={day[0]}/shop=a%20{k % 2}"
        place.mkdir(parents=True)
        getattr(part.drop("when"), f"write_{suffix}")(place / f"part.{suffix}")
    log = log_of(tmp_path, f"sales/**/*.{suffix}", {"channel": "shop"})
    assert is_whole(log) and log.meta["channels"] == ["a 0", "a 1"]
    for shop in "xy":
        place = tmp_path / f"other/when=2024-03-01/shop={shop}"
        place.mkdir(parents=True)
        (place / "part.csv").write_text("who,sku,paid\nanna,milk,2\n")
    assert log_of(tmp_path, "other/**/*.csv", {"channel": "shop"}).meta["rows"]["used"] == 2
    with pytest.raises(ConfigurationError, match=rf"sales is a folder; use a pattern such as .*sales/\*\*/\*.{suffix}"):
        log_of(tmp_path, "sales")
