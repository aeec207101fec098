"""However a run ends, the old log stays complete, the new one is absent or complete, and leftovers are reported."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from propensity.atomic import exchange_folders, only_writer, remove_drafts, whole_folder
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError

PROGRAM = """
import sys
from propensity.command import leave
from propensity.ingest.build import prepare
from propensity.ingest.source.table import Table
from propensity.errors import PropensityError
columns = {"customer": "who", "day": "when", "item": "sku", "revenue": "paid"}
print("ready", flush=True)
try:
    prepare(Table(sys.argv[1], columns), sys.argv[2])
except PropensityError as error:
    leave(str(error), error.exit_code)
"""
ENVIRONMENT = os.environ | {"POLARS_MAX_THREADS": "2", "OMP_NUM_THREADS": "1"}


def sales(folder: Path, rows: int, seed: int) -> Path:
    random_ = np.random.default_rng(seed)
    day = pl.Series(random_.integers(19_000, 19_400, rows)).cast(pl.Int32).cast(pl.Date)
    who, item = random_.integers(0, 500, rows), random_.integers(0, 50, rows)
    frame = pl.DataFrame({"who": who, "when": day, "sku": item, "paid": random_.random(rows).round(2)})
    frame.write_parquet(folder / f"sales-{seed}.parquet")
    return folder / f"sales-{seed}.parquet"


def started(file: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(file), str(out)]
    process = subprocess.Popen(command, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def finished(file: Path, out: Path) -> tuple[int, str]:
    process = started(file, out)
    message = process.communicate(timeout=600)[1]
    return process.returncode, message


def whole(out: Path) -> str | None:
    """Fingerprint of the log at `out` after reading all its columns, None without a log."""
    if not out.exists():
        return None
    log = EventLog.open(out)
    assert log.meta["rows"]["used"] == log.day.size == int(log.offsets[-1]) and np.isfinite(log.revenue).all()
    return log.fingerprint


@pytest.mark.long
def test_a_killed_run_leaves_the_old_or_the_new_log(tmp_path: Path) -> None:
    first, second = sales(tmp_path, 40_000, 0), sales(tmp_path, 60_000, 1)
    out, draw, fingerprints = tmp_path / "logs/shop", random.Random(5), set()
    begun = time.perf_counter()
    assert finished(second, tmp_path / "logs/other")[0] == 0
    length, new = time.perf_counter() - begun, whole(tmp_path / "logs/other")
    assert finished(first, out)[0] == 0
    old = whole(out)
    for moment in range(50):
        process = started(second, out)
        time.sleep(draw.uniform(0, 0.9) * length * (moment + 1) / 50)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        fingerprints.add(whole(out))
        assert fingerprints <= {old, new}
        if moment % 10 == 9:
            code, message = finished(first, out)
            assert code == 0 and whole(out) == old
            left = [path.name for path in out.parent.iterdir() if path.name.startswith(".shop")]
            assert left == [] and ("cut off" in message or message == "")
    assert old in fingerprints


def test_the_next_run_removes_a_draft_and_reports_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".log.draft.abc").mkdir()
    (tmp_path / ".log.draft.abc/day.npy").write_bytes(b"half")
    with whole_folder(tmp_path / "log") as draft:
        (draft / "new").write_text("new")
    assert "an interrupted run left an incomplete draft of" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_result_that_was_moved_aside_is_restored(tmp_path: Path) -> None:
    (tmp_path / ".log.old.abc/former").mkdir(parents=True)
    (tmp_path / ".log.old.abc/former/old").write_text("old")
    assert remove_drafts(tmp_path / "log") == [f"an interrupted run had moved {tmp_path / 'log'} aside; it is restored"]
    assert (tmp_path / "log/old").read_text() == "old" and not (tmp_path / ".log.old.abc").exists()


def test_two_folders_are_exchanged_in_one_step(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    if not exchange_folders(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange two folders in one step")
    assert (tmp_path / "a/b").read_text() == "b" and (tmp_path / "b/a").read_text() == "a"


def test_a_second_run_into_a_folder_is_refused(tmp_path: Path) -> None:
    file, out = sales(tmp_path, 2_000, 0), tmp_path / "log"
    with only_writer(out):
        code, message = finished(file, out)
    assert code == 2 and message.count("\n") == 1 and not out.exists()
    assert f"another run is writing to {out}; wait for it, or give another folder as out" in message
    assert finished(file, out)[0] == 0 and whole(out)
    with only_writer(out), pytest.raises(ConfigurationError, match="another run is writing"), only_writer(out):
        pass


def test_a_full_disk_is_reported_in_one_line_and_leaves_the_old_log(tmp_path: Path) -> None:
    out = tmp_path / "log"
    assert finished(sales(tmp_path, 2_000, 0), out)[0] == 0
    old, file = whole(out), sales(tmp_path, 200_000, 1)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    command = [sys.executable, "-c", limit + PROGRAM, str(file), str(out)]
    done = subprocess.run(command, env=ENVIRONMENT, text=True, capture_output=True, timeout=600)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"no space left to write {out}; free some, or give another path as out" in done.stderr
    assert whole(out) == old and [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_000
