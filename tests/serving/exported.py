"""A small training run and its bundle, made once per session; tests use it through conftest.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra import compose, initialize_config_dir

from conftest import QUICK, SMALL
from propensity.command import typed
from propensity.config import conf_folder
from propensity.data.event_log import to_date


class Exported(NamedTuple):
    """Folders of run, log and bundle, the manifest, and a cutoff after the training window."""

    run: Path
    log: Path
    bundle: Path
    manifest: dict[str, Any]
    cutoff: str


@pytest.fixture(scope="session")
def exported(small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    from propensity.serving.export import export
    from propensity.training.run import train

    folder, log = tmp_path_factory.mktemp("serving"), small_world["log"]
    end, cutoff = (to_date(log.last_day + 1 - back).isoformat() for back in (60, 30))
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        overrides = [*SMALL, *QUICK, "model.members=2", "model/season=fourier", f"data.log={small_world['folder']}"]
        train(typed(compose("train", overrides=[*overrides, f"data.end={end}", f"out={folder / 'run'}"])))
    formats = ["onnx", "torch_export"]
    manifest = export(folder / "run", folder / "bundle", formats, None, None, 300, 180, lambda text: None)
    return Exported(folder / "run", small_world["folder"], folder / "bundle", manifest, cutoff)
