"""What the commands print names only files that exist."""

from __future__ import annotations

from pathlib import Path

from propensity.report.table import result_files


def test_only_files_that_were_left_are_named(tmp_path: Path) -> None:
    assert result_files(str(tmp_path)) == []
    (tmp_path / "metrics.json").touch()
    assert result_files(str(tmp_path)) == [f"{tmp_path}/metrics.json"]
    (tmp_path / "report.html").touch()
    (tmp_path / "report.md").touch()
    assert result_files(str(tmp_path)) == [
        f"{tmp_path}/{name}" for name in ("report.html", "report.md", "metrics.json")
    ]
