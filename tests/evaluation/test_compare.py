"""A comparison trains its variants alike, evaluates them on the same customers, and needs two variants."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import QUICK, SMALL
from propensity.errors import DamageError
from propensity.serving.damage import verify_run


def run(repository: Path, world: dict[str, Any], out: Path, variants: str) -> subprocess.CompletedProcess[str]:
    """Two short trainings of each variant, evaluated at one cutoff."""
    settings = ["cutoffs=[2024-06-01]", "seeds=[1,2]", "resamples=20", f"data.log={world['folder']}", f"out={out}"]
    command = [sys.executable, "scripts/compare.py", *SMALL, *QUICK, *settings, f"variants={variants}"]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_the_first_variant_is_compared_with_each_other_one(
    small_world: dict[str, Any], repository: Path, tmp_path: Path
) -> None:
    result = run(
        repository, small_world, tmp_path, "{one: ['model.width=8'], same: ['model.width=8'], wide: ['model.width=16']}"
    )
    assert result.returncode == 0, result.stderr[-2000:]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics["models"]) == ["one", "same", "wide"] and list(metrics["differences"]) == ["same", "wide"]
    assert metrics["differences"]["same"]["mean"]["all"]["auc"]["value"] == 0.0
    assert metrics["differences"]["wide"]["mean"]["all"]["log_loss"]["value"] != 0.0
    assert {path.parent.name for path in tmp_path.rglob("model.ckpt")} == {"1", "2"}
    assert "have no checksum" not in verify_run(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(DamageError, match="metrics.json is damaged"):
        verify_run(tmp_path)


@pytest.mark.slow
def test_one_variant_is_refused(small_world: dict[str, Any], repository: Path, tmp_path: Path) -> None:
    result = run(repository, small_world, tmp_path, "{one: []}")
    assert result.returncode == 2
    assert result.stderr == "propensity: 1 variant makes no comparison; give variants two or more\n"
