"""A column of one's own, as docs/features.md shows it, from the command line to scores."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import QUICK, SMALL
from propensity import trust
from propensity.baseline.pair_table import column_names, training_table
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, IntegrityError
from propensity.evaluation.leakage import changed_inputs, input_columns
from propensity.feature.column import FeatureColumn
from propensity.feature.point_in_time import PointInTime
from propensity.serving.export import export
from propensity.serving.score import score
from propensity.task import CutoffData
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.run import train

PAGE = Path(__file__).parents[1] / "docs/features.md"
EXTRA = "data.feature.extra=[{_target_: mine.promoted.promoted_share, days: 182}]"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the package `mine`, importable; its parts may be named by a checkpoint."""
    folder = tmp_path_factory.mktemp("plugin")
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    (folder / "mine").mkdir()
    (folder / "mine/promoted.py").write_text(found[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(trust, "_named", {})
        trust.use_plugins(["mine"])
        yield folder
    for name in ("mine.promoted", "mine"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def trained(module: Path, small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from hydra import compose, initialize_config_dir

    from propensity.command import typed
    from propensity.config import conf_folder

    out = tmp_path_factory.mktemp("run")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        train(
            typed(
                compose("train", overrides=[*SMALL, *QUICK, EXTRA, f"data.log={small_world['folder']}", f"out={out}"])
            )
        )
    found = load_trained(out)
    found.about["folder"] = str(out)
    return found


def test_it_reaches_the_network_and_the_baselines(trained: Trained, small_world: dict[str, Any]) -> None:
    training_set = trained.task.training_set(small_world["log"])
    config, ours = trained.task.feature, small_world["task"].feature
    place = config.pair.index("promoted_share_182")
    assert place == len(ours.pair) == len(config.pair) - 1
    scale: Any = trained.model.scale_pair
    assert place in scale.flagged.tolist() and scale.deviation[place] not in (0.0, 1.0)
    names = column_names(training_set)
    table = training_table(training_set, 2, 20_000, 1)
    assert len(names) == table.x.shape[1] and np.nanstd(table.x[:, names.index("pair_promoted_share_182")]) > 0


def leaky(log: EventLog) -> FeatureColumn:
    """A column whose code reads the log past the cutoff, by other means than its argument."""

    def compute(known: PointInTime) -> np.ndarray:
        rows = np.searchsorted(log.customer_id, known.customers["customer"].to_numpy())
        later = np.append(np.asarray(log.day) >= known.cutoff.day, False)
        return np.add.reduceat(later, log.offsets[rows]).astype(float)

    return FeatureColumn("leaky", "later events", "customer", empty=None, compute=compute, reference=compute)


def test_the_leakage_check_names_it_only_where_its_code_reads_the_future(
    trained: Trained, small_world: dict[str, Any]
) -> None:
    log, day = small_world["log"], small_world["log"].last_day - 40

    def make(world: EventLog, leak: bool = False) -> CutoffData:
        config = replace(trained.task.feature, extra=(leaky(world),)) if leak else trained.task.feature
        task = replace(trained.task, feature=config)
        return task.cutoff_data(world, Cutoff(day, 14), trained.vocabulary)

    assert "pair.promoted_share_182" in map(str, input_columns(make(log)))
    assert changed_inputs(make, log, day, seed=1) == []
    assert changed_inputs(lambda world: make(world, leak=True), log, day, seed=1) == ["customer_features.leaky"]


def test_a_checkpoint_with_it_scores(trained: Trained, tmp_path: Path) -> None:
    scores = score(trained.about["folder"], "2024-06-01", tmp_path / "scores.parquet", None, lambda text: None)
    assert np.isfinite(scores.probability).all() and scores.probability.std() > 0


def test_a_bundle_of_it_is_refused_in_a_sentence(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not carry the code of column 'promoted_share_182'"):
        export(trained.about["folder"], tmp_path / "bundle", ["onnx"], None, None, 10, 30, lambda text: None)
    assert not (tmp_path / "bundle").exists()


def test_a_checkpoint_with_it_is_refused_where_its_module_is_not_trusted(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_named", {})
    with pytest.raises(IntegrityError, match="mine.promoted.promoted_share"):
        load_trained(trained.about["folder"])


def test_training_refuses_a_column_that_breaks_its_declaration(
    module: Path, composed: Callable[..., Any], small_world: dict[str, Any], tmp_path: Path
) -> None:
    imports = "from mine.promoted import promoted_share\nfrom dataclasses import replace\n"
    (module / "broken.py").write_text(f"{imports}def share():\n    return replace(promoted_share(), empty=0.0)\n")
    asked = [*SMALL, *QUICK, "data.feature.extra=[{_target_: broken.share}]", f"data.log={small_world['folder']}"]
    with pytest.raises(ConfigurationError, match="is nan on an empty history, but declares empty=0"):
        train(composed("train", *asked, f"out={tmp_path / 'run'}"))
