"""A log is the same wherever ranges of its customers are sorted and encoded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from deliveries import Delivery, tables_of_all_columns
from engine.machines import WITHOUT_RAY
from engine.work import Elsewhere
from propensity.command import typed
from propensity.config import PrepareConfig, conf_folder
from propensity.data.log_folder import META
from propensity.engine.ray import RayEngine
from propensity.errors import ConfigurationError
from propensity.ingest.build import prepare
from propensity.ingest.prepared import prepared
from propensity.ingest.source import Source
from propensity.ingest.source.table import Table
from random_log import random_tables


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table_source(folder: Path) -> Source:
    """A table with rows that the rules merge, quarantine and note."""
    events = random_tables(2).events.collect().filter(pl.col("kind").is_in(["purchase", "return"]))
    wrong = events.head(9).with_columns(customer=pl.lit(None, pl.Int64))
    orphans = events.filter(kind="return").head(5).with_columns(item=pl.lit("item never sold"))
    pl.concat([events, events.head(20), wrong, orphans]).write_parquet(folder / "events.parquet")
    columns = {name: name for name in ("customer", "day", "item", "kind", "order", "quantity", "revenue", "discount")}
    return Table(events=str(folder / "events.parquet"), columns=columns)


@pytest.mark.parametrize("rows", [90, 400, 10**6])
@pytest.mark.parametrize("named", [False, True], ids=["all columns", "table"])
def test_a_log_has_the_same_files_wherever_its_ranges_are_sorted(
    rows: int, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propensity.ingest.build.RANGE_ROWS", rows)
    source = table_source(tmp_path) if named else Delivery(tables_of_all_columns(1))
    prepare(source, tmp_path / "here")
    prepare(source, tmp_path / "there", engine=Elsewhere())
    here, there = files(tmp_path / "here"), files(tmp_path / "there")
    assert here.keys() == there.keys() and [name for name in here if here[name] != there[name]] == []
    assert not named or any(name.startswith("quarantine/") for name in here)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason=WITHOUT_RAY)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_cluster_prepares_the_log_of_one_process(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propensity.ingest.build.RANGE_ROWS", 300)
    source = table_source(tmp_path)
    prepare(source, tmp_path / "here", shards=3)
    prepare(source, tmp_path / "there", shards=3, engine=RayEngine(workers=workers))
    assert files(tmp_path / "here") == files(tmp_path / "there")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["check=true", "engine=ray"], "checks and appends are computed in one process; leave out engine=ray"),
        (["append=true", "shards=4"], "shards=4 holds for a new log; leave out shards"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], words: str, tmp_path: Path) -> None:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg: PrepareConfig = typed(compose("prepare", overrides=overrides))
    with pytest.raises(ConfigurationError, match=words):
        prepared(instantiate(cfg.data, _convert_="all"), cfg, str(tmp_path / "log"))


def test_the_metadata_name_no_block(tmp_path: Path) -> None:
    prepare(Delivery(random_tables(0)), tmp_path / "log", engine=Elsewhere())
    assert "settled-" not in (tmp_path / "log" / META).read_text()
