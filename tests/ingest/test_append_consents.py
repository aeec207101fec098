"""Consents in a delivery that is appended hold for all customers of the log, whether or not they bought anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.data.event_log import EventLog
from propensity.errors import DataError
from propensity.ingest.append import append
from propensity.ingest.build import prepare
from propensity.ingest.compact import compact
from propensity.ingest.privacy import pseudonym
from propensity.ingest.source.table import Table

COLUMNS = {"customer": "customer", "day": "day", "item": "item", "revenue": "revenue"}


def delivery(folder: Path, name: str, day: str, buyers: Sequence[str], consents: str | None, **settings: Any) -> Table:
    """Purchases of some customers on a day, and a table of consents."""
    sales = "".join(f"{buyer},{day},a,1\n" for buyer in buyers)
    (folder / f"{name}.csv").write_text(f"customer,day,item,revenue\n{sales}")
    if consents is not None:
        file = folder / f"{name}-consents.csv"
        file.write_text(consents)
        names = consents.split("\n")[0].split(",")
        settings["consents"] = {"path": str(file), **{column: column for column in names}}
    return Table(events=str(folder / f"{name}.csv"), columns=COLUMNS, **settings)


def words(folder: Path, first: str | None, second: str | None, **case: Any) -> dict[str, Any]:
    """Suppressed by customer after two deliveries."""
    buyers, later = case.pop("buyers", "1234"), case.pop("later", "5")
    key = case.pop("key", None)
    prepare(delivery(folder, "first", "2024-01-10", buyers, first), folder / "log", key=key)
    log = append(delivery(folder, "second", "2024-01-20", later, second, **case), folder / "log", key)
    assert log.offsets.size == log.customers.height + 1 and log.customers["customer"].is_sorted()
    assert EventLog.open(folder / "log", verify=True).day.size == len(buyers) + len(later)
    compacted = compact(folder / "log")
    assert compacted.customers.equals(log.customers) and compacted.fingerprint == log.fingerprint
    return dict(log.customers.select("customer", "suppressed").cast({"customer": str}).iter_rows())


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("customer,consent\n3,no\n1,no\n", {"1": True, "2": True, "3": True, "4": None, "5": None}),
        ("customer,consent\n3,no\n5,yes\n", {"1": False, "2": True, "3": True, "4": None, "5": False}),
        ("customer,consent\n 3.0 ,no\n4,yes\n", {"1": False, "2": True, "3": True, "4": False, "5": None}),
        ("customer,consent\n2,yes\n", {"1": False, "2": True, "3": False, "4": None, "5": None}),
        (None, {"1": False, "2": True, "3": False, "4": None, "5": None}),
        ("customer,consent\n", {"1": False, "2": True, "3": False, "4": None, "5": None}),
    ],
)
def test_words_of_customers_who_bought_nothing_in_the_delivery_hold(
    second: str | None, expected: dict[str, bool | None], tmp_path: Path
) -> None:
    assert words(tmp_path, "customer,consent\n1,yes\n2,no\n3,yes\n", second) == expected


def test_an_id_of_the_consents_is_that_of_the_log_in_another_form(tmp_path: Path) -> None:
    first, second = "customer,consent\n01,yes\n02,yes\n", "customer,consent\n1,no\n05,yes\n"
    result = words(tmp_path, first, second, buyers=["01", "02", "03"], later=["05"])
    assert result == {"01": True, "02": False, "03": None, "05": False}


def test_strangers_are_not_added_and_a_file_of_strangers_is_refused(tmp_path: Path) -> None:
    first = "customer,consent\n1,yes\n2,no\n"
    assert "77" not in words(tmp_path, first, "customer,consent\n1,no\n77,no\n")
    with pytest.raises(DataError, match="0 of 2 customers of data.source.consents are among the"):
        words(tmp_path, first, "customer,consent\nx,no\ny,no\n")


def test_words_hold_under_pseudonyms(tmp_path: Path) -> None:
    first, second = "customer,consent\n1,yes\n2,yes\n", "customer,consent\n1,no\n"
    result = words(tmp_path, first, second, key=b"k" * 16)
    assert sorted(result.values(), key=str) == [False, None, None, None, True]


@pytest.mark.parametrize("key", [None, b"k" * 16])
@pytest.mark.parametrize(("refuser", "owner"), [("3", "1"), ("1", "1"), ("3", "9")])
def test_a_refusal_holds_for_every_id_of_a_person_that_the_log_has(
    refuser: str, owner: str, key: bytes | None, tmp_path: Path
) -> None:
    (tmp_path / "people.csv").write_text(f"alias,customer\n3,{owner}\n")
    people = {"path": str(tmp_path / "people.csv"), "alias": "alias", "customer": "customer"}
    first, second = "customer,consent\n1,yes\n3,yes\n2,yes\n", f"customer,consent\n{refuser},no\n2,yes\n"
    result = words(tmp_path, first, second, identity_map=people, key=key)
    refused = {name for name in ("1", "3") if result[name if key is None else pseudonym(name, key)]}
    assert refused == {"3", owner} - {"9"}
    assert not result["2" if key is None else pseudonym("2", key)]


@pytest.mark.parametrize("entry", ["007", "7"])
def test_integer_ids_of_a_delivery_are_the_padded_ids_of_the_log(entry: str, tmp_path: Path) -> None:
    first = "customer,consent\n007,yes\n008,yes\nA1,yes\n"
    prepare(delivery(tmp_path, "first", "2024-01-10", ["007", "008", "A1"], first), tmp_path / "log")
    later = delivery(tmp_path, "second", "2024-01-20", ["7", "9"], f"customer,consent\n{entry},no\nA1,no\n9,no\n")
    sales = pl.read_csv(tmp_path / "second.csv")
    sales.write_parquet(tmp_path / "second.parquet")
    assert sales.schema["customer"] == pl.Int64
    log = append(replace(later, events=str(tmp_path / "second.parquet")), tmp_path / "log")
    rows = dict(log.customers.select("customer", "suppressed").iter_rows())
    assert rows == {"007": True, "008": False, "9": True, "A1": True}
    assert np.diff(log.offsets).tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize("first", ["customer,consent,channel,day\n1,yes,mail,2024-01-01\n", "customer,consent\n1,no\n"])
def test_appended_consents_without_rows_add_no_column_to_a_log_that_has_consents(first: str, tmp_path: Path) -> None:
    old = prepare(delivery(tmp_path, "first", "2024-01-10", "12", first), tmp_path / "log")
    empty = first.split("\n")[0] + "\n"
    log = append(delivery(tmp_path, "second", "2024-01-20", "3", empty), tmp_path / "log")
    assert log.customers.schema == old.customers.schema


def test_appended_consents_without_rows_mean_that_nobody_consented_where_the_log_has_none(tmp_path: Path) -> None:
    prepare(delivery(tmp_path, "first", "2024-01-10", "12", None), tmp_path / "log")
    log = append(delivery(tmp_path, "second", "2024-01-20", "3", "customer,consent\n"), tmp_path / "log")
    assert log.customers["suppressed"].to_list() == [None, None, None]
