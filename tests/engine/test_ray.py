"""The laws of blocks on a Ray cluster: one of two workers for all tests, and one that starts and stops by itself."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.machines import WITHOUT_RAY, Machines, started
from engine.work import Squares, blocks_in, contents
from propensity.checksum import seal_folder
from propensity.engine import ray as ray_engine
from propensity.engine import ray_cluster
from propensity.engine.environment import environment
from propensity.engine.local import LocalEngine
from propensity.engine.ray import RayEngine
from propensity.engine.ray_cluster import OBJECT_STORE
from propensity.errors import ClusterError, ConfigurationError

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason=WITHOUT_RAY)]


def silent(message: str) -> None:
    return None


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with started(2) as machines:
        yield machines


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    """The files of one process."""
    folder = tmp_path / "whole"
    folder.mkdir()
    seal_folder(folder)
    LocalEngine().write(Squares(), blocks_in(folder, 12), silent)
    return contents(folder)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    seal_folder(folder)
    return folder


def test_a_cluster_writes_the_files_of_one_process(machines: Machines, whole: dict[str, bytes], out: Path) -> None:
    said: list[str] = []
    RayEngine(machines.address).write(Squares(), blocks_in(out, 12), said.append)
    assert contents(out) == whole
    assert said == [f"{done} of 12 parts" for done in range(1, 13)]


def test_a_block_whose_worker_is_killed_is_computed_again(
    machines: Machines, whole: dict[str, bytes], out: Path, tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    for index in (*range(3, 12), 0):
        (tmp_path / "marks" / str(index)).touch()  # blocks 1 and 2 kill their workers once
    RayEngine(machines.address).write(Squares(marks=str(tmp_path / "marks")), blocks_in(out, 12), silent)
    assert contents(out) == whole


def test_a_block_that_always_kills_its_worker_is_one_sentence_and_the_rest_stays(
    machines: Machines, whole: dict[str, bytes], out: Path
) -> None:
    with pytest.raises(
        ClusterError, match=r"square-11.txt lost its worker 2 times .*, and start the same command again"
    ):
        RayEngine(machines.address, retries=1).write(Squares(deadly=11), blocks_in(out, 12), silent)
    written = contents(out)
    assert all(name == "checksums.json" or whole[name] == text for name, text in written.items())
    RayEngine(machines.address).write(Squares(), blocks_in(out, 12), silent)
    assert contents(out) == whole


def test_a_full_disk_of_one_worker_is_one_sentence_and_the_same_command_completes(
    machines: Machines, whole: dict[str, bytes], out: Path
) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no space left to write .*square-4.txt; .*; worker .*, square-4.txt$"
    ):
        RayEngine(machines.address).write(Squares(full=4), blocks_in(out, 12), silent)
    assert not [name for name in contents(out) if name.startswith((".", "square-4"))]
    RayEngine(machines.address).write(Squares(), blocks_in(out, 12), silent)
    assert contents(out) == whole


def test_a_worker_of_another_version_is_one_sentence(
    machines: Machines, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**environment(), "propensity": "9.9.9"}
    monkeypatch.setattr(ray_engine, "environment", lambda: other)
    with pytest.raises(ClusterError, match=r"a worker has propensity .*, the command propensity 9.9.9; install"):
        RayEngine(machines.address).write(Squares(), blocks_in(out, 3), silent)
    assert list(contents(out)) == ["checksums.json"]


def test_a_lost_machine_loses_no_block(machines: Machines, whole: dict[str, bytes], out: Path) -> None:
    node = machines.cluster.add_node(num_cpus=2, object_store_memory=OBJECT_STORE)
    thread = threading.Timer(1.0, machines.cluster.remove_node, (node,), {"allow_graceful": False})
    thread.start()
    RayEngine(machines.address).write(Squares(seconds=0.4), blocks_in(out, 12), silent)
    thread.join()
    assert contents(out) == whole


def test_a_local_cluster_that_loses_its_head_is_one_sentence_and_nothing_of_it_stays(
    whole: dict[str, bytes], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "PATIENCE", 0.5)
    monkeypatch.setattr(ray_engine, "POLL", 0.3)
    before, others = signal.getsignal(signal.SIGTERM), own_children("gcs_server") | own_children("raylet")

    def lose_the_head(message: str) -> None:
        for process in own_children("gcs_server") - others:
            os.kill(process, signal.SIGKILL)

    with pytest.raises(ClusterError, match="the head of the cluster at .* is lost; start the same command again"):
        RayEngine(workers=1).write(Squares(seconds=2), blocks_in(out, 12), lose_the_head)
    assert 1 <= len(contents(out)) < 13 and signal.getsignal(signal.SIGTERM) == before
    assert own_children("gcs_server") | own_children("raylet") <= others


def own_children(name: str) -> set[int]:
    """Living processes of a program that this process started."""
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            status, line = (folder / "stat").read_text().rpartition(")")[2].split(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        own = status[0] != "Z" and int(status[1]) == os.getpid()
        if own and line.split(b"\0")[0].endswith(b"/" + name.encode()):
            found.add(int(folder.name))
    return found


@pytest.mark.long
def test_workers_killed_at_twenty_random_moments_change_no_file(
    machines: Machines, whole: dict[str, bytes], tmp_path: Path
) -> None:
    for kill in range(20):
        folder = tmp_path / f"out-{kill}"
        folder.mkdir()
        seal_folder(folder)
        stop = threading.Event()
        thread = threading.Thread(target=kill_a_worker, args=(secrets.randbelow(1_000) / 400, stop))
        thread.start()
        RayEngine(machines.address).write(Squares(seconds=0.2), blocks_in(folder, 12), silent)
        stop.set()
        thread.join()
        assert contents(folder) == whole


def kill_a_worker(seconds: float, stop: threading.Event) -> None:
    """Kill a worker of a cluster of this process that computes blocks, after some seconds."""
    stop.wait(seconds)
    while not stop.is_set():
        for folder in Path("/proc").iterdir():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                computes = (folder / "cmdline").read_bytes().startswith(b"ray::run_block")
                if computes and parent in own_children("raylet"):
                    return os.kill(int(folder.name), signal.SIGKILL)
            except OSError:
                continue
        time.sleep(0.02)
