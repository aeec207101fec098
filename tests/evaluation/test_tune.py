"""A search goes on where it stopped, judges on a window no trial trains on, and refuses what it cannot search for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import QUICK, SMALL


def search(repository: Path, world: dict[str, Any], out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    space = "space={model.dropout: {low: 0.0, high: 0.5}, model/encoder: {choices: [mean_pool, gru]}}"
    command = [sys.executable, "scripts/tune.py", *SMALL, *QUICK, space, f"data.log={world['folder']}", f"out={out}"]
    return subprocess.run([*command, *more], cwd=repository, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_search_goes_on_until_it_has_its_trials(
    small_world: dict[str, Any], repository: Path, tmp_path: Path
) -> None:
    first = search(repository, small_world, tmp_path, "trials=1")
    assert first.returncode == 0, first.stderr[-2000:]
    second = search(repository, small_world, tmp_path, "trials=2")
    assert second.returncode == 0, second.stderr[-2000:]
    assert "trial 2 of 2" in second.stderr and "trial 1 of" not in second.stderr
    assert sorted(path.name for path in (tmp_path / "trials").iterdir()) == ["0", "1"]
    assert "model/encoder=" in second.stdout
    table = (tmp_path / "sweep.csv").read_text().splitlines()
    assert table[0].startswith("job,model.dropout,model/encoder,objective") and len(table) == 3


@pytest.mark.slow
def test_a_metric_that_is_none_is_refused(small_world: dict[str, Any], repository: Path, tmp_path: Path) -> None:
    done = search(repository, small_world, tmp_path, "metric=luck")
    assert done.returncode == 2
    assert done.stderr.startswith("propensity: metric=luck is no metric of a validation; did you mean val/")
