"""Laws of the audit log: it grows by whole lines, and whatever else happens to it is found."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from propensity import audit
from propensity.errors import ConfigurationError, IntegrityError


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(audit.VARIABLE, raising=False)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    for k in range(5):
        audit.append(tmp_path, "train", {"run": f"runs/{k}"})
    return tmp_path / audit.FILE


def test_an_unchanged_log_is_verified(log: Path) -> None:
    state = audit.verify(log)
    assert state.lines == 5 and state.unchained == 0
    audit.append(log.parent, "score", {})
    assert audit.verify(log, state.digest).lines == 6


@pytest.mark.parametrize("place", range(5))
def test_a_removed_doubled_or_swapped_line_is_found(log: Path, place: int) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    changes = [lines[:place] + lines[place + 1 :], lines[: place + 1] + lines[place:]]
    changes += [lines[:place] + [lines[place - 1]] + lines[place:]] if place else []
    changes += [lines[:place] + [b'{"action": "train"}\n'] + lines[place:]] if place else []
    for change in changes:
        log.write_bytes(b"".join(change))
        with pytest.raises(IntegrityError, match="audit"):
            audit.verify(log)


def test_any_changed_byte_is_found(log: Path) -> None:
    good, draw = log.read_bytes(), random.Random(17)
    for _ in range(300):
        bad = bytearray(good)
        bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        log.write_bytes(bad)
        with pytest.raises(IntegrityError, match="audit"):
            audit.verify(log)


def test_a_log_that_was_cut_off_is_found(log: Path) -> None:
    good = log.read_bytes()
    for size in range(0, len(good), 37):
        log.write_bytes(good[:size])
        if size:
            with pytest.raises(IntegrityError, match="audit"):
                audit.verify(log)
    log.write_bytes(good)
    log.with_suffix(audit.HEAD).unlink()
    with pytest.raises(IntegrityError, match="audit.head is missing"):
        audit.verify(log)


def test_a_log_that_was_written_anew_is_found_by_a_digest_from_elsewhere(log: Path) -> None:
    digest = audit.verify(log).digest
    log.unlink()
    log.with_suffix(audit.HEAD).unlink()
    for k in range(9):
        audit.append(log.parent, "train", {"run": f"runs/other-{k}"})
    audit.verify(log)
    with pytest.raises(IntegrityError, match="never had the digest"):
        audit.verify(log, digest)


def test_a_later_line_does_not_cover_a_change_up(log: Path) -> None:
    good = log.read_bytes()
    for bad in (good.replace(b"runs/4", b"runs/9"), good[:-20], b"", good.replace(b"runs/0", b"runs/9")):
        log.write_bytes(bad)
        audit.append(log.parent, "score", {})
        with pytest.raises(IntegrityError, match="audit.jsonl"):
            audit.verify(log)
        log.with_suffix(audit.HEAD).unlink()
        log.unlink()
        for k in range(5):
            audit.append(log.parent, "train", {"run": f"runs/{k}"})
        good = log.read_bytes()


def test_a_writer_that_was_killed_between_line_and_head_leaves_a_good_log(log: Path) -> None:
    head = log.with_suffix(audit.HEAD).read_text()
    audit.append(log.parent, "score", {})
    log.with_suffix(audit.HEAD).write_text(head)
    assert audit.verify(log).lines == 6
    audit.append(log.parent, "score", {})
    assert audit.verify(log).lines == 7


def test_lines_of_an_earlier_version_are_covered_by_the_chain(tmp_path: Path) -> None:
    path = tmp_path / audit.FILE
    path.write_text('{"run": "a"}\n{"run": "b"}\n')
    assert audit.verify(path) == (2, 2, audit.verify(path).digest)
    audit.append(tmp_path, "train", {"run": "c"})
    assert audit.verify(path).unchained == 2
    path.write_text(path.read_text().replace('"a"', '"x"'))
    with pytest.raises(IntegrityError, match="was changed before line 3"):
        audit.verify(path)


def test_writers_at_the_same_time_leave_one_chain(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: audit.append(tmp_path, "train", {"run": k}), range(40)))
    assert audit.verify(tmp_path / audit.FILE).lines == 40


def test_one_log_for_all_folders_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(audit.VARIABLE, str(tmp_path / "one.jsonl"))
    for folder in ("a", "b"):
        audit.append(tmp_path / folder, "train", {})
    assert audit.verify(tmp_path / "one.jsonl").lines == 2 and not (tmp_path / "a").exists()


def test_a_missing_log_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no audit log at"):
        audit.verify(tmp_path / audit.FILE)


def test_customers_are_marked_by_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    mark = audit.customer_mark("7", tmp_path, None)
    assert mark == audit.customer_mark("7", tmp_path, None) != audit.customer_mark("7", tmp_path / "other", None)
    assert (tmp_path / "audit.key").stat().st_mode & 0o077 == 0
    assert audit.customer_mark("7", tmp_path, b"k" * 16) != mark


def test_the_command_verifies_and_ends_with_5(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    from propensity.cli import main

    arguments = sys.argv
    try:
        main(["audit", f"runs={log.parent}"])
        assert "5 lines unchanged" in capsys.readouterr().out
        log.write_text(log.read_text().replace("runs/3", "runs/4"))
        with pytest.raises(SystemExit) as stop:
            main(["audit", f"runs={log.parent}"])
        assert stop.value.code == 5 and "audit.jsonl" in capsys.readouterr().err
    finally:
        sys.argv = arguments
    assert json.loads(log.with_suffix(audit.HEAD).read_text())["lines"] == 5
