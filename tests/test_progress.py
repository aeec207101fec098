"""What a command says while it works, and what its record holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from propensity.cli import main
from propensity.errors import ConfigurationError
from propensity.progress import CURRENT, Progress, as_json, lines_of, running, step, track
from propensity.report.table import working


def record_of(folder: Path) -> list[dict[str, object]]:
    return list(lines_of(folder / "times.jsonl"))


def test_every_step_of_a_command_is_in_its_record_with_time_and_memory(tmp_path: Path) -> None:
    with working("beginning", "score", tmp_path / "run", "scores.parquet") as say:
        say("reading")
        step("writing")
    lines = record_of(tmp_path)
    assert [line["step"] for line in lines] == ["beginning", "reading", "writing", "total"]
    assert {(line["command"], line["out"], line["outcome"]) for line in lines} == {("score", "scores.parquet", "done")}
    for line in lines:
        assert float(str(line["wall_seconds"])) >= 0 and float(str(line["cpu_seconds"])) >= 0
        assert int(str(line["peak_bytes"])) > 1_000_000
    assert CURRENT.get() is None


def test_a_command_that_fails_is_in_the_record_and_no_estimate_is_made_from_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError), working("beginning", "score", tmp_path / "run") as say:
        say("reading")
        raise ConfigurationError("no")
    assert [line["outcome"] for line in record_of(tmp_path)] == ["done", "failed", "failed"]
    assert Progress("score", "again", tmp_path, "", lambda text, left: None).usual is None


def test_the_estimate_is_the_median_of_earlier_commands_of_the_name_less_the_time_since(tmp_path: Path) -> None:
    total: dict[str, str | float] = {"command": "score", "step": "total", "outcome": "done"}
    lines = [total | {"wall_seconds": seconds} for seconds in (400.0, 300.0, 9000.0)]
    lines += [total | {"command": "train", "wall_seconds": 5.0}]
    (tmp_path / "times.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"command": "sc')
    told: list[tuple[str, float | None]] = []
    with running(Progress("score", "beginning", tmp_path, "", lambda text, left: told.append((text, left)))):
        step("reading")
    assert [text for text, _ in told] == ["beginning", "reading"]
    assert all(left is not None and 390 < left <= 400 for _, left in told)


def test_a_count_has_an_estimate_from_what_is_done(tmp_path: Path) -> None:
    told: list[tuple[str, float | None]] = []
    with running(Progress("train", "beginning", None, "", lambda text, left: told.append((text, left)), every=0.0)):
        assert list(track(range(4), "cutoffs")) == [0, 1, 2, 3]
    assert [text for text, _ in told[1:]] == [f"cutoffs: {done} of 4" for done in (1, 2, 3, 4)]
    assert told[-1][1] == 0.0 and all(left is not None and left >= 0 for _, left in told[1:])
    assert list(track(range(3), "cutoffs")) == [0, 1, 2] and len(told) == 5


def test_progress_is_written_as_json_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROPENSITY_PROGRESS", "json")
    with working("beginning", "score", tmp_path / "run") as say:
        say("reading")
        list(track(range(2), "parts"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["beginning", "reading"]
    assert all({*line} == {"command", "message", "elapsed", "remaining"} for line in lines)
    monkeypatch.setenv("PROPENSITY_PROGRESS", "loud")
    with pytest.raises(ConfigurationError, match="progress=loud is unknown; use text or json"):
        as_json()


def test_a_read_only_folder_does_not_stop_a_command(tmp_path: Path) -> None:
    with working("beginning", "score", tmp_path / "nothing" / "run") as say:
        say("reading")
    assert not (tmp_path / "nothing").exists()


def test_every_verb_takes_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROPENSITY_PROGRESS", "text")
    with pytest.raises(SystemExit) as stopped:
        main(["score", "progress=loud", f"run={tmp_path}"])
    assert stopped.value.code == 2 and "progress=loud is unknown; use text or json" in capsys.readouterr().err
