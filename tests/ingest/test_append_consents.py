"""Consents in a delivery that is appended hold for all customers of the log, whether or not they bought anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from propensity.data.event_log import EventLog
from propensity.errors import DataError
from propensity.ingest.append import append
from propensity.ingest.build import prepare
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
