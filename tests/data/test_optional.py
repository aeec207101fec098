"""Laws of the optional columns of a log: they add nothing where they are missing, and everything keeps them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from deliveries import DAY
from deliveries import tables_of_all_columns as tables
from propensity.data.contact import CONTACT_COLUMNS, sent_messages
from propensity.data.event_log import COLUMNS, MISSING, NO_TIME, OPTIONAL, EventLog, fingerprint
from propensity.errors import DamageError, DataError
from propensity.evaluation.leakage import shuffle_future
from propensity.ingest.append import append
from propensity.ingest.build import build_log, prepare
from propensity.ingest.erasure import erase_customer, export_customer
from propensity.ingest.source import Tables
from propensity.kernel.event import EVERY_KIND, KINDS
from random_log import random_log


@dataclass
class Delivery:
    tables: Tables

    def load(self) -> Tables:
        return self.tables


def test_a_log_without_optional_columns_has_no_file_more(tmp_path: Path) -> None:
    random_log(0).save(tmp_path / "log")
    assert {file.name for file in (tmp_path / "log").iterdir()} == {
        *(f"{name}.npy" for name in ("offsets", *COLUMNS, "item_known")),
        *("customers.parquet", "items.parquet", "meta.json"),
    }
    assert not {*OPTIONAL, "timezone"} & {*json.loads((tmp_path / "log" / "meta.json").read_text())}


@pytest.mark.parametrize("range_rows", [200, 2_000_000])
def test_the_columns_of_the_history_are_those_of_a_log_without_the_rest(range_rows: int) -> None:
    everything = tables()._replace(timezone=None)
    everything = everything._replace(events=everything.events.drop("time"))
    history = everything.events.filter(pl.col("kind").is_in(KINDS)).drop(*CONTACT_COLUMNS, "cost", "probability")
    log, plain = build_log(everything, range_rows), build_log(everything._replace(events=history), range_rows)
    for name in ("offsets", *(name for name in COLUMNS if name not in ("channel", "item"))):
        np.testing.assert_array_equal(getattr(log, name), getattr(plain, name), err_msg=name)
    assert log.engagement is not None and plain.engagement is None and plain.cost is None
    np.testing.assert_array_equal(log.items["item"].to_numpy()[log.item], plain.items["item"].to_numpy()[plain.item])


def test_no_value_is_lost_between_tables_log_and_disk(tmp_path: Path) -> None:
    delivered = tables()
    built = prepare(Delivery(delivered), tmp_path / "log")
    assert built.fingerprint == fingerprint(build_log(delivered))
    parts = [built, built.engagement]
    frames = []
    for part in parts:
        assert part is not None and part.contacts is not None
        row = np.repeat(np.arange(len(part)), np.diff(part.offsets))
        contact = part.contacts.with_row_index("contact").cast({"contact": pl.Int32})
        frame = pl.DataFrame({
            "customer": part.customers["customer"][row], "kind": np.array(EVERY_KIND)[part.kind],
            **{name: np.asarray(getattr(part, name)) for name in OPTIONAL},
        }).join(contact, on="contact", how="left").drop("contact")  # fmt: skip
        frames.append(frame)
    stored = pl.concat(frames).with_columns(
        pl.when(pl.col("time") != NO_TIME).then("time").alias("time"), pl.col("cost", "probability").fill_nan(None)
    )
    names = stored.columns
    raw = delivered.events.collect().cast({"cost": pl.Float32, "probability": pl.Float32})
    assert_frame_equal(stored.sort(names), raw.select(names).sort(names), check_dtypes=False)


def test_events_of_a_day_ascend_in_time_and_those_without_one_are_last() -> None:
    log = build_log(tables())
    for part in (log, log.engagement):
        assert part is not None and part.time is not None
        row = np.repeat(np.arange(len(part)), np.diff(part.offsets))
        same = (np.diff(row) == 0) & (np.diff(part.day) == 0)
        assert same.any() and (np.diff(part.time.astype(np.float64))[same] >= 0).all()
        known = part.time != NO_TIME
        np.testing.assert_array_equal(part.time[known] // DAY, part.day[known])


def test_a_log_that_is_extended_equals_the_log_built_whole(tmp_path: Path) -> None:
    whole = build_log(tables())
    cut = whole.last_day - 40
    prepare(Delivery(tables(0, whole.first_event_day, cut)), tmp_path / "log")
    extended = append(Delivery(tables(0, cut, whole.last_event_day + 1)), tmp_path / "log")
    assert fingerprint(extended) == fingerprint(whole)
    assert extended.timezone == "UTC"


@pytest.mark.parametrize("first", [True, False])
def test_a_delivery_with_optional_columns_extends_a_log_without_them_and_the_reverse(
    first: bool, tmp_path: Path
) -> None:
    whole = build_log(tables())
    cut = whole.last_day - 40
    names = [*CONTACT_COLUMNS, "cost", "probability", "time"]
    parts = [tables(0, whole.first_event_day, cut), tables(0, cut, whole.last_event_day + 1)]
    plain = parts[first]
    classic = plain.events.filter(pl.col("kind").is_in(KINDS)).drop(names)
    parts[first] = plain._replace(events=classic, timezone=None)
    prepare(Delivery(parts[0]), tmp_path / "log")
    extended = append(Delivery(parts[1]), tmp_path / "log")
    early = extended.day < cut
    for name in OPTIONAL:
        column = getattr(extended, name)
        missing = np.isnan(column) if column.dtype.kind == "f" else column == MISSING[name]
        assert missing[early].all() != first and missing[~early].all() == first
    assert extended.engagement is not None and ((extended.engagement.day < cut).all() if first else
                                                (extended.engagement.day >= cut).all())  # fmt: skip
    assert extended.timezone == "UTC"


def test_a_delivery_in_another_time_zone_is_refused(tmp_path: Path) -> None:
    whole = build_log(tables())
    cut = whole.last_day - 40
    prepare(Delivery(tables(0, whole.first_event_day, cut)), tmp_path / "log")
    with pytest.raises(DataError, match=r"are in Europe/Lisbon, those of the log in UTC; set data.source.timezone=UTC"):
        late = tables(0, cut, whole.last_event_day + 1)._replace(timezone="Europe/Lisbon")
        append(Delivery(late), tmp_path / "log")


def test_an_erased_customer_leaves_no_event_of_any_kind(tmp_path: Path) -> None:
    log = prepare(Delivery(tables()), tmp_path / "log")
    assert log.engagement is not None
    row = int(np.argmax(np.diff(log.engagement.offsets)))
    own = np.diff(log.offsets)[row] + np.diff(log.engagement.offsets)[row]
    result = erase_customer(str(log.customers["customer"][row]), tmp_path / "log", tmp_path / "runs")
    rest = EventLog.open(tmp_path / "log", verify=True)
    assert result.removed[str(tmp_path / "log")] == own
    assert rest.engagement is not None and len(rest) == len(rest.engagement) == len(log) - 1
    for part, before in ((rest, log), (rest.engagement, log.engagement)):
        others = np.repeat(np.arange(len(log)), np.diff(before.offsets)) != row
        for name in before.column_types:
            np.testing.assert_array_equal(getattr(part, name), getattr(before, name)[others], err_msg=name)


def test_the_export_of_a_customer_holds_every_value_that_was_delivered(tmp_path: Path) -> None:
    delivered = tables()
    log = prepare(Delivery(delivered), tmp_path / "log")
    assert log.engagement is not None
    customer = str(log.customers["customer"][int(np.argmax(np.diff(log.engagement.offsets)))])
    events = export_customer(customer, tmp_path / "log", tmp_path / "runs")["events"]
    raw = delivered.events.filter(pl.col("customer").cast(pl.String) == customer).collect()
    assert sorted(event["kind"] for event in events) == raw["kind"].sort().to_list()
    assert [event["day"] for event in events] == sorted(event["day"] for event in events)
    for name in CONTACT_COLUMNS:
        stored = sorted(event[name] for event in events if event.get(name) is not None)
        assert stored == raw[name].drop_nulls().sort().to_list()
    assert sum("time" in event for event in events) == raw["time"].count()
    assert sum(event.get("cost", 0) for event in events) == pytest.approx(raw["cost"].sum(), rel=1e-5)


@pytest.mark.parametrize("days", [0, 1, 60, 400])
def test_the_past_holds_no_event_of_that_day_or_later(days: int) -> None:
    log = build_log(tables())
    day = log.first_day + days
    past = log.before(day)
    assert past.engagement is not None and len(past) == len(past.engagement) == past.customers.height
    for part, whole in ((past, log), (past.engagement, log.engagement)):
        assert whole is not None and part.offsets[-1] == part.day.size and (part.day < day).all()
        position = {customer: n for n, customer in enumerate(whole.customers["customer"])}
        for n, customer in enumerate(part.customers["customer"]):
            m, own = position[customer], slice(*part.offsets[n : n + 2])
            for name in part.column_types:
                column = getattr(whole, name)[whole.offsets[m] : whole.offsets[m + 1]]
                early = whole.day[whole.offsets[m] : whole.offsets[m + 1]] < day
                np.testing.assert_array_equal(getattr(part, name)[own], column[early])


def test_another_future_has_columns_of_one_length_and_the_same_past() -> None:
    log = build_log(tables())
    day = log.last_day - 30
    other = shuffle_future(log, day, 0)
    assert other.engagement is not None and (other.engagement.day < day).all()
    assert {getattr(other, name).size for name in other.column_types} == {other.day.size}
    one, two = log.before(day), other.before(day)
    for name in one.column_types:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_sent_messages_hold_what_was_delivered_of_each() -> None:
    delivered = tables()
    sent = sent_messages(build_log(delivered)).drop("row")
    raw = delivered.events.filter(pl.col("kind") == "message").collect()
    raw = raw.with_columns(
        pl.col("time").cast(pl.Datetime("ms", "UTC")), pl.col("cost", "probability").cast(pl.Float32)
    )
    assert_frame_equal(sent.sort(sent.columns), raw.select(sent.columns).sort(sent.columns), check_dtypes=False)
    assert sent_messages(random_log(0))["probability"].null_count() == sent_messages(random_log(0)).height


@pytest.mark.parametrize(
    ("name", "value"), [("probability", 1.5), ("probability", 0.0), ("contact", 10**6), ("engagement/kind", 2)]
)
def test_a_value_that_no_event_can_have_is_damage(name: str, value: float, tmp_path: Path) -> None:
    log = build_log(tables())
    owner = log.engagement if "/" in name else log
    assert owner is not None
    column = getattr(owner, name.split("/")[-1]).copy()
    column[3] = value
    changed = replace(owner, **{name.split("/")[-1]: column})
    changed = replace(log, engagement=changed) if "/" in name else changed
    with pytest.raises(DamageError, match=f"{name}.npy"):
        changed.save(tmp_path / "log")
