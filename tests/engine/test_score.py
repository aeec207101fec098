"""A bundle and a run have the same scores from one process and from a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from engine.machines import WITHOUT_RAY, Machines, started
from serving.exported import Exported, exported  # noqa: F401

from propensity.engine.ray import RayEngine
from propensity.evaluation import predict_job
from propensity.serving.batch import BatchConfig, score_bundle
from propensity.serving.score import score

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason=WITHOUT_RAY)]


def silent(message: str) -> None:
    return None


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with started(2) as machines:
        yield machines


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("selection", [{}, {"top": 20}, {"top_per_customer": 3}], ids=["all", "top", "per customer"])
def test_a_cluster_writes_the_scores_of_one_process(
    exported: Exported,  # noqa: F811
    machines: Machines,
    tmp_path: Path,
    selection: dict[str, int],
) -> None:
    results = []
    for name, engine in {"one": None, "two": RayEngine(machines.address)}.items():
        place = (exported.bundle, str(exported.log), exported.cutoff, tmp_path / name)
        results.append(score_bundle(*place, BatchConfig(part=60, **selection), silent, engine=engine))
    assert results[0] == results[1]
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_run_has_the_same_scores_and_metrics_from_a_cluster(
    exported: Exported,  # noqa: F811
    machines: Machines,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predict_job, "SIZE", 1)
    monkeypatch.setattr(predict_job, "PAIRS", 1_000)  # several blocks
    said: list[str] = []
    for name, engine, say in (("one", None, silent), ("two", RayEngine(machines.address), said.append)):
        (tmp_path / name).mkdir()
        score(exported.run, exported.cutoff, tmp_path / name / "scores.parquet", str(exported.log), say, engine=engine)
    assert files(tmp_path / "one") == files(tmp_path / "two") and any(" of " in each for each in said)
