"""Requests with a time of day: events strictly before the moment are visible, and labels begin there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import QUICK
from propensity.catalogue.column import COLUMNS, HOUR_COLUMNS, HOUR_KINDS, HOURS, TIMED_COLUMNS
from propensity.catalogue.model import load_catalogue
from propensity.catalogue.moment import DAY, HOUR, end_of_day_times, ending_at, moments
from propensity.catalogue.pairs import Catalogue
from propensity.catalogue.requests import Requests, checked, resolve
from propensity.catalogue.sample import blocks_of, training_sample
from propensity.catalogue.score import score_requests
from propensity.catalogue.train import train_on_requests
from propensity.data.catalogue import CatalogueConfig
from propensity.data.event_log import NO_TIME, EventLog, to_date
from propensity.data.offer import Offers
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.build import build_log
from propensity.kernel.event import EVERY_KIND, PURCHASE
from propensity.training.run import train
from random_log import membership, random_offers, random_tables

SMALL = CatalogueConfig(popular=2, partners=1, per_group=1, strongest=3, negatives=2)
ZONE = "Europe/Lisbon"


def timed_log(seed: int, days: int = 120, customers: int = 30) -> EventLog:
    """Random purchases, views, messages, carts, opens and searches; two thirds of the events have a time."""
    plain, random = random_tables(seed, customers, 14, days, 60), np.random.default_rng(seed)
    events = plain.events.collect()
    more = events.sample(events.height // 2, seed=seed).with_columns(
        kind=pl.Series(random.choice(("cart", "open", "click", "search"), events.height // 2)),
        order=pl.lit(None, events.schema["order"]),
    )
    both = pl.concat([events, more]).with_columns(pl.col("order") * 100_000 + pl.col("day").to_physical())
    midnight = both["day"].cast(pl.Datetime("ms")).dt.replace_time_zone(ZONE).dt.epoch("ms").to_numpy()
    time = midnight + random.integers(0, 22 * HOUR, both.height)
    known = pl.Series(random.random(both.height) < 0.7)
    both = both.with_columns(time=pl.select(pl.when(known).then(pl.Series(time))).to_series())
    return build_log(plain._replace(events=both.lazy(), read=None, timezone=ZONE))


def timed_requests(log: EventLog, seed: int, number: int = 12) -> Requests:
    """Requests at the moment of an event of the customer, a millisecond later, and at other times of day."""
    random = np.random.default_rng(seed)
    assert log.time is not None
    event = random.choice(np.flatnonzero((log.time != NO_TIME) & (log.day > log.first_day + 10)), number)
    customer, day = log.owner(event), log.day[event].astype(np.int64)
    clock = log.time[event] - moments(day, 0, ZONE) + np.arange(number) % 2
    clock[::5] = random.integers(0, DAY, clock[::5].size)
    day[::7] += 1
    unique = np.unique(np.stack([day, clock, customer]), axis=1)
    return Requests(unique[2].astype(np.int64), unique[0], None, unique[1])


def both_parts(log: EventLog) -> list[EventLog]:
    return [log, *([] if log.engagement is None else [log.engagement])]


def other_futures(log: EventLog, moment: int, random: np.random.Generator) -> list[EventLog]:
    """The log with every event at or after a moment of any hour shuffled, and without these events."""
    shuffled, cut = [], []
    for part in both_parts(log):
        later = np.flatnonzero(end_of_day_times(part) >= moment)
        columns: dict[str, Any] = {
            name: np.array(getattr(part, name)) for name in ("item", "kind", "quantity", "revenue")
        }
        for values in columns.values():
            values[later] = values[random.permutation(later)]
        columns["revenue"][later] += 1e6
        shuffled.append(replace(part, **columns))
        cut.append(part._where(end_of_day_times(part) < moment))
    return [replace(parts[0], engagement=parts[1]) for parts in (shuffled, cut)]


@pytest.mark.parametrize("seed", range(3))
def test_days_that_end_at_a_time_of_day_hold_the_events_strictly_before_it(seed: int) -> None:
    log, random = timed_log(seed), np.random.default_rng(seed)
    assert log.time is not None
    clocks = [1, 7 * HOUR, int(random.integers(0, DAY)), DAY - 1]
    event = random.choice(np.flatnonzero(log.time != NO_TIME))
    clocks.append(int(log.time[event] - moments(np.array([log.day[event]]), 0, ZONE)[0]))
    for clock in clocks:
        moved = ending_at(log, clock)
        for part, old in zip(both_parts(moved), both_parts(log), strict=True):
            assert part.day.size == old.day.size
            for day in (log.first_day + 30, int(log.day[event]), log.last_day):
                moment = moments(np.array([day]), clock, ZONE)[0]
                assert (part.day < day).sum() == (end_of_day_times(old) < moment).sum()
            owner = np.repeat(np.arange(len(part)), np.diff(part.offsets))
            assert (np.diff(owner * 10**6 + part.day) >= 0).all()


def test_midnight_leaves_a_log_as_it_is() -> None:
    log = timed_log(0)
    assert ending_at(log, 0) is log


def test_a_time_that_clocks_show_twice_or_skip_is_a_moment() -> None:
    spring, autumn = (int(np.datetime64(day, "D").astype(int)) for day in ("2024-03-31", "2024-10-27"))
    read = moments(np.array([spring, spring, autumn]), np.array([90, 120, 90]) * 60_000, ZONE)
    expected = [datetime(2024, 3, 31, 1, 30), datetime(2024, 3, 31, 1), datetime(2024, 10, 27, 0, 30)]
    assert read.tolist() == [int(each.replace(tzinfo=UTC).timestamp() * 1000) for each in expected]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hours", [True, False])
def test_nothing_at_or_after_the_moment_of_a_request_changes_its_pairs(seed: int, hours: bool) -> None:
    log, random = timed_log(seed), np.random.default_rng(seed)
    offers, requests = random_offers(seed, log.item_known.size), timed_requests(log, seed, 6)
    for position in range(requests.number):
        one = requests.take(np.array([position]))
        assert one.clock is not None
        pairs, x = pairs_of(log, offers, one, hours)
        assert x.shape == (pairs.size, len(TIMED_COLUMNS if hours else COLUMNS))
        for future in other_futures(log, int(moments(one.day, one.clock, ZONE)[0]), random):
            again, y = pairs_of(future, offers, one, hours)
            np.testing.assert_array_equal(again, pairs)
            np.testing.assert_array_equal(y, x)


def pairs_of(log: EventLog, offers: Offers, requests: Requests, hours: bool) -> tuple[np.ndarray, np.ndarray]:
    """Offers and columns of all pairs."""
    blocks = list(blocks_of(Catalogue.of(log, offers, SMALL, hours), requests))
    return (
        np.concatenate([pairs.offer for _, pairs, _ in blocks]),
        np.concatenate([here.columns(pairs, asked) for here, pairs, asked in blocks]),
    )


@pytest.mark.parametrize("seed", range(3))
def test_columns_of_hours_count_events_before_the_moment(seed: int) -> None:
    log = timed_log(seed)
    offers, requests = random_offers(seed, log.item_known.size), timed_requests(log, seed)
    belongs, counted = membership(offers), 0.0
    for here, pairs, asked in blocks_of(Catalogue.of(log, offers, SMALL, True), requests):
        x = here.columns(pairs, asked)[:, len(COLUMNS) :]
        assert asked.clock is not None
        for p, b in enumerate(pairs.owner):
            request = pairs.request[b]
            moment = int(moments(asked.day[[request]], asked.clock[[request]], ZONE)[0])
            events = [
                (EVERY_KIND[part.kind[e]], int(part.item[e]), moment - int(part.time[e]))
                for part in both_parts(log)
                for e in range(*part.offsets[asked.customer[request] :][:2])
                if part.time is not None and part.time[e] < moment
            ]
            for kind in HOUR_KINDS:
                own = [age for name, _, age in events if name == kind]
                of_offer = [
                    age for name, item, age in events if name == kind and item >= 0 and belongs[item, pairs.offer[p]]
                ]
                for hours in HOURS:
                    for who, ages in (("customer", own), ("pair", of_offer)):
                        value = x[p, HOUR_COLUMNS.index(f"{who}_{kind}_{hours}h")]
                        assert value == sum(age <= hours * HOUR for age in ages)
                        counted += value
            assert x[p, HOUR_COLUMNS.index("customer_hour_of_day")] == pytest.approx(asked.clock[request] / HOUR)
    assert counted > 0


def test_an_offer_in_a_cart_of_the_last_hour_is_scored() -> None:
    log = timed_log(1)
    offers = random_offers(1, log.item_known.size)
    carts = log.engagement
    assert carts is not None and carts.time is not None
    event = np.flatnonzero((carts.time != NO_TIME) & (carts.item >= 0) & (carts.day > log.first_day + 20))[:8]
    for e in event:
        day = np.array([int(carts.day[e])])
        clock = carts.time[[e]] - moments(day, 0, ZONE) + 60_000
        request = Requests(carts.owner(np.array([e])), day, None, clock)
        found, _ = pairs_of(log, offers, request, True)
        assert set(np.flatnonzero(membership(offers)[carts.item[e]]).tolist()) <= set(found.tolist())


@pytest.mark.parametrize("horizon", [1, 14])
def test_labels_of_a_request_are_purchases_from_its_moment_on(horizon: int) -> None:
    log = timed_log(2)
    offers, requests = random_offers(2, log.item_known.size), timed_requests(log, 2)
    belongs, bought_any, time = membership(offers), 0, end_of_day_times(log)
    for here, pairs, asked in blocks_of(Catalogue.of(log, offers, SMALL, True), requests):
        bought, revenue = here.labels(pairs, asked, horizon)
        assert asked.clock is not None
        first = moments(asked.day, asked.clock, ZONE)
        last = moments(asked.day + horizon, asked.clock, ZONE)
        for p, b in enumerate(pairs.owner):
            request = pairs.request[b]
            money = [
                float(log.revenue[e])
                for e in range(*log.offsets[asked.customer[request] :][:2])
                if log.kind[e] == PURCHASE and log.item[e] >= 0 and belongs[log.item[e], pairs.offer[p]]
                and first[request] <= time[e] < last[request]
            ]  # fmt: skip
            assert bought[p] == bool(money)
            assert revenue[p] == pytest.approx(sum(money), rel=1e-4, abs=1e-4)
            bought_any += bool(money)
    assert bought_any > 0


def test_a_request_at_midnight_has_the_columns_of_one_at_the_date() -> None:
    log = timed_log(3)
    offers, requests = random_offers(3, log.item_known.size), timed_requests(log, 3)
    dated = Requests(*np.unique(np.stack([requests.day, requests.customer]), axis=1)[::-1])
    midnight = dated._replace(clock=np.zeros(dated.number, np.int64))
    plain = Catalogue.of(log, offers, SMALL, None)
    (offer, x), (timed, y) = (
        (
            np.concatenate([pairs.offer for _, pairs, _ in blocks]),
            np.concatenate([h.columns(p, a) for h, p, a in blocks]),
        )
        for blocks in (
            list(blocks_of(plain, dated)),
            list(blocks_of(Catalogue.of(log, offers, SMALL, False), midnight)),
        )
    )
    np.testing.assert_array_equal(timed, offer)
    np.testing.assert_array_equal(y, x)


def test_moments_are_read_in_the_zone_of_the_log() -> None:
    log = timed_log(0)
    day = to_date(log.first_day + 50)
    local = datetime(day.year, day.month, day.day, 15, 30)
    summer = local.replace(tzinfo=UTC) - moments(np.array([log.first_day + 50]), 0, "UTC")[0] * timedelta(0)
    shift = timedelta(milliseconds=int(moments(np.array([log.first_day + 50]), 0, "UTC")[0]
                                       - moments(np.array([log.first_day + 50]), 0, ZONE)[0]))  # fmt: skip
    written = (local, summer - shift, f"{local:%Y-%m-%d %H:%M}", f"{local:%Y-%m-%dT%H:%M:%S}",
               (summer - shift).isoformat())  # fmt: skip
    for cutoff in written:
        frame = checked(pl.DataFrame({"customer_id": [101], "cutoff": [cutoff]}), "t")
        requests = resolve(frame, log, (), "t", lambda text: None)
        assert requests.clock is not None
        assert (requests.day[0], requests.clock[0]) == (log.first_day + 50, 15 * HOUR + HOUR // 2)


@pytest.mark.parametrize(
    ("cutoffs", "words"),
    [
        (["2024-01-01 25:00"], "'2024-01-01 25:00' of t is not a date; write it as YYYY-MM-DD, or with a time"),
        (["2024-01-01 10:00", "2024-01-01T10:00+02:00"], "has no offset, and others have one"),
    ],
)
def test_moments_that_cannot_be_read_are_one_sentence(cutoffs: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        checked(pl.DataFrame({"customer_id": ["1"] * len(cutoffs), "cutoff": cutoffs}), "t")


def test_a_time_of_day_is_refused_where_the_log_has_no_times() -> None:
    log = replace(timed_log(0), time=None, engagement=None)
    frame = checked(pl.DataFrame({"customer_id": [101], "cutoff": [datetime(2024, 3, 1, 15, 30)]}), "t")
    with pytest.raises(DataError, match="has a time of day, and the log has no times"):
        resolve(frame, log, (), "t", lambda text: None)


def test_requests_at_two_moments_of_a_day_are_two() -> None:
    log, said = timed_log(0), list[str]()
    day = datetime(*to_date(log.first_day + 50).timetuple()[:3])
    times = [day + timedelta(hours=9), day + timedelta(hours=15), day + timedelta(hours=9)]
    frame = checked(pl.DataFrame({"customer_id": [101] * 3, "cutoff": times}), "t")
    requests = resolve(frame, log, (), "t", said.append)
    assert requests.clock is not None and requests.clock.tolist() == [9 * HOUR, 15 * HOUR]
    assert said == ["1 requests of t stand there more than once and are answered once"]


@pytest.mark.parametrize("seed", range(2))
def test_weights_of_a_sample_of_timed_requests_add_up_to_all_pairs(seed: int) -> None:
    log = timed_log(seed)
    offers, requests = random_offers(seed, log.item_known.size), timed_requests(log, seed)
    catalogue = Catalogue.of(log, offers, SMALL, True)
    pairs = sum(pairs.offer.size for _, pairs, _ in blocks_of(catalogue, requests))
    totals = [training_sample(catalogue, requests, 14, k).weight.sum() for k in range(12)]
    assert abs(np.mean(totals) - pairs) < 5 * np.std(totals) / np.sqrt(len(totals)) + 1e-9


Compose = Callable[..., Any]
LEARN = ("data.catalogue.trees=10", "data.catalogue.epochs=2", "data.catalogue.batch=256", "data.catalogue.members=1")
SETTINGS = ("data/source=synthetic", "data.offer.column=category", "data.horizon=7", *LEARN)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EventLog:
    folder = tmp_path_factory.mktemp("timed") / "log"
    timed_log(5, 150, 60).save(folder)
    return EventLog.open(folder)


def visits(log: EventLog, first: int, last: int) -> pl.DataFrame:
    """Requests at the moments of views and purchases in [first, last) days after the first purchase."""
    event = np.flatnonzero(
        (log.time != NO_TIME) & (log.day >= log.first_day + first) & (log.day < log.first_day + last)
    )
    assert log.time is not None
    time = pl.Series(np.asarray(log.time[event])).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    return pl.DataFrame({"customer_id": log.customer_id[log.owner(event)], "cutoff": time.dt.convert_time_zone(ZONE)})


@pytest.fixture(scope="module")
def run(log: EventLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on requests with times of day."""
    from hydra import compose, initialize_config_dir

    from propensity.command import typed
    from propensity.config import conf_folder

    folder = tmp_path_factory.mktemp("run")
    visits(log, 60, 110).write_parquet(folder / "train.parquet")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        more = [f"data.log={log.folder}", f"data.requests={folder / 'train.parquet'}", f"out={folder / 'run'}"]
        config = typed(compose("train", overrides=[*SETTINGS, *more]))
    train_on_requests(config)
    return folder / "run"


def without_the_future(log: EventLog, moment: int, folder: Path) -> Path:
    cut = [part._where(end_of_day_times(part) < moment) for part in both_parts(log)]
    sold = cut[0].day[cut[0].kind == PURCHASE]
    replace(cut[0], engagement=cut[1], meta=cut[0].meta | {"last_day": int(sold.max())}).save(folder)
    return folder


@pytest.mark.slow
def test_a_run_on_moments_scores_moments_from_what_was_before_them(log: EventLog, run: Path, tmp_path: Path) -> None:
    assert load_catalogue(run).model.columns == TIMED_COLUMNS
    asked = visits(log, 125, 130)
    asked.write_parquet(tmp_path / "r.parquet")
    table = score_requests(run, tmp_path / "r.parquet", tmp_path / "s.parquet", top_per_customer=3)
    local = asked["cutoff"].dt.replace_time_zone(None)
    assert set(table["cutoff"]) == set(local) and table["cutoff"].dtype == pl.Datetime("ms")
    assert table["cutoff"].is_sorted()
    assert table.equals(pl.read_parquet(tmp_path / "s.parquet"))
    one = asked.filter(pl.col("cutoff") == asked["cutoff"].sort()[asked.height // 2])
    one.write_parquet(tmp_path / "one.parquet")
    past = without_the_future(log, int(one["cutoff"].dt.epoch("ms")[0]), tmp_path / "past")
    alone = score_requests(run, tmp_path / "one.parquet", tmp_path / "a.parquet", str(past), 3)
    assert alone.equals(table.filter(pl.col("cutoff") == one["cutoff"].dt.replace_time_zone(None)[0]))


@pytest.mark.slow
def test_a_run_on_moments_scores_dates_as_their_midnights(log: EventLog, run: Path, tmp_path: Path) -> None:
    day = to_date(log.first_day + 125)
    frame = pl.DataFrame({"customer_id": log.customer_id[:9], "cutoff": [day] * 9})
    frame.write_parquet(tmp_path / "r.parquet")
    table = score_requests(run, tmp_path / "r.parquet", tmp_path / "s.parquet")
    assert table["cutoff"].dtype == pl.Date and table["cutoff"].unique().to_list() == [day]


@pytest.mark.slow
def test_a_run_on_moments_refuses_a_log_without_times(log: EventLog, run: Path, tmp_path: Path) -> None:
    timeless = replace(log, time=None, engagement=None)
    timeless.save(tmp_path / "log")
    with pytest.raises(DataError, match="trained on requests with times of day, and the log has no times"):
        score_requests(run, None, tmp_path / "s.parquet", str(tmp_path / "log"), cutoff=str(to_date(log.last_day)))


def test_training_requests_whose_last_hours_are_not_over_are_refused(
    log: EventLog, composed: Compose, tmp_path: Path
) -> None:
    end = datetime(*to_date(log.last_day + 1 - 7).timetuple()[:3], 0, 1)
    pl.DataFrame({"customer_id": log.customer_id[:1], "cutoff": [end]}).write_parquet(tmp_path / "t.parquet")
    more = (f"data.log={log.folder}", f"data.requests={tmp_path / 't.parquet'}", f"out={tmp_path / 'run'}")
    with pytest.raises(ConfigurationError, match="labels of 7 days must close by"):
        train_on_requests(composed("train", *SETTINGS, *more))


@pytest.mark.slow
def test_a_run_at_common_cutoffs_scores_a_moment_from_what_was_before_it(
    log: EventLog, composed: Compose, tmp_path: Path
) -> None:
    end = to_date(log.first_day + 110).isoformat()
    small = ("data/source=synthetic", "data.offer.column=category", "data.horizon=7", "data.offer.min_buyers=1")
    train(composed("train", *small, *QUICK, f"data.log={log.folder}", f"data.end={end}", f"out={tmp_path / 'run'}"))
    asked = visits(log, 125, 127).head(3).with_columns(pl.col("cutoff").dt.replace_time_zone(None))
    asked.write_parquet(tmp_path / "r.parquet")
    table = score_requests(tmp_path / "run", tmp_path / "r.parquet", tmp_path / "s.parquet")
    assert set(table["cutoff"]) == set(asked["cutoff"])
    moment = max(visits(log, 125, 127)["cutoff"].dt.epoch("ms").head(3).to_list())
    last = asked.filter(pl.col("cutoff") == asked["cutoff"].max())
    last.write_parquet(tmp_path / "last.parquet")
    past = without_the_future(log, moment, tmp_path / "past")
    alone = score_requests(tmp_path / "run", tmp_path / "last.parquet", tmp_path / "a.parquet", str(past))
    assert alone.equals(table.filter(pl.col("cutoff") == last["cutoff"][0]))
