"""A return in an appended delivery is one of the purchase that the log has, as in a log that is built whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from propensity.data.event_log import EventLog
from propensity.errors import DataError
from propensity.ingest.append import append
from propensity.ingest.build import prepare
from propensity.ingest.source.table import Table
from propensity.kernel.event import EVERY_KIND

COLUMNS = {"customer": "card", "day": "day", "item": "sku", "quantity": "units", "revenue": "paid", "order": "receipt"}
HEADER = "card,day,sku,units,paid,receipt\n"
DELIVERIES = (
    "01,2024-01-10,7,1,5,1\n02,2024-01-10,8,2,6,2\n03,2024-01-11,7,1,5,3\n,2024-01-11,7,1,5,9\n",
    "01,2024-02-01,7,-1,-5,4\n02,2024-02-01,7,-1,-5,5\n04,2024-02-01,8,1,3,6\n04,2024-02-02,8,-1,-3,6\n",
    "04,2024-02-03,8,-1,-3,7\n03,2024-02-03,9,-1,-3,8\n05,2024-02-03,8,1,3,10\n,2024-02-03,7,-1,-5,9\n",
)


def table(folder: Path, name: str) -> Table:
    return Table(events=str(folder / name), columns=COLUMNS)


@pytest.mark.parametrize("key", [None, b"k" * 16])
def test_a_return_of_what_the_log_or_a_segment_has_is_accepted_and_any_other_quarantined(
    key: bytes | None, tmp_path: Path
) -> None:
    for k, text in enumerate(DELIVERIES):
        (tmp_path / f"day-{k}.csv").write_text(HEADER + text)
    whole = prepare(table(tmp_path, "day-*.csv"), tmp_path / "whole", key=key)
    prepare(table(tmp_path, "day-0.csv"), tmp_path / "log", key=key)
    for k in (1, 2):
        append(table(tmp_path, f"day-{k}.csv"), tmp_path / "log", key)
    log = EventLog.open(tmp_path / "log", verify=True)
    assert log.meta["rows"]["quarantined"] == whole.meta["rows"]["quarantined"] == {"return_before_purchase": 2}
    assert log.fingerprint == whole.fingerprint and (log.kind == EVERY_KIND.index("return")).sum() == 4


@pytest.mark.parametrize("day", ["2024-02-05", "2024-01-11"])
@pytest.mark.parametrize("keep", [None, 30])
def test_a_delivery_of_returns_alone_gives_the_log_built_whole(keep: int | None, day: str, tmp_path: Path) -> None:
    """Also one of an earlier day; a log still needs a purchase."""
    texts = DELIVERIES[0], DELIVERIES[1], f"02,{day},8,-1,-3,11\n06,{day},8,-1,-3,12\n"
    for k, text in enumerate(texts):
        (tmp_path / f"day-{k}.csv").write_text(HEADER + text)
    whole = prepare(table(tmp_path, "day-*.csv"), tmp_path / "whole", keep=keep)
    prepare(table(tmp_path, "day-0.csv"), tmp_path / "log", keep=keep)
    for k in (1, 2):
        append(table(tmp_path, f"day-{k}.csv"), tmp_path / "log")
    log = EventLog.open(tmp_path / "log", verify=True)
    assert log.fingerprint == whole.fingerprint and log.meta["rows"] == whole.meta["rows"]
    assert (log.first_day, log.last_day, log.last_event_day) == (whole.first_day, whole.last_day, whole.last_event_day)
    with pytest.raises(DataError, match="none of 2 events is a purchase"):
        prepare(returns_alone(tmp_path, day), tmp_path / "none")


def returns_alone(folder: Path, day: str) -> Table:
    """A table whose returns are kept without their purchases."""
    (folder / "alone.csv").write_text(f"{HEADER}02,{day},8,-1,-3,11\n06,{day},8,-1,-3,12\n")
    return Table(events=str(folder / "alone.csv"), columns=COLUMNS, orphans="keep")
