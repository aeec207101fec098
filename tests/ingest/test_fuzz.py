"""Any delivery is either accepted, with every row accounted for, or refused in one line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propensity.errors import PropensityError
from propensity.ingest.build import prepare
from propensity.ingest.contract import contract_violations
from propensity.ingest.rule import UNUSED_OUTCOMES
from propensity.ingest.source.suggestion import suggest
from propensity.ingest.source.table import Table

COLUMNS = {"customer": "who", "day": "when", "item": "sku", "quantity": "units", "revenue": "paid", "order": "receipt"}
HEAD = ",".join(COLUMNS.values())
AWKWARD = ("", " ", "NULL", "NaN", "inf", "-1", "0", "1e400", "12345.0", " 00123", "1,5", "€ 1.234,50", "(3)", "\u00e9",
           "e\u0301", "\ufeff", "2024-02-30", "2024-03-01", "1709251199", "1709251199000", "31/12/2024", "12/31/2024",
           "9999-12-31", "0001-01-01", "2024-03-31T02:30:00+02:00", "-9223372036854775808", "POST", "C123", "\x00",
           '"', "a\nb", "é" * 300)  # fmt: skip
cells = st.one_of(st.sampled_from(AWKWARD), st.text(max_size=8), st.integers().map(str), st.dates().map(str))
tables = st.lists(st.tuples(*[cells] * len(COLUMNS)), max_size=12)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROOM = 600  # of bytes that the fuzzer spoils


def outcome(source: Table, out: Path) -> str:
    """Outcome of a delivery: the message of its refusal, or "accepted" if all its rows are accounted for."""
    try:
        log = prepare(source, out)
    except PropensityError as error:
        assert "\n" not in str(error) and error.exit_code in (2, 3)
        return str(error)
    rows = log.meta["rows"]
    assert rows["in"] == rows["used"] + sum(sum(rows[way].values()) for way in UNUSED_OUTCOMES)
    return "accepted"


def quoted(rows: list[tuple[str, ...]]) -> str:
    return "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows)


@FEW
@given(rows=tables, raw=st.booleans())
def test_any_text_is_accepted_or_refused_in_one_line(rows: list[tuple[str, ...]], raw: bool, tmp_path: Path) -> None:
    body = "\n".join(",".join(row) for row in rows) if raw else quoted(rows)
    good = "anna,2024-03-01,milk,1,2,r\n"
    (tmp_path / "sales.csv").write_bytes(f"{HEAD}\n{good}{body}".encode("utf-8", "replace"))
    assert outcome(Table(str(tmp_path / "sales.csv"), dict(COLUMNS)), tmp_path / "log")


VALUES: dict[Any, st.SearchStrategy[Any]] = {
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.Float64: st.floats(),
    pl.String: cells,
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(),
    pl.Datetime("us"): st.datetimes(),
    pl.List(pl.Int64): st.lists(st.integers(0, 9), max_size=2),
}
columns = st.sampled_from(list(VALUES)).flatmap(
    lambda kind: st.lists(st.none() | VALUES[kind], min_size=5, max_size=5).map(lambda v: pl.Series(v, dtype=kind))
)


@FEW
@given(values=st.tuples(*[columns] * len(COLUMNS)))
def test_any_types_are_accepted_or_refused_in_one_line(values: tuple[pl.Series, ...], tmp_path: Path) -> None:
    frame = pl.DataFrame(dict(zip(COLUMNS.values(), values, strict=True)))
    frame.write_parquet(tmp_path / "sales.parquet")
    assert outcome(Table(str(tmp_path / "sales.parquet"), dict(COLUMNS)), tmp_path / "log")


@FEW
@given(rows=tables)
def test_accepted_events_satisfy_the_contract(rows: list[tuple[str, ...]], tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(
        f"{HEAD}\nanna,2024-03-01,milk,1,2,r\n{quoted(rows)}", encoding="utf-8", newline=""
    )
    try:
        tables = Table(str(tmp_path / "sales.csv"), dict(COLUMNS)).load()
        passed = tables.screen(tables.events).filter(pl.col("reason").is_null()).collect()
    except (PropensityError, pl.exceptions.PolarsError):
        return
    violations = tables.settle(passed.drop("reason")).accepted.select(*contract_violations().values())
    assert not any(violations.row(0)), violations


def good(folder: Path, suffix: str) -> bytes:
    frame = pl.DataFrame({"who": ["a", "b"] * 20, "when": ["2024-03-01"] * 40, "sku": ["m", "n"] * 20,
                          "units": [1] * 40, "paid": [2.5] * 40, "receipt": ["r"] * 40})  # fmt: skip
    file = folder / f"good{suffix}"
    frame.write_csv(file) if suffix == ".csv" else frame.write_parquet(file)
    return file.read_bytes()


def corrupted(data: bytes, draw: random.Random) -> bytes:
    """The bytes with a few changes, insertions and deletions, mostly at the start or end, where headers are."""
    corrupted_bytes = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        at = draw.choice(
            [
                draw.randrange(len(corrupted_bytes)),
                draw.randrange(min(ROOM, len(corrupted_bytes))),
                -draw.randint(1, min(ROOM, len(corrupted_bytes))),
            ]
        )
        way = draw.randrange(4)
        if way == 0:
            corrupted_bytes[at] = draw.randrange(256)
        elif way == 1:
            corrupted_bytes[at] ^= 1 << draw.randrange(8)
        elif way == 2:
            corrupted_bytes[at:at] = draw.choice(
                [b"\x00", b"\xff", b",", b"\n", b'"', b"PAR1", b"\xef\xbb\xbf", bytes([draw.randrange(256)]) * 9]
            )
        else:
            del corrupted_bytes[at : at + draw.randint(1, 40) if at >= 0 else None]
        if not corrupted_bytes:
            return b""
    return bytes(corrupted_bytes)


def fuzzed(folder: Path, suffix: str, rounds: int, seed: int) -> dict[str, int]:
    """Numbers of corrupted files that were accepted and refused."""
    data, draw, counts = good(folder, suffix), random.Random(seed), {"accepted": 0, "refused": 0}
    for _ in range(rounds):
        file = folder / f"sales{suffix}"
        file.write_bytes(corrupted(data, draw))
        counts["accepted" if outcome(Table(str(file), dict(COLUMNS)), folder / "log") == "accepted" else "refused"] += 1
        try:
            assert suggest(str(file))
        except PropensityError as error:
            assert "\n" not in str(error)
    return counts


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_corrupted_bytes_are_accepted_or_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    counts = fuzzed(tmp_path, suffix, 40, seed=3)
    assert counts["accepted"] + counts["refused"] == 40 and counts["refused"] > 5


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_many_corrupted_bytes_are_accepted_or_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    assert sum(fuzzed(tmp_path, suffix, 500, seed=11).values()) == 500
