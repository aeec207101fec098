"""What the scripts print names only what is there."""

from __future__ import annotations

from pathlib import Path

from propensity.report.table import left_in


def test_only_files_that_were_left_are_named(tmp_path: Path) -> None:
    assert left_in(str(tmp_path)) == []
    (tmp_path / "metrics.json").touch()
    assert left_in(str(tmp_path)) == [f"{tmp_path}/metrics.json"]
    (tmp_path / "report.html").touch()
    (tmp_path / "report.md").touch()
    assert left_in(str(tmp_path)) == [f"{tmp_path}/{name}" for name in ("report.html", "report.md", "metrics.json")]
