"""The same rows are read the same from every format that a shop exports."""

from __future__ import annotations

import gzip
import zipfile
from datetime import date
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.build import build_log
from propensity.ingest.source import workbook
from propensity.ingest.source.table import Table

COLUMNS = {"customer": "who", "day": "when", "item": "sku", "quantity": "units", "revenue": "paid"}
ROWS: list[dict[str, Any]] = [
    {"who": f"c{k % 7}", "when": date(2024, 1, 1 + k % 28), "sku": f"s{k % 5}", "units": 1 + k % 3, "paid": k + 0.25}
    for k in range(40)
]
FRAME = pl.DataFrame(ROWS)
STYLES = (  # the second format of cells is a date
    '<fonts count="1"><font/></fonts><fills count="1"><fill/></fills><borders count="1"><border/></borders>'
    '<cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="2"><xf/><xf numFmtId="14" applyNumberFormat="1"/></cellXfs>'
)


def log_of(path: Path | str, columns: dict[str, str] | None = None, **settings: Any) -> EventLog:
    return build_log(Table(events=str(path), columns=COLUMNS | (columns or {}), **settings).load())


def write_workbook(path: Path, **sheets: pl.DataFrame) -> Path:
    """An Excel workbook with cells of numbers, inline text and serial dates."""
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"

    def cell(value: Any) -> str:
        if isinstance(value, date):
            return f'<c s="1"><v>{(value - date(1899, 12, 30)).days}</v></c>'
        if isinstance(value, int | float):
            return f"<c><v>{value}</v></c>"
        return "<c/>" if value is None else f'<c t="inlineStr"><is><t>{escape(str(value))}</t></is></c>'

    with zipfile.ZipFile(path, "w") as file:
        parts = "".join(f'<Override PartName="/xl/worksheets/sheet{k}.xml" ContentType="{kinds}.worksheet+xml"/>'
                        for k in range(1, len(sheets) + 1))  # fmt: skip
        file.writestr("[Content_Types].xml", f'{head}<Types xmlns="{package}/content-types"><Default Extension="rels" '
                      f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override '
                      f'PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/><Override '
                      f'PartName="/xl/styles.xml" ContentType="{kinds}.styles+xml"/>{parts}</Types>')  # fmt: skip
        file.writestr("_rels/.rels", f'{head}<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
                      f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>')  # fmt: skip
        names = "".join(f'<sheet name="{escape(name)}" sheetId="{k}" r:id="s{k}"/>' for k, name in enumerate(sheets, 1))
        file.writestr(
            "xl/workbook.xml",
            f'{head}<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{names}</sheets></workbook>',
        )
        links = "".join(
            f'<Relationship Id="s{k}" Type="{office}/worksheet" Target="worksheets/sheet{k}.xml"/>'
            for k in range(1, len(sheets) + 1)
        )
        links += f'<Relationship Id="st" Type="{office}/styles" Target="styles.xml"/>'
        relationships = f'{head}<Relationships xmlns="{package}/relationships">{links}</Relationships>'
        file.writestr("xl/_rels/workbook.xml.rels", relationships)
        file.writestr("xl/styles.xml", f'{head}<styleSheet xmlns="{main}">{STYLES}</styleSheet>')
        for k, frame in enumerate(sheets.values(), 1):
            lines = [frame.columns, *frame.iter_rows()] if frame.width else []
            rows = "".join(f"<row>{''.join(map(cell, line))}</row>" for line in lines)
            sheet = f'{head}<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>'
            file.writestr(f"xl/worksheets/sheet{k}.xml", sheet)
    return path


def packed(path: Path, text: str) -> None:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("sales.csv", text)
    else:
        path.write_text(text)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("plain") / "sales.csv"
    FRAME.write_csv(path)
    return log_of(path).fingerprint


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "csv.zip", "csv.zst"])
def test_text_is_read_the_same_packed_or_not(separator: str, ending: str, expected: str, tmp_path: Path) -> None:
    path, text = tmp_path / f"sales.{ending}", FRAME.write_csv(separator=separator)
    if ending == "csv.zst":
        FRAME.lazy().sink_csv(path, separator=separator, compression="zstd")
    else:
        packed(path, text)
    assert log_of(path).fingerprint == expected


def test_json_lines_and_parquet_with_dictionaries_decimals_and_enums_are_read_the_same(
    expected: str, tmp_path: Path
) -> None:
    FRAME.with_columns(pl.col("when").cast(pl.String)).write_ndjson(tmp_path / "sales.jsonl")
    typed = FRAME.with_columns(
        pl.col("who").cast(pl.Categorical), pl.col("sku").cast(pl.Enum([f"s{k}" for k in range(5)])),
        pl.Series("paid", [Decimal(f"{value:.2f}") for value in FRAME["paid"]], pl.Decimal(12, 2)),
        pl.col("units").cast(pl.UInt8),
    )  # fmt: skip
    typed.write_parquet(tmp_path / "sales.parquet")
    for name in ("sales.jsonl", "sales.parquet"):
        assert log_of(tmp_path / name).fingerprint == expected, name


@pytest.mark.parametrize("name", ["sales.jsonl", "sales.parquet"])
def test_fields_of_nested_structs_are_columns_by_their_path(name: str, expected: str, tmp_path: Path) -> None:
    nested = FRAME.select(
        pl.struct(pl.struct(id="who").alias("person"), pl.col("when").cast(pl.String)).alias("order"),
        pl.struct(sku="sku", price=pl.struct(total="paid")).alias("line"),
        pl.col("units"),
    )
    (nested.write_ndjson if name.endswith("l") else nested.write_parquet)(tmp_path / name)
    paths = {"customer": "order.person.id", "day": "order.when", "item": "line.sku", "revenue": "line.price.total"}
    assert log_of(tmp_path / name, paths).fingerprint == expected


def test_names_that_change_between_files_are_one_column(expected: str, tmp_path: Path) -> None:
    FRAME[:20].rename({"who": "Kunde", "paid": "Betrag"}).write_csv(tmp_path / "sales-1.csv")
    FRAME[20:].write_csv(tmp_path / "sales-2.csv")
    rename = {"Kunde": "who", "Betrag": "paid", "Montant": "paid"}
    assert log_of(tmp_path / "sales-*.csv", rename=rename).fingerprint == expected
    FRAME.with_columns(Kunde="who").write_csv(tmp_path / "sales-2.csv")
    with pytest.raises(DataError, match=r"sales-2.csv has two columns for who \(data.source.rename.Kunde\)"):
        log_of(tmp_path / "sales-*.csv", rename=rename)


def test_folders_of_partitions_are_columns_and_brackets_in_names_are_no_pattern(expected: str, tmp_path: Path) -> None:
    root = tmp_path / "export [2024] (final)"
    for (day,), rows in FRAME.partition_by("when", as_dict=True).items():
        folder = root / f"when={day}"
        folder.mkdir(parents=True)
        rows.drop("when").write_parquet(folder / "part [0].parquet")
    for pattern in ("when=*/*.parquet", "**/*.parquet", "when=*/part [0].parquet"):
        log = log_of(root / pattern)
        assert log.day.size == 40 and sorted(log.revenue.tolist()) == FRAME["paid"].to_list(), pattern
    FRAME.write_csv(root / "sales [1].csv")
    assert log_of(root / "sales [1].csv").fingerprint == expected


def test_a_workbook_is_read_as_a_file(expected: str, tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    path = write_workbook(tmp_path / "shop.xlsx", Orders=FRAME)
    assert log_of(path).fingerprint == expected
    assert log_of(f"{path}#Orders").fingerprint == expected


def test_a_workbook_of_several_sheets_needs_the_name_of_one(expected: str, tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    items = pl.DataFrame({"sku": [f"s{k}" for k in range(5)], "category": list("ababa")})
    path = write_workbook(tmp_path / "shop.xlsx", **{"Read me": pl.DataFrame(), "My orders": FRAME, "Items": items})
    with pytest.raises(ConfigurationError, match="has the sheets Read me, My orders, Items; name one, such as"):
        log_of(path)
    with pytest.raises(ConfigurationError, match="has no sheet 'Order'; its sheets are Read me, My orders, Items"):
        log_of(f"{path}#Order")
    assert log_of(f"{path}#My orders").fingerprint == expected
    log = log_of(f"{path}#My orders", items=f"{path}#Items")
    assert log.items["category"].to_list() == list("ababa")


def test_numbers_of_a_workbook_without_a_header_are_found_by_position(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    path = write_workbook(tmp_path / "shop.xlsx", Orders=FRAME)
    columns = {name: f"column_{k}" for k, name in enumerate(COLUMNS, 1)}
    log = log_of(path, columns, header=False, skip=1)
    assert log.day.size == 40


def test_a_workbook_that_cannot_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastexcel")
    (tmp_path / "broken.xlsx").write_bytes(b"PK no workbook")
    with pytest.raises(DataError, match=r"broken.xlsx cannot be read \(.*\); deliver it again"):
        log_of(tmp_path / "broken.xlsx")
    path = write_workbook(tmp_path / "shop.xlsx", Orders=FRAME)
    monkeypatch.setattr(workbook, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="too large for a workbook; save it as CSV"):
        log_of(path)
    monkeypatch.setattr(workbook.importlib, "import_module", _missing)
    with pytest.raises(ConfigurationError, match=r"pip install 'propensity\[excel\]', or save its sheet as CSV"):
        log_of(path)


def _missing(name: str) -> Any:
    raise ImportError(name)
