"""A compressed file or a spreadsheet is refused before it fills memory or disk."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import polars as pl
import pytest

from propensity.errors import DataError
from propensity.ingest.source import unfold
from propensity.ingest.source.delivery import open_file
from propensity.ingest.source.unfold import check_unfolded

SALES = b"who,when,sku,paid\n" + b"".join(b"c%d,2024-01-01,i%d,%d\n" % (k, k * k % 97, k % 13) for k in range(20_000))


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfold, "FREE_BYTES", 1 << 20)


def zipped(path: Path, text: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", text)
    return path


def gzipped(path: Path, text: bytes) -> Path:
    path.write_bytes(gzip.compress(text))
    return path


def zstandard(path: Path, text: bytes) -> Path:
    """Written by Polars as a table of one text column without quotes."""
    lines = pl.DataFrame({"line": text.decode().splitlines()})
    plain = path.with_suffix("")
    lines.write_csv(plain, include_header=False, quote_style="never")
    frame = pl.scan_csv(plain, has_header=False, separator="\x1f", quote_char=None)
    frame.sink_csv(path, include_header=False, quote_style="never", separator="\x1f", compression="zstd")
    return path


@pytest.mark.parametrize(("name", "pack"), [("a.csv.gz", gzipped), ("a.csv.zip", zipped), ("a.csv.zst", zstandard)])
def test_a_file_that_unfolds_without_measure_is_refused_and_sales_are_read(
    tmp_path: Path, name: str, pack: object
) -> None:
    assert callable(pack)
    assert open_file(pack(tmp_path / name, SALES)).frame.collect().height == 20_000
    bomb = pack(tmp_path / f"bomb-{name}", b"who,when,sku,paid\n" + (b"a" * 999 + b"\n") * 60_000)
    with pytest.raises(DataError, match="unfolds to more than .* MiB"):
        open_file(bomb)


def test_a_spreadsheet_is_bounded_and_its_own_statement_is_not_believed(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "a.xlsx", b"0" * (30 << 20))
    with pytest.raises(DataError, match="unfolds to more than"):
        check_unfolded(bomb)
    data = bytearray(bomb.read_bytes())
    place = data.rfind(b"PK\x01\x02")
    data[place + 24 : place + 28] = (10).to_bytes(4, "little")  # the size after unpacking, in the directory
    bomb.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.xlsx (cannot be read|unfolds)"):
        check_unfolded(bomb)


def test_many_parts_and_damaged_archives_are_data_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfold, "MAX_PARTS", 3)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for k in range(5):
            archive.writestr(f"{k}.csv", "x")
    with pytest.raises(DataError, match="holds 5 files, more than 3"):
        check_unfolded(tmp_path / "a.zip")
    good = {name: pack(tmp_path / name, SALES).read_bytes() for name, pack in
            (("b.csv.gz", gzipped), ("b.csv.zip", zipped), ("b.csv.zst", zstandard))}  # fmt: skip
    for name, content in good.items():
        for size in (1, 5, 40, len(content) // 2):
            (tmp_path / name).write_bytes(content[:size])
            try:
                check_unfolded(tmp_path / name)
            except DataError as error:
                assert name in str(error)
            else:
                assert name.endswith(".zst"), "its blocks are read by Polars"
