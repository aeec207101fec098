"""A compressed file or a spreadsheet is refused before it fills memory or disk."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from propensity.baseline.storage import read_arrays, write_arrays
from propensity.data.parquet_size import parquet_size, text_bytes
from propensity.decision.table import read
from propensity.errors import DataError, IntegrityError
from propensity.ingest.source import unfold
from propensity.ingest.source.delivery import open_file
from propensity.ingest.source.unfold import check_arrays, check_unfolded
from propensity.serving.verify import VerificationError, load_arrays

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


def columnar(path: Path, frame: pl.DataFrame, compression: str = "zstd") -> Path:
    frame.write_parquet(path, compression=compression)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "lz4", "uncompressed"])
def test_a_parquet_file_unfolds_to_at_most_its_bound(tmp_path: Path, compression: str) -> None:
    n = 20_000
    frame = pl.DataFrame({
        "who": [f"c{k}" for k in range(n)], "sku": ["a text that is long"] * n, "paid": np.arange(n) / 7,
        "none": [None] * n, "two": [[1, 2]] * n, "flag": [True, False] * (n // 2),
    })  # fmt: skip
    file = columnar(tmp_path / "a.parquet", frame, compression)
    size = parquet_size(file)
    words = int(frame["sku"].str.len_bytes().sum()) + int(frame["who"].str.len_bytes().sum())
    assert frame.drop("who", "sku").estimated_size() + 32 * n <= size.values
    assert text_bytes(file) == words <= size.values + size.texts


def test_a_parquet_file_that_unfolds_without_measure_is_refused_and_sales_are_read(tmp_path: Path) -> None:
    n = 400_000
    sales = pl.read_csv(SALES)
    assert open_file(columnar(tmp_path / "sales.parquet", sales)).frame.collect().height == 20_000
    equal = columnar(tmp_path / "equal.parquet", pl.DataFrame({"paid": np.ones(n)}))  # a run length
    text = columnar(tmp_path / "text.parquet", pl.DataFrame({"sku": ["a" * 9_999] * 2_000}))  # a dictionary
    packed = columnar(tmp_path / "packed.parquet", pl.DataFrame({"sku": ["a" * (4 << 20)]}))  # a page
    for file in (equal, text, packed):
        with pytest.raises(DataError, match=f"{file.name} unfolds to more than .* MiB from"):
            open_file(file)
        with pytest.raises(DataError, match="unfolds to more than"):
            read(str(file), "customers")


def test_spoilt_headers_of_a_parquet_file_are_an_error_or_a_size(tmp_path: Path) -> None:
    good = columnar(tmp_path / "a.parquet", pl.read_csv(SALES)).read_bytes()
    draw, refused = np.random.default_rng(17), 0
    for _ in range(300):
        spoilt = bytearray(good)
        place = draw.integers(len(good) - 2_000, len(good)) if draw.random() < 0.8 else draw.integers(len(good))
        spoilt[place] ^= 1 << draw.integers(8)
        (tmp_path / "a.parquet").write_bytes(spoilt)
        try:
            parquet_size(tmp_path / "a.parquet")
        except ValueError:
            refused += 1
    assert 10 < refused < 300
    (tmp_path / "a.parquet").write_bytes(good[:-1])
    with pytest.raises(DataError, match=r"a\.parquet cannot be read \(no Parquet footer\)"):
        check_unfolded(tmp_path / "a.parquet")


def test_arrays_that_unfold_without_measure_are_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"a": np.zeros(40_000)})
    check_arrays(tmp_path / "a.npz")
    assert read_arrays(tmp_path / "a.npz", ("a",))["a"].size == load_arrays(tmp_path / "a.npz")["a"].size == 40_000
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(40 << 20))
    with pytest.raises(IntegrityError, match=r"a\.npz is damaged .*unfolds to more than"):
        read_arrays(tmp_path / "a.npz", ("a",))
    with pytest.raises(VerificationError, match=r"a\.npz is not an archive of plain arrays \(it unfolds to more than"):
        load_arrays(tmp_path / "a.npz")


def test_an_array_that_states_a_larger_shape_than_it_has_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(1_000))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(1000,)", b"(9000,)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(IntegrityError, match="states another size than it has"):
        read_arrays(tmp_path / "a.npz", ("a",))
    with pytest.raises(VerificationError, match="is not an archive of plain arrays"):
        load_arrays(tmp_path / "a.npz")
