"""Tables of requests: what is read, and one sentence for everything that cannot be."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from propensity.catalogue.requests import checked, read_requests, resolve
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DataError
from random_log import random_log

OFFERS = ("offer 0", "offer 1", "offer 2")


@pytest.fixture(scope="module")
def log() -> EventLog:
    return random_log(3)


def table(*rows: tuple[object, ...]) -> pl.DataFrame:
    names = ("customer_id", "cutoff", "offer_id")[: len(rows[0])]
    return pl.DataFrame(list(rows), schema=list(names), orient="row")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pl.DataFrame({"customer": ["1"], "cutoff": [date(2024, 1, 1)]}), "has no column customer_id"),
        (pl.DataFrame({"customer_id": ["1"]}), "has no column cutoff"),
        (pl.DataFrame({"customer_id": [], "cutoff": []}), "has no request"),
        (table(("1", None)), "1 rows without cutoff"),
        (table(("1", date(2024, 1, 1)), (None, date(2024, 1, 1))), "1 rows without customer_id"),
        (table(("1", "2024-13-01")), "'2024-13-01' of t is not a date"),
        (table(("1", 20240101)), "not dates; write them as YYYY-MM-DD"),
        (table((b"1", "2024-01-01")), "not ids"),
        (table(("1", date(2024, 1, 1), None)), "1 rows without offer_id"),
    ],
)
def test_a_table_that_holds_no_requests_is_refused_in_one_sentence(frame: pl.DataFrame, words: str) -> None:
    with pytest.raises(DataError, match=words):
        checked(frame, "t")


def test_dates_are_read_from_text_and_from_midnights() -> None:
    for cutoff in ("2024-02-03", datetime(2024, 2, 3), date(2024, 2, 3)):
        assert checked(table((7, cutoff)), "t").row(0) == ("7", date(2024, 2, 3))


def test_a_missing_or_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no table of requests at"):
        read_requests(tmp_path / "none.parquet")
    (tmp_path / "a.parquet").write_text("nothing")
    with pytest.raises(DataError, match="cannot be read as a table of requests"):
        read_requests(tmp_path / "a.parquet")
    (tmp_path / "a.xml").write_text("nothing")
    with pytest.raises(ConfigurationError, match="neither Parquet nor CSV"):
        read_requests(tmp_path / "a.xml")


def test_a_csv_is_read_as_a_parquet_file(tmp_path: Path) -> None:
    frame = table(("007", date(2024, 1, 2), "x"))
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    assert read_requests(tmp_path / "a.csv").equals(read_requests(tmp_path / "a.parquet"))


def test_requests_are_ordered_and_answered_once(log: EventLog) -> None:
    day, said = to_date(log.first_day + 50), list[str]()
    frame = checked(table((110, day), (105, day), (110, day), (120, day - timedelta(days=3))), "t")
    requests = resolve(frame, log, OFFERS, "t", said.append)
    assert log.customer_id[requests.customer].tolist() == [120, 105, 110]
    assert (np.diff(requests.day) >= 0).all()
    assert said == ["1 requests of t stand there more than once and are answered once"]


def test_offers_of_a_request_are_gathered(log: EventLog) -> None:
    day = to_date(log.first_day + 50)
    frame = checked(table((110, day, "offer 2"), (105, day, "offer 1"), (110, day, "offer 0")), "t")
    requests = resolve(frame, log, OFFERS, "t", lambda text: None)
    assert requests.named is not None
    assert [part.tolist() for part in requests.named] == [[0, 1, 3], [1, 0, 2]]


def test_a_request_after_the_end_of_the_log_is_one(log: EventLog) -> None:
    frame = checked(table((110, to_date(log.last_day + 400))), "t")
    assert resolve(frame, log, OFFERS, "t", lambda text: None).day.tolist() == [log.last_day + 400]


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ((110, -1), ConfigurationError, "customer 110 in t is not after the first purchase"),
        ((110, 0), ConfigurationError, "is not after the first purchase"),
        (("nobody", 50), DataError, "names customer 'nobody', which the log does not have"),
        ((110, 50, "no offer"), DataError, "names offer 'no offer', which is not among the 3 offers"),
    ],
)
def test_requests_that_cannot_be_answered_are_one_sentence(
    log: EventLog, row: tuple[object, ...], error: type[Exception], words: str
) -> None:
    assert isinstance(row[1], int)
    frame = checked(table((row[0], to_date(log.first_day + row[1]), *row[2:])), "t")
    with pytest.raises(error, match=words):
        resolve(frame, log, OFFERS, "t", lambda text: None)


def test_guests_and_objectors_to_profiling_get_no_score(log: EventLog) -> None:
    from dataclasses import replace

    flags = np.zeros(len(log), bool)
    flags[10] = True
    guests = replace(log, customers=log.customers.with_columns(guest=pl.Series(flags)))
    day, said = to_date(log.first_day + 50), list[str]()
    frame = checked(table((110, day), (111, day)), "t")
    assert resolve(frame, guests, OFFERS, "t", said.append).customer.tolist() == [11]
    assert said == ["1 requests of t are of guests or of customers who object to profiling, and get no score"]
    with pytest.raises(DataError, match="no request of t may be scored"):
        resolve(frame.head(1), guests, OFFERS, "t", said.append)
