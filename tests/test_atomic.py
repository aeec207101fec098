"""Writes are atomic: a failure leaves the previous file or folder unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from propensity.atomic import whole_file, whole_folder


def test_a_file_appears_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.txt"
    with whole_file(path) as draft:
        draft.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one" and [p.name for p in path.parent.iterdir()] == ["table.txt"]


@pytest.mark.parametrize("before", [None, "old"])
def test_a_failed_write_leaves_the_previous_file(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    if before:
        path.write_text(before)
    with pytest.raises(OSError, match="full"), whole_file(path) as draft:
        draft.write_text("half")
        raise OSError("disk full")
    assert [p.read_text() for p in tmp_path.iterdir()] == ([before] if before else [])


def test_a_folder_replaces_the_previous_one(tmp_path: Path) -> None:
    for word in ("old", "new"):
        with whole_folder(tmp_path / "log") as draft:
            (draft / word).write_text(word)
    assert [p.name for p in (tmp_path / "log").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


def test_a_failed_write_leaves_the_previous_folder(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "log") as draft:
        (draft / "old").write_text("old")
    with pytest.raises(ValueError, match="bad row"), whole_folder(tmp_path / "log") as draft:
        (draft / "new").write_text("half")
        raise ValueError("bad row")
    assert [p.name for p in (tmp_path / "log").iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["log"]
