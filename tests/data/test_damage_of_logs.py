"""A damaged log is refused before a kernel reads it, with or without checksums; writes leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from propensity.atomic import remove_left_overs, whole_file, whole_folder
from propensity.checksum import FILE, check_folder, read_checksums, seal_folder
from propensity.data.event_log import COLUMNS, EventLog, fingerprint
from propensity.errors import ConfigurationError, DamageError, DataError
from propensity.ingest.append import append
from propensity.ingest.build import build_log, prepare
from propensity.ingest.source import Source
from propensity.scratch import SCRATCH, scratch_folder
from random_log import random_log, random_tables


def without_checksums(folder: Path) -> Path:
    """A log as it was written before there were checksums."""
    meta = json.loads((folder / "meta.json").read_text())
    older = {name: value for name, value in meta.items() if name not in ("files", "checksum")} | {"format": 2}
    (folder / "meta.json").write_text(json.dumps(older, indent=1))
    return folder


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return random_log(0).save(tmp_path / "log")


def test_every_file_of_a_log_has_a_checksum(log: EventLog, tmp_path: Path) -> None:
    names = {path.name for path in (tmp_path / "log").iterdir()}
    assert set(log.meta["files"]) | {"meta.json"} == names
    assert EventLog.open(tmp_path / "log", verify=True).fingerprint == log.fingerprint


def write(folder: Path, name: str, change: Callable[[np.ndarray, EventLog], None], log: EventLog) -> None:
    column = np.array(getattr(log, name))
    change(column, log)
    np.save(folder / f"{name}.npy", column, allow_pickle=False)


def assign(place: int, value: Any) -> Callable[[np.ndarray, EventLog], None]:
    def change(column: np.ndarray, log: EventLog) -> None:
        column[place] = value

    return change


def reverse_days(column: np.ndarray, log: EventLog) -> None:
    longest = int(np.diff(log.offsets).argmax())
    own = slice(log.offsets[longest], log.offsets[longest + 1])
    assert column[own][0] < column[own][-1]
    column[own] = column[own][::-1]


WRONG: list[tuple[str, Callable[[np.ndarray, EventLog], None], str]] = [
    ("revenue", assign(5, np.nan), "event 5 has nan, not"),
    ("revenue", assign(-1, np.inf), "has inf, not"),
    ("quantity", assign(0, -np.inf), "event 0 has -inf, not"),
    ("discount", assign(0, 1e30), "event 0 has 1.0000000150474662e+30"),
    ("item", assign(3, 10**6), "event 3 has 1000000, not -1 to"),
    ("item", assign(3, -2), "event 3 has -2, not -1 to"),
    ("kind", assign(1, 99), "event 1 has 99, not 0 to"),
    ("kind", assign(1, -1), "event 1 has -1, not 0 to"),
    ("channel", assign(1, 100), "event 1 has 100, not -1 to"),
    ("order", assign(1, -2), "event 1 has -2, not -1 to"),
    ("day", assign(0, 2**31 - 1), "event 0 has 2147483647, not"),
    ("day", reverse_days, "is earlier than the one before it of the same customer"),
    ("offsets", assign(1, 10**9), "offsets.npy: it descends at customer 1"),
    ("offsets", assign(0, -1), "offsets.npy: it does not lead from 0 to"),
]


@pytest.mark.parametrize(("name", "change", "words"), WRONG)
def test_a_value_that_cannot_be_is_found_without_checksums(
    log: EventLog, tmp_path: Path, name: str, change: Callable[[np.ndarray, EventLog], None], words: str
) -> None:
    folder = without_checksums(tmp_path / "log")
    EventLog.open(folder)
    write(folder, name, change, log)
    with pytest.raises(DamageError, match=rf"log is damaged \({name}.npy: .*; prepare it again") as caught:
        EventLog.open(folder)
    assert words in str(caught.value) and caught.value.exit_code == 5


def test_days_are_compared_across_parts_of_a_column(log: EventLog, tmp_path: Path, monkeypatch: Any) -> None:
    folder = without_checksums(tmp_path / "log")
    write(folder, "day", reverse_days, log)
    for size in (1, 2, 7):
        monkeypatch.setattr("propensity.data.valid.CHUNK", size)
        with pytest.raises(DamageError, match="is earlier than the one before it"):
            EventLog.open(folder)


def test_a_log_without_checksums_opens_and_says_so_once(log: EventLog, tmp_path: Path, capsys: Any) -> None:
    folder = without_checksums(tmp_path / "log")
    for _ in range(2):
        assert EventLog.open(folder, verify=True).fingerprint == log.fingerprint
    assert capsys.readouterr().err.count("was written without checksums") == 1


@pytest.mark.parametrize("change", [{"fingerprint": "0" * 16}, {"first_day": 5}, {"format": 2}, {"currency": "XXX"}])
def test_a_changed_record_of_a_log_is_refused(log: EventLog, tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "log/meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DamageError, match=r"log is damaged \(meta.json: its content has another checksum\)"):
        EventLog.open(tmp_path / "log")


def test_a_log_whose_checksums_were_taken_away_is_refused(log: EventLog, tmp_path: Path) -> None:
    without_checksums(tmp_path / "log")
    path = tmp_path / "log/meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 3}))
    with pytest.raises(DamageError, match=r"meta.json: its content has another checksum"):
        EventLog.open(tmp_path / "log")


FLIPS = """
import sys
from pathlib import Path
import numpy as np
from propensity.data.event_log import EventLog
from propensity.errors import PropensityError

folder, number = Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(11)
files = sorted(path for path in folder.iterdir() if path.is_file())
found = 0
for k in range(number):
    path = files[k % len(files)]
    whole = path.read_bytes()
    changed = bytearray(whole)
    for place in rng.integers(len(changed) * 8, size=1 + k % 4):
        changed[place // 8] ^= 1 << (place % 8)
    path.write_bytes(changed)
    try:
        log = EventLog.open(folder)
        log.before(log.last_day), log.purchasers(log.last_day), log.customer_id.tolist()
    except PropensityError:
        found += 1
    path.write_bytes(whole)
print(found)
"""


def flips_without_checksums(folder: Path, number: int) -> int:
    command = [sys.executable, "-c", FLIPS, str(folder), str(number)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


def test_no_flip_in_an_older_log_crashes_whoever_opens_it(log: EventLog, tmp_path: Path) -> None:
    assert flips_without_checksums(without_checksums(tmp_path / "log"), 60) > 0


@pytest.mark.long
def test_none_of_a_thousand_flips_in_an_older_log_crashes_whoever_opens_it(log: EventLog, tmp_path: Path) -> None:
    assert flips_without_checksums(without_checksums(tmp_path / "log"), 1000) > 0


def test_amounts_that_overflow_are_refused(tmp_path: Path) -> None:
    log = random_log(0)
    for name in ("revenue", "quantity", "discount"):
        large = replace(log, **{name: np.full_like(getattr(log, name), 3e38)})
        with pytest.raises(DataError, match=f"{name} adds up to .*, more than 1e.18, so that sums overflow"):
            large.save(tmp_path / "large")
    assert not any(tmp_path.iterdir())


class Deliveries(Source):
    """Tables of a random log, from a day or before it."""

    def __init__(self, day: int, later: bool) -> None:
        self.day, self.later = day, later

    def load(self) -> Any:
        import polars as pl

        tables = random_tables(0)
        first = tables.events.select(pl.col("day").min()).collect().item()
        day = pl.lit(first) + pl.duration(days=self.day)
        events = tables.events.filter(pl.col("day") >= day if self.later else pl.col("day") < day)
        return tables._replace(events=events, read=None, dropped={})


def test_an_append_renews_the_checksums(tmp_path: Path) -> None:
    prepare(Deliveries(60, False), tmp_path / "log")
    log = append(Deliveries(60, True), tmp_path / "log")
    assert EventLog.open(tmp_path / "log", verify=True).meta["files"] == log.meta["files"]
    assert fingerprint(log) == log.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_an_append_to_a_damaged_log_is_refused(tmp_path: Path) -> None:
    prepare(Deliveries(60, False), tmp_path / "log")
    path = tmp_path / "log/customers.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    with pytest.raises(DamageError, match="customers.parquet: its checksum is"):
        append(Deliveries(60, True), tmp_path / "log")


KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {data!r}]
from pathlib import Path
from propensity.ingest import append as module
from test_damage_of_logs import Deliveries

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

module.add_segment = die
module.append(Deliveries(60, True), Path(sys.argv[1]))
"""


def test_a_killed_append_leaves_nothing_after_the_next_command(tmp_path: Path, capsys: Any) -> None:
    prepare(Deliveries(60, False), tmp_path / "log")
    here = Path(__file__).resolve()
    code = KILLED.format(tests=str(here.parents[1]), data=str(here.parent))
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    environment = os.environ | {"PYTHONPATH": str(here.parents[2] / "src")}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    left = sorted(path.name for path in tmp_path.iterdir())
    assert sum(".log.draft." in name for name in left) == 2, "the segment, and the events of the delivery"
    EventLog.open(tmp_path / "log")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert "an interrupted run left an incomplete draft" in capsys.readouterr().err


def test_a_draft_of_a_running_command_is_left_alone(log: EventLog, tmp_path: Path) -> None:
    with whole_folder(tmp_path / "log") as draft:
        (draft / "events").write_text("half")
        EventLog.open(tmp_path / "log")
        assert (draft / "events").is_file()
        shutil.copytree(tmp_path / "log", draft, dirs_exist_ok=True)
    EventLog.open(tmp_path / "log")


def test_the_folder_of_a_log_in_memory_is_removed_after_a_kill(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = f"""
        import os, signal, tempfile
        tempfile.tempdir = {str(tmp_path)!r}
        from propensity.scratch import scratch_folder
        with scratch_folder() as folder:
            (folder / "events").write_text("of persons")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert [path.name.startswith(SCRATCH) for path in tmp_path.iterdir()] == [True]
    with scratch_folder() as folder:
        build_log(random_tables(0))
        assert list(tmp_path.iterdir()) == [folder]
    assert not any(tmp_path.iterdir())


def test_temporary_files_of_killed_writes_are_removed_everywhere(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "run").mkdir()
    for name in (f".scores.parquet.{ended.pid}", f".scores.parquet.{os.getpid()}", ".scores.parquet.mine"):
        (tmp_path / "run" / name).write_text("rows")
    (tmp_path / "run/.candidates.draft.abc").mkdir()
    remove_left_overs(tmp_path)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {f".scores.parquet.{os.getpid()}", ".scores.parquet.mine"}


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "real").mkdir()
    targets = {"file": tmp_path / "real/table.txt", "folder": tmp_path / "real/log"}
    if exists:
        targets["file"].write_text("old")
        targets["folder"].mkdir()
    for name, target in targets.items():
        (tmp_path / name).symlink_to(target)
    with whole_file(tmp_path / "file") as draft:
        draft.write_text("new")
    with whole_folder(tmp_path / "folder") as draft:
        (draft / "new").write_text("new")
    assert all((tmp_path / name).is_symlink() for name in targets)
    assert targets["file"].read_text() == "new" == (targets["folder"] / "new").read_text()
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == ["log", "table.txt"]


def test_writes_below_a_sealed_folder_renew_its_checksums(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    seal_folder(tmp_path)
    with whole_file(tmp_path / "deep/b.txt") as draft:
        draft.write_text("b")
    with whole_folder(tmp_path / "plan") as draft:
        (draft / "c.txt").write_text("c")
    assert sorted(read_checksums(tmp_path)) == ["a.txt", "deep/b.txt", "plan/c.txt"]
    with whole_folder(tmp_path / "plan") as draft:
        (draft / "d.txt").write_text("d")
    assert check_folder(tmp_path) == 3 and "plan/c.txt" not in read_checksums(tmp_path)
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text().replace('"a.txt"', '"A.txt"'))
    with pytest.raises(DamageError, match="checksums.json is damaged"):
        check_folder(tmp_path)


@pytest.mark.parametrize("code", ["EROFS", "EACCES", "ENOSPC", "EDQUOT", "EIO"])
def test_a_disk_that_refuses_a_write_is_one_sentence(tmp_path: Path, code: str) -> None:
    import errno

    number = getattr(errno, code)
    for kind in (whole_file, whole_folder):
        with pytest.raises(ConfigurationError) as caught, kind(tmp_path / "out"):
            raise OSError(number, os.strerror(number), str(tmp_path / "out"))
        assert str(tmp_path / "out") in str(caught.value) and "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_all_columns_are_checked() -> None:
    assert {name for name, _, _ in WRONG} == {*COLUMNS, "offsets"}
