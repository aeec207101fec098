"""A service with the folder of `propensity clv` serves its values to whom the log allows them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import polars as pl
import pytest
from fastapi import FastAPI

import propensity as pp
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, DamageError
from propensity.ingest.erasure import erase_customer
from propensity.serving.app import create_app
from propensity.serving.bundle import open_bundle
from propensity.serving.online import OnlineScorer
from propensity.value import closed, trees
from serving.exported import Exported
from serving.live import client_of


class Places(NamedTuple):
    """Folders that a test may change, and the table of values."""

    log: Path
    values: Path
    table: pl.DataFrame


@pytest.fixture(scope="module")
def computed(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("values") / "clv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed, "ROWS", 2_000)
        patch.setattr(trees, "ROUNDS", 5)
        pp.clv(exported.log, exported.cutoff, [4, 9], out=out)
    return out


@pytest.fixture
def places(exported: Exported, computed: Path, tmp_path: Path) -> Iterator[Places]:
    shutil.copytree(exported.log, tmp_path / "log")
    shutil.copytree(computed, tmp_path / "clv")
    yield Places(tmp_path / "log", tmp_path / "clv", pl.read_parquet(computed / "clv.parquet"))


def service(exported: Exported, places: Places) -> FastAPI:
    return create_app(OnlineScorer(open_bundle(exported.bundle), places.log), refresh=3_600, values=places.values)


def send(app: FastAPI, *bodies: tuple[str, dict[str, Any]]) -> list[httpx.Response]:
    """Responses to requests after each other."""

    async def run() -> list[httpx.Response]:
        async with client_of(app) as client:
            return [await client.post(path, json=body) for path, body in bodies]

    return asyncio.run(run())


def test_a_value_over_http_is_that_of_the_table(exported: Exported, places: Places) -> None:
    ids = [str(each) for each in places.table["customer_id"].unique(maintain_order=True)[[0, 5, -1]]]
    one, some, many = send(
        service(exported, places),
        ("/value", {"customer_id": ids[1]}),
        ("/value", {"customer_id": ids[1], "weeks": [9]}),
        ("/values", {"customer_ids": [*ids, "nobody"]}),
    )
    assert one.json()["cutoff"] == exported.cutoff
    customers = [each["customer"] for each in many.json()["customers"]]
    assert customers[3] is None and "is unknown" in many.json()["customers"][3]["error"]
    assert one.json()["customer"] == customers[1]
    assert some.json()["customer"]["values"] == customers[1]["values"][1:]
    for name, customer in zip(ids, customers[:3], strict=True):
        rows = places.table.filter(pl.col("customer_id").cast(pl.String) == name).sort("weeks").to_dicts()
        assert customer["customer_id"] == name and len(rows) == 2
        for row, value in zip(rows, customer["values"], strict=True):
            assert value == {key: row[key] for key in value}
            since = None if row["alarm_since"] is None else str(row["alarm_since"])
            assert (customer["tier"], customer["behind"], customer["alarm_since"]) == (
                row["tier"],
                row["behind"],
                since,
            )


def test_whom_the_log_does_not_allow_has_no_value(exported: Exported, places: Places) -> None:
    ids = [str(each) for each in places.table["customer_id"].unique(maintain_order=True)[:3]]
    app = service(exported, places)

    async def run() -> list[list[bool]]:
        async with client_of(app) as client:
            erase_customer(ids[0], str(places.log), str(places.log.with_name("runs")), None)
            after = (await client.post("/values", json={"customer_ids": ids})).json()["customers"]
            del app.state.exchange.scorer.row[ids[1]]  # as of a customer who objects to profiling
            last = (await client.post("/values", json={"customer_ids": ids})).json()["customers"]
            return [[each["error"] is None for each in response] for response in (after, last)]

    assert asyncio.run(run()) == [[False, True, True], [False, False, True]]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"customer_id": "nobody"}, 400, "has no such id in its log"),
        ({"weeks": [13]}, 400, "no values of 13 weeks; give some of 4, 9"),
        ({"weeks": []}, 422, "body.weeks"),
        ({"weeks": ["4"]}, 422, "body.weeks.0"),
        ({"cutoff": "2024-01-01"}, 422, "Extra inputs are not permitted"),
    ],
)
def test_a_request_without_an_answer_is_explained(
    exported: Exported, computed: Path, body: dict[str, Any], status: int, words: str
) -> None:
    table = pl.read_parquet(computed / "clv.parquet")
    own = Places(exported.log, computed, table)
    (response,) = send(service(exported, own), ("/value", {"customer_id": str(table["customer_id"][0])} | body))
    assert response.status_code == status and words in response.json()["error"]


def test_values_are_exchanged_and_damaged_ones_leave_the_old_ones_in_use(exported: Exported, places: Places) -> None:
    customer, app = {"customer_id": str(places.table["customer_id"][0])}, service(exported, places)

    def replaced(change: Any) -> None:
        following = places.values.with_name("next")
        shutil.copytree(places.values, following)
        change(following)
        shutil.rmtree(places.values)
        following.rename(places.values)

    def later(folder: Path) -> None:
        shutil.rmtree(folder)
        pp.clv(places.log, exported.cutoff, [4], out=folder)

    def damage(folder: Path) -> None:
        content = (folder / "clv.parquet").read_bytes()
        (folder / "clv.parquet").write_bytes(content[:-400] + b"\0" * 400)

    async def run() -> list[tuple[int, bool]]:
        async with client_of(app) as client:
            seen = []
            for change in (None, later, damage):
                if change is not None:
                    replaced(change)
                windows = (await client.post("/value", json=customer)).json()["customer"]["values"]
                seen.append((len(windows), (await client.post("/refresh")).json()["current"]))
            return seen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed, "ROWS", 1_000)
        patch.setattr(trees, "ROUNDS", 2)
        assert asyncio.run(run()) == [(2, True), (1, True), (1, False)]
    with pytest.raises(DamageError, match="write it again with propensity clv"):
        service(exported, places)


def test_values_that_cannot_be_served_are_refused_at_the_start(exported: Exported, places: Places) -> None:
    bundle = open_bundle(exported.bundle)
    with pytest.raises(ConfigurationError, match="needs a log, which says who was erased"):
        create_app(OnlineScorer(bundle), values=places.values)
    with pytest.raises(ConfigurationError, match="no values at .*log; make them with propensity clv"):
        create_app(OnlineScorer(bundle, places.log), values=places.log)
    opened = EventLog.open(places.log)
    opened.until(int(opened.first_day) + 60).save(places.log.with_name("other"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed, "ROWS", 1_000)
        patch.setattr(trees, "ROUNDS", 2)
        pp.clv(places.log.with_name("other"), exported.cutoff, [4], out=places.values.with_name("others"))
    with pytest.raises(ConfigurationError, match=r"is not the event log that the values at .* are of"):
        create_app(OnlineScorer(bundle, places.log), values=places.values.with_name("others"))
