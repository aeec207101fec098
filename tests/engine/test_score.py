"""A bundle and a run have the same scores from one process and from a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engine.machines import WITHOUT_RAY, Machines, started
from engine.work import Elsewhere
from propensity.champion import champion
from propensity.champion.champion import Champion
from propensity.config import ScoreConfig
from propensity.data.event_log import EventLog, to_day
from propensity.engine.block import Engine
from propensity.engine.local import LocalEngine
from propensity.engine.ray import RayEngine
from propensity.errors import ConfigurationError
from propensity.evaluation import predict_job
from propensity.evaluation.evaluate import cutoff_data_of
from propensity.ingest.divide import divide
from propensity.serving.batch import BatchConfig, BatchResult, BatchScorer, score_bundle
from propensity.serving.score import score, score_from_config
from propensity.serving.top_k import TopK
from propensity.training.checkpoint import load_trained
from serving.exported import Exported

pytestmark = pytest.mark.slow


def silent(message: str) -> None:
    return None


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with started(2) as machines:
        yield machines


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def scored(exported: Exported, out: Path, engine: Engine | None, selection: dict[str, int]) -> BatchResult:
    place = (exported.bundle, str(exported.log), exported.cutoff, out)
    return score_bundle(*place, BatchConfig(part=60, **selection), silent, engine=engine)


SELECTIONS = pytest.mark.parametrize(
    "selection", [{}, {"top": 20}, {"top_per_customer": 3}], ids=["all", "top", "per customer"]
)


@SELECTIONS
def test_a_scorer_made_from_its_recipe_writes_the_same_files(
    exported: Exported,
    tmp_path: Path,
    selection: dict[str, int],
) -> None:
    results = [
        scored(exported, tmp_path / name, engine, selection) for name, engine in (("a", None), ("b", Elsewhere()))
    ]
    assert results[0] == results[1] and files(tmp_path / "a") == files(tmp_path / "b")


@pytest.fixture
def past(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """The same run and bundle, and the log before the cutoff, which a test divides; its path stands in the scores."""
    monkeypatch.setattr("propensity.data.gathered_columns.IN_MEMORY", 0)
    EventLog.open(exported.log).until(to_day(exported.cutoff)).save(tmp_path / "log")
    return exported._replace(log=tmp_path / "log")


@SELECTIONS
@pytest.mark.parametrize("engine", [None, Elsewhere()], ids=["here", "elsewhere"])
def test_the_scores_of_a_log_in_shards_are_those_of_the_log_without_them(
    past: Exported, tmp_path: Path, selection: dict[str, int], engine: Engine | None
) -> None:
    """Also where a worker reads the events of its parts alone."""
    whole = scored(past, tmp_path / "a", None, selection)
    divide(past.log, 4)
    assert scored(past, tmp_path / "b", engine, selection) == whole
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("engine", [None, Elsewhere()], ids=["here", "elsewhere"])
def test_the_scores_of_a_run_from_a_log_in_shards_are_those_of_the_log_without_them(
    past: Exported, tmp_path: Path, engine: Engine | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (champion, predict_job):
        monkeypatch.setattr(module, "PAIRS", 400)
    monkeypatch.setattr(predict_job, "SIZE", 800)
    for name, each in (("a", None), ("b", engine)):
        (tmp_path / name).mkdir()
        score(past.run, past.cutoff, tmp_path / name / "scores.parquet", str(past.log), silent, engine=each)
        if name == "a":
            divide(past.log, 4)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_an_interrupted_selection_continues_with_the_blocks_that_are_there(
    exported: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scored(exported, tmp_path / "whole", Elsewhere(), {"top": 20})
    added: list[int] = []
    original = BatchScorer.add_part

    def interrupted(self: BatchScorer, top_k: TopK, part: int) -> None:
        added.append(part)
        if len(added) == 3:
            raise KeyboardInterrupt
        original(self, top_k, part)

    monkeypatch.setattr(BatchScorer, "add_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scored(exported, tmp_path / "again", Elsewhere(), {"top": 20})
    scored(exported, tmp_path / "again", Elsewhere(), {"top": 20})
    assert len(added) == len(set(added)) + 1  # only the interrupted part is scored again
    assert files(tmp_path / "again") == files(tmp_path / "whole")


@pytest.mark.skipif(find_spec("ray") is None, reason=WITHOUT_RAY)
@pytest.mark.parametrize("selection", [{}, pytest.param({"top": 20}, marks=pytest.mark.long)], ids=["all", "top"])
def test_a_cluster_writes_the_scores_of_one_process(
    exported: Exported,
    machines: Machines,
    tmp_path: Path,
    selection: dict[str, int],
) -> None:
    engines = (("a", None), ("b", RayEngine(machines.address)))
    results = [scored(exported, tmp_path / name, engine, selection) for name, engine in engines]
    assert results[0] == results[1] and files(tmp_path / "a") == files(tmp_path / "b")


def test_a_run_has_the_same_scores_in_blocks(
    exported: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (champion, predict_job):
        monkeypatch.setattr(module, "PAIRS", 400)  # pairs that are computed together, here and there
    monkeypatch.setattr(predict_job, "SIZE", 800)
    said: list[str] = []
    for name, engine, say in (("a", None, silent), ("b", Elsewhere(), said.append)):
        (tmp_path / name).mkdir()
        score(exported.run, exported.cutoff, tmp_path / name / "scores.parquet", str(exported.log), say, engine=engine)
    assert files(tmp_path / "a") == files(tmp_path / "b") and any(each.startswith("part 2 of") for each in said)


def test_several_cutoffs_have_the_same_predictions_in_blocks(exported: Exported, tmp_path: Path) -> None:
    trained, log = load_trained(exported.run), EventLog.open(exported.log)
    models = Champion.load(exported.run, trained.model)
    cutoffs = [cutoff_data_of(trained, log, day) for day in ("2024-06-05", exported.cutoff)]
    place = tmp_path / ".blocks"
    here, there = (
        predict_job.predict_in_blocks(exported.run, models, log, cutoffs, engine, place, silent)
        for engine in (LocalEngine(), Elsewhere())
    )
    for (scores, shares), (others, other_shares) in zip(here, there, strict=True):
        assert list(scores) == list(others) and (shares is None) == (other_shares is None)
        for name, each in scores.items():
            for part in ("customer", "probability", "revenue"):
                np.testing.assert_array_equal(getattr(each, part), getattr(others[name], part))
            assert (each.offer, each.cutoff, each.model) == (others[name].offer, others[name].cutoff, name)
        if shares is not None and other_shares is not None:
            np.testing.assert_array_equal(shares.share, other_shares.share)
    assert not place.exists()


def test_what_only_one_process_computes_is_refused_by_a_cluster() -> None:
    config = ScoreConfig(
        run="runs/demo", requests="requests.parquet", engine={"_target_": "propensity.engine.ray.RayEngine"}
    )
    with pytest.raises(ConfigurationError, match="are computed in one process; leave out engine=ray"):
        score_from_config(config, "scores.parquet", silent)
