"""Times, costs, contacts and acquisition are read under the rules of all other columns, in every table."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from propensity.data.contact import sent_messages
from propensity.data.event_log import NO_TIME, EventLog
from propensity.errors import ConfigurationError
from propensity.ingest.build import build_log
from propensity.ingest.rule.day import DayFormat, read_day
from propensity.ingest.rule.time import read_time
from propensity.ingest.source.table import Table
from propensity.kernel.event import ENGAGEMENT_KINDS, EVERY_KIND

COLUMNS = {"customer": "who", "day": "when", "item": "sku", "quantity": "units", "revenue": "paid"}
LISBON = "Europe/Lisbon"


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def sale(**more: Any) -> dict[str, Any]:
    return {"who": "anna", "when": "2024-03-01", "sku": "milk", "units": "1", "paid": "2.5"} | more


def log_of(tmp_path: Path, rows: list[dict[str, Any]], columns: dict[str, str], **settings: Any) -> EventLog:
    events = write(tmp_path / "sales.csv", rows)
    return build_log(Table(events=events, columns=COLUMNS | columns, **settings).load())


def moment(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("cell", "clock"),
    [
        *(("14:05", "14:05"), ("14:05:59", "14:05:59"), ("14:05:59.250", "14:05:59.250"), ("2:05 pm", "14:05")),
        *(("12:00 AM", "00:00"), ("1405", "14:05"), ("905", "09:05"), ("0", "00:00"), ("140559", "14:05:59")),
        *(
            ("0.5", "12:00"),
            ("2024-07-01 14:05", "14:05"),
            ("20240701140559", "14:05:59"),
            ("2024-07-01T14:05", "14:05"),
        ),
    ],
)
@pytest.mark.parametrize("zone", [None, "UTC", LISBON, "America/New_York", "Asia/Kathmandu"])
def test_a_time_without_an_offset_is_the_shops(cell: str, clock: str, zone: str | None) -> None:
    rows = pl.DataFrame({"time": [cell], "day": [date(2024, 7, 1)]})
    time = rows.select(read_time("time", pl.String(), DayFormat(zone=zone), pl.col("day"))).item()
    assert time == moment(f"2024-07-01T{clock}", zone or "UTC")


@pytest.mark.parametrize("zone", ["UTC", LISBON, "America/New_York", "Pacific/Auckland"])
@pytest.mark.parametrize("hour", range(0, 24, 5))
def test_a_time_with_an_offset_or_an_epoch_is_that_moment(zone: str, hour: int) -> None:
    exact = datetime(2024, 3, 30, hour, 59, 1, 250_000, UTC)
    milliseconds = int(exact.timestamp() * 1000)
    local = [exact.astimezone(ZoneInfo(other)).isoformat() for other in ("UTC", "Asia/Kathmandu", "America/New_York")]
    texts = [*local, exact.strftime("%Y-%m-%d %H:%M:%S.250 UTC"), str(milliseconds), str(milliseconds * 1000)]
    rows, style = pl.DataFrame({"time": texts}), DayFormat(zone=zone)
    rows = rows.with_columns(day=read_day("time", pl.String(), style))
    assert rows["day"].unique().to_list() == [exact.astimezone(ZoneInfo(zone)).date()]
    times = rows.select(read_time("time", pl.String(), style, pl.col("day"))).to_series()
    assert times.unique().to_list() == [milliseconds]
    typed = pl.DataFrame({"time": [exact]}).with_columns(
        pl.col("time").cast(pl.Datetime("us", "UTC")), day=rows["day"][0]
    )
    assert typed.select(read_time("time", typed.schema["time"], style, pl.col("day"))).item() == milliseconds


@pytest.mark.parametrize("times_in", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_the_date_of_a_time_in_the_shops_zone_is_the_day_whatever_zone_it_was_written_in(times_in: str) -> None:
    texts = [f"2024-{month:02d}-28 {hour:02d}:30" for month in range(1, 13) for hour in range(24)]
    style = DayFormat(zone=LISBON, times_in=times_in)
    rows = pl.DataFrame({"time": texts}).with_columns(day=read_day("time", pl.String(), style))
    rows = rows.with_columns(ms=read_time("time", pl.String(), style, pl.col("day"), dated=True))
    assert rows["ms"].null_count() == 0
    for text, day, ms in rows.select("time", "day", "ms").iter_rows():
        assert ms == moment(text.replace(" ", "T"), times_in)
        assert datetime.fromtimestamp(ms / 1000, ZoneInfo(LISBON)).date() == day


@pytest.mark.parametrize("cell", ["25:00", "14:61", "13:05 pm", "soon", "2500", "14:05:59:01"])
def test_a_time_that_cannot_be_read_loses_no_event(cell: str, tmp_path: Path) -> None:
    log = log_of(tmp_path, [sale(at=cell), sale(at="09:30"), sale(at="")], {"time": "at"}, timezone=LISBON)
    assert log.meta["rows"]["used"] == 3 and log.meta["warnings"]["time_unreadable"] == 1
    assert log.time is not None and log.timezone == LISBON
    assert log.time.tolist() == [moment("2024-03-01T09:30", LISBON), NO_TIME, NO_TIME]


def test_dates_without_a_time_are_no_unreadable_times(tmp_path: Path) -> None:
    log = log_of(tmp_path, [sale(), sale(when="2024-03-01 10:00")], {"time": "when"})
    assert "time_unreadable" not in log.meta["warnings"] and log.time is not None
    assert log.time.tolist() == [moment("2024-03-01T10:00", "UTC"), NO_TIME]


def test_an_event_that_became_available_later_has_no_time(tmp_path: Path) -> None:
    rows = [sale(at="10:00", loaded="2024-03-01"), sale(at="11:00", loaded="2024-03-04")]
    log = log_of(tmp_path, rows, {"time": "at", "available_at": "loaded"})
    assert log.time is not None and log.time.tolist() == [moment("2024-03-01T10:00", "UTC"), NO_TIME]


def test_costs_are_read_as_revenues(tmp_path: Path) -> None:
    """Currency, decimal comma, scale and returns."""
    rows = [
        sale(paid="12,50", cost="1.234,5 €", cur="EUR"), sale(paid="8,00", cost="2,25", cur="USD", units="3"),
        sale(paid="8,00", cost="2,25", units="-1", cur="EUR"), sale(paid="8,00", cost="abc", cur="EUR"),
        sale(paid="8,00", cost="", cur="EUR"),
    ]  # fmt: skip
    settings: dict[str, Any] = {"rates": {"EUR": 1, "USD": 0.5}, "scale": 0.01}
    columns = {"cost": "cost", "currency": "cur"}
    log = log_of(tmp_path, rows, columns, **settings)
    assert log.cost is not None and log.meta["warnings"]["cost_unreadable"] == 1
    np.testing.assert_allclose(log.cost, [12.345, 0.01125, -0.0225, np.nan, np.nan], rtol=1e-6)
    unit = log_of(tmp_path, rows, columns, cost_is="unit", **settings)
    assert unit.cost is not None
    np.testing.assert_allclose(unit.cost, [12.345, 0.03375, -0.0225, np.nan, np.nan], rtol=1e-6)


def test_events_of_every_kind_are_used_and_kernels_see_the_first_five(tmp_path: Path) -> None:
    words = [*EVERY_KIND, "addtocart", "Opened", "clicked", "opt-out", "spam"]
    log = log_of(tmp_path, [sale(kind=word, paid="0") for word in [*words, "nonsense"]], {"kind": "kind"})
    assert log.meta["rows"]["used"] == len(words) and log.meta["rows"]["quarantined"] == {"kind_unknown": 1}
    assert log.engagement is not None and log.kind.tolist() == [0, 1, 2, 3, 4]
    assert [EVERY_KIND[k] for k in log.engagement.kind] == [
        *ENGAGEMENT_KINDS,
        *("cart", "open", "click", "unsubscribe", "complaint"),
    ]


@pytest.mark.parametrize("kind", ["open", "click", "search", "unsubscribe", "complaint"])
def test_an_event_of_a_message_or_a_search_needs_no_item_and_a_cart_does(kind: str, tmp_path: Path) -> None:
    rows = [sale(kind="sale"), sale(kind=kind, sku=""), sale(kind="cart", sku="")]
    log = log_of(tmp_path, rows, {"kind": "kind"})
    assert log.meta["rows"]["used"] == 2 and log.meta["rows"]["quarantined"] == {"item_missing": 1}


def test_contacts_are_read_under_the_rules_of_events(tmp_path: Path) -> None:
    sent = [
        {"who": " anna ", "on": "13/02/2024 10:00", "how": "mail", "c": "7", "arm": "test", "p": "0,5", "cost": "0,03"},
        {"who": "anna", "on": "14/02/2024", "how": "mail", "c": "7", "arm": "holdout", "p": "25 %", "cost": "x"},
        {"who": "bert", "on": "15/02/2024", "how": "", "c": "", "arm": "", "p": "1,5", "cost": ""},
        {"who": "bert", "on": "16/02/2024", "how": "", "c": "8", "arm": "", "p": "0", "cost": "1.299,5"},
        {"who": "bert", "on": "17/02/2024", "how": "", "c": "8", "arm": "", "p": "", "cost": ""},
    ]  # fmt: skip
    names = {"customer": "who", "day": "on", "time": "on", "channel": "how", "campaign": "c", "arm": "arm",
             "probability": "p", "cost": "cost"}  # fmt: skip
    contacts = {"path": write(tmp_path / "sent.csv", sent)} | names
    log = log_of(tmp_path, [sale(), sale(who="bert")], {}, contacts=contacts, timezone=LISBON)
    table = sent_messages(log)
    assert table["campaign"].to_list() == ["7", "7", None, "8", "8"]
    assert table["arm"].to_list() == ["test", "holdout", None, None, None]
    assert table["probability"].to_list() == [0.5, 0.25, None, None, None]
    assert table["cost"].to_list() == pytest.approx([0.03, None, None, 1299.5, None])
    assert table["time"][0] == datetime(2024, 2, 13, 10, tzinfo=UTC) and table["time"].null_count() == 4
    assert log.meta["warnings"] == {"cost_unreadable": 1, "probability_unreadable": 2}
    assert log.revenue[log.kind == 0].tolist() == [2.5, 2.5]


def test_numbers_of_campaigns_are_one_in_events_and_contacts_of_any_type(tmp_path: Path) -> None:
    pl.DataFrame({"who": ["anna"], "on": [date(2024, 2, 1)], "c": [7.0]}).write_parquet(tmp_path / "sent.parquet")
    contacts = {"path": str(tmp_path / "sent.parquet"), "customer": "who", "day": "on", "campaign": "c"}
    rows = [sale(kind="sale", c=""), sale(kind="open", c="7", sku="")]
    log = log_of(tmp_path, rows, {"kind": "kind", "campaign": "c"}, contacts=contacts)
    assert log.contacts is not None and log.contacts["campaign"].to_list() == ["7"]
    assert log.engagement is not None and log.engagement.contact is not None
    assert log.engagement.contact.tolist() == [0]


def test_registrants_have_their_acquisition_and_no_event(tmp_path: Path) -> None:
    people = [
        {"who": "anna", "on": "13/02/2024", "src": "Search", "cost": "2,50", "mail_ok": "yes"},
        {"who": "carl", "on": "14/02/2024", "src": "", "cost": "x", "mail_ok": "no"},
        {"who": "dora", "on": "soon", "src": "friend", "cost": "", "mail_ok": "no"},
        {"who": "dora", "on": "15/02/2024", "src": "friend", "cost": "1.299,5", "mail_ok": "yes"},
    ]
    setting = {"day": "on", "channel": "src", "cost": "cost"}
    customers = write(tmp_path / "people.csv", people)
    log = log_of(tmp_path, [sale(), sale(who="bert")], {}, customers=customers, acquisition=setting)
    table = log.customers
    assert table["customer"].to_list() == ["anna", "bert", "carl", "dora"]
    assert np.diff(log.offsets).tolist() == [1, 1, 0, 0]
    assert table["acquired_day"].to_list() == [date(2024, 2, 13), None, date(2024, 2, 14), date(2024, 2, 15)]
    assert table["acquired_channel"].to_list() == ["Search", None, None, "friend"]
    assert table["acquired_cost"].to_list() == [2.5, None, None, 1299.5]
    assert not {"on", "src", "cost"} & {*table.columns}
    assert log.meta["warnings"]["acquisition_unreadable"] == 2


def test_an_alias_in_the_table_of_customers_is_no_registrant(tmp_path: Path) -> None:
    people = [{"who": "anna", "city": "Porto"}, {"who": "anna2", "city": "Faro"}, {"who": "old", "city": "Braga"}]
    aliases = [{"old": "anna2", "new": "anna"}, {"old": "old", "new": "new"}]
    path = write(tmp_path / "map.csv", aliases)
    identity_map = {"path": path, "alias": "old", "customer": "new"}
    log = log_of(tmp_path, [sale()], {}, customers=write(tmp_path / "people.csv", people), identity_map=identity_map)
    assert dict(log.customers.iter_rows()) == {"anna": "Porto", "new": "Braga"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"acquisition": {"day": "on"}}, "data.source.customers is null"),
        ({"acquisition": {"date": "on"}, "customers": "people.csv"}, "closest key is"),
        ({"cost_is": "dear"}, "data.source.cost_is=dear is unknown; use total or unit"),
    ],
)
def test_a_wrong_setting_is_one_sentence(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Table(events="sales.csv", columns=COLUMNS, **settings)


def test_times_of_parquet_columns_are_read_by_their_type(tmp_path: Path) -> None:
    exact = datetime(2024, 7, 1, 22, 30)
    frame = pl.DataFrame({
        "who": ["anna"], "sku": ["milk"], "when": [date(2024, 7, 1)], "naive": [exact], "clock": [exact.time()],
        "aware": [exact.replace(tzinfo=UTC) - timedelta(hours=1)], "hhmm": [2230],
    })  # fmt: skip
    frame.write_parquet(tmp_path / "sales.parquet")
    for name in ("naive", "clock", "aware", "hhmm"):
        columns = {"customer": "who", "day": "when", "item": "sku", "time": name}
        log = build_log(Table(events=str(tmp_path / "sales.parquet"), columns=columns, timezone=LISBON).load())
        assert log.time is not None and log.time.tolist() == [moment("2024-07-01T22:30", LISBON)], name
