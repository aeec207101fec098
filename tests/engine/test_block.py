"""The laws of blocks that need no cluster."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.work import Squares, Unopened, blocks_in, contents
from propensity.checksum import FileRecord, file_record, is_intact, seal_folder, unseal_folder
from propensity.engine import ray_worker
from propensity.engine.block import Block, Engine, block_folder, remove_blocks, require_local
from propensity.engine.environment import difference, environment, source_digest
from propensity.engine.local import LocalEngine
from propensity.engine.ray import RayEngine, note_block, note_unrecorded, remove_drafts
from propensity.engine.ray_cluster import Head, variables
from propensity.engine.ray_worker import Outcome, draft_of, run_block, write_file
from propensity.errors import ClusterError, ConfigurationError
from propensity.serving.top_k import TopK


def silent(message: str) -> None:
    return None


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture(autouse=True)
def no_job() -> None:
    ray_worker.OPENED.clear()


@pytest.fixture
def same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker changes in its process does not outlive the test."""
    monkeypatch.chdir(Path.cwd())
    for name in ray_worker.ONE_THREAD:
        monkeypatch.setenv(name, os.environ.get(name, "1"))


def test_the_local_engine_writes_only_what_is_missing_or_damaged(tmp_path: Path) -> None:
    seal_folder(tmp_path)
    blocks, said = blocks_in(tmp_path, 5), list[str]()
    LocalEngine().write(Squares(), blocks, silent)
    whole = contents(tmp_path)
    blocks[1].path.unlink()
    blocks[3].path.write_text("x")
    LocalEngine().write(Squares(), blocks, said.append)
    assert contents(tmp_path) == whole and whole["square-3.txt"] == b"9"
    assert said == [f"{blocks[3].path} is damaged; it is written again", "part 2 of 5", "part 4 of 5"]


@pytest.mark.parametrize("engine", [LocalEngine(), RayEngine(), RayEngine("127.0.0.1:1")], ids=["local", "ray", "away"])
def test_a_complete_result_needs_neither_job_nor_cluster(engine: Engine, tmp_path: Path) -> None:
    blocks = blocks_in(tmp_path, 3)
    LocalEngine().write(Squares(), blocks, silent)
    engine.write(Unopened(), blocks, silent)
    engine.write(Unopened(), [], silent)


def test_files_of_another_request_are_never_found(tmp_path: Path) -> None:
    first, again, other = (
        block_folder(tmp_path, {"cutoff": day}) for day in ("2024-01-01", "2024-01-01", "2024-01-02")
    )
    assert first == again != other and first.is_dir()
    remove_blocks(tmp_path / ".blocks")
    remove_blocks(tmp_path)
    assert not tmp_path.exists()


def test_the_first_difference_of_versions_is_named() -> None:
    here = environment()
    assert difference(here, dict(here)) is None
    for name in here:
        sentence = difference(here, {**here, name: "0.0.1"})
        assert sentence == f"{name} 0.0.1, the command {name} {here[name]}"
    assert difference(here, {name: here[name] for name in here if name != "numpy"}) is not None


def test_the_digest_of_a_source_depends_on_every_module(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    before = source_digest(tmp_path)
    (tmp_path / "b.py").write_text("")
    assert source_digest(tmp_path) != before
    (tmp_path / "b.py").rename(tmp_path / "notes.txt")
    assert source_digest(tmp_path) == before


@pytest.mark.usefixtures("same_environment")
def test_a_worker_of_another_version_is_refused_before_the_job_is_loaded(tmp_path: Path) -> None:
    outcome = run_block([None], "token", {**environment(), "propensity": "9.9"}, "/", Block(0, tmp_path / "a"))
    assert isinstance(outcome.error, ClusterError) and outcome.record is None
    assert str(outcome.error).startswith(
        f"a worker has propensity {environment()['propensity']}, the command propensity 9.9;"
    )


@pytest.mark.usefixtures("same_environment")
def test_a_worker_opens_a_job_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[list[int]] = []

    def load(reference: list[int]) -> Squares:
        loaded.append(reference)
        return Squares()

    monkeypatch.setattr(ray_worker, "load_job", load)
    outcomes = [run_block([7], "token", environment(), "/away", block) for block in blocks_in(tmp_path, 3)]
    assert loaded == [[7]] and all(outcome.error is None for outcome in outcomes)
    run_block([8], "another", environment(), str(tmp_path), blocks_in(tmp_path, 1)[0])
    assert loaded == [[7], [8]]


@pytest.mark.usefixtures("same_environment")
def test_a_full_disk_of_a_worker_is_a_sentence_that_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_worker, "load_job", lambda reference: Squares(full=0))
    block = blocks_in(tmp_path, 1)[0]
    outcome = run_block([None], "token", environment(), str(tmp_path), block)
    with pytest.raises(
        ConfigurationError, match=r"no space left to write .*square-0.txt; .*; worker .*, square-0.txt$"
    ):
        note_block(outcome, block)
    assert contents(tmp_path) == {}
    assert str(pickle.loads(pickle.dumps(outcome)).error) == str(outcome.error)


def test_a_folder_that_a_worker_does_not_see_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no folder .*must be on a path that all machines share"):
        write_file(Squares().write, Block(0, tmp_path / "away" / "a"))


def test_a_file_that_only_the_worker_sees_is_refused(tmp_path: Path) -> None:
    block = Block(0, tmp_path / "a")
    with pytest.raises(ClusterError, match="worker b wrote .*, which is not here"):
        note_block(Outcome("b", FileRecord(4, "0x00000000")), block)
    block.path.write_text("abc")
    with pytest.raises(ClusterError, match="which is not here"):
        note_block(Outcome("b", FileRecord(4, "0x00000000")), block)


def test_the_checksum_of_a_worker_is_the_one_of_this_process(tmp_path: Path) -> None:
    seal_folder(tmp_path)
    here, there = blocks_in(tmp_path, 2)[1], Block(1, tmp_path / "there" / "square-1.txt")
    there.path.parent.mkdir()
    seal_folder(there.path.parent)
    LocalEngine().write(Squares(), [here], silent)
    note_block(Outcome("b", write_file(Squares().write, there)), there)
    assert contents(there.path.parent)["checksums.json"] == contents(tmp_path)["checksums.json"]
    assert is_intact(there.path) and file_record(there.path) == file_record(here.path)


def test_a_file_that_was_written_while_the_command_ended_gets_its_checksum(tmp_path: Path) -> None:
    seal_folder(tmp_path)
    blocks = blocks_in(tmp_path, 3)
    LocalEngine().write(Squares(), blocks, silent)
    whole = contents(tmp_path)
    unseal_folder(tmp_path)
    blocks[2].path.unlink()
    seal_folder(tmp_path)
    write_file(Squares().write, blocks[2])
    note_unrecorded(tmp_path, [block.path for block in blocks])
    assert contents(tmp_path) == whole


def test_drafts_of_lost_workers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    draft, other = draft_of(tmp_path / "a.parquet"), tmp_path / ".hidden"
    for path in (draft, other):
        path.write_text("")
    remove_drafts(tmp_path)
    assert list(contents(tmp_path)) == [".hidden"]


def test_a_cluster_without_the_extra_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'propensity\[scale\]', or use engine=local"):
        RayEngine(workers=1).write(Squares(), blocks_in(tmp_path, 1), silent)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    "address", ["head", "head:", ":6379", "ray://head:10001", "head:0", "head:99999", "http://a:80"]
)
def test_a_malformed_address_is_refused_before_anything_is_opened(address: str) -> None:
    with pytest.raises(ConfigurationError, match="is not host:port of the head of a cluster"):
        RayEngine(address)


def test_an_address_without_a_cluster_is_one_sentence(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(
        ClusterError, match=f"no cluster answers at {address}; start it with ray start --head"
    ) as caught:
        RayEngine(address).write(Squares(), blocks_in(tmp_path, 1), silent)
    assert caught.value.exit_code == 2 and contents(tmp_path) == {}


@pytest.mark.parametrize("settings", [{"workers": 0}, {"retries": -1}, {"address": "auto", "workers": 2}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"engine\.(workers|retries)"):
        RayEngine(**settings)


def test_what_is_computed_as_a_whole_is_refused_by_a_cluster() -> None:
    require_local(LocalEngine(), "requests")
    with pytest.raises(ConfigurationError, match="requests are computed in one process; leave out engine=ray"):
        require_local(RayEngine(), "requests")


def test_a_head_that_does_not_answer_is_lost_after_some_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = Head(f"127.0.0.1:{server.getsockname()[1]}", seen=0.0)
        head.require()
        assert head.seen > 0
    head.require()  # it may be away for a moment
    head.seen -= 60
    with pytest.raises(
        ClusterError, match=f"the head of the cluster at {head.address} is lost; start the same command again"
    ):
        head.require()


def test_variables_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROPENSITY_A", "user")
    with variables({"PROPENSITY_A": "ours", "PROPENSITY_B": "ours"}):
        assert (os.environ["PROPENSITY_A"], os.environ["PROPENSITY_B"]) == ("user", "ours")
    assert os.environ["PROPENSITY_A"] == "user" and "PROPENSITY_B" not in os.environ


@pytest.mark.parametrize("seed", range(5))
def test_merged_selections_are_the_selection_of_one_stream(seed: int) -> None:
    rng = np.random.default_rng(seed)
    customers, offers, k = 60, 3, 8
    score = rng.integers(0, 12, (customers, offers)).astype(np.float32)  # many ties
    revenue, rows, tie_break = (
        rng.random((customers, offers), np.float32),
        np.arange(customers),
        rng.permutation(customers),
    )
    whole, merged = TopK(offers, k, tie_break), TopK(offers, k, tie_break)
    whole.add(rows, score, revenue)
    for part in np.array_split(rng.permutation(customers), 4 + seed):
        each = TopK(offers, k, tie_break)
        each.add(rows[part], score[part], revenue[part])
        merged.merge(each)
    for offer in range(offers):
        for left, right in zip(whole.top(offer), merged.top(offer), strict=True):
            np.testing.assert_array_equal(left, right)
