"""The wheel is complete: with it alone, in an empty folder, the commands run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from conftest import QUICK, SMALL

REPOSITORY = Path(__file__).parents[1]
LISTING = """
import json
import setuptools
from distutils.core import run_setup

made = run_setup("setup.py", stop_after="config")
command = made.get_command_obj("build_py")
command.ensure_finalized()
print(json.dumps(command.get_outputs(include_bytecode=False)))
"""
PORT = 18467


def expected() -> set[str]:
    """Every file that an installed copy needs, by its place in the repository."""
    patterns = ("src/propensity/**/*", "conf/**/*.yaml", "scripts/*.py")
    files = (path for pattern in patterns for path in REPOSITORY.glob(pattern))
    return {
        path.relative_to(REPOSITORY).as_posix()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".nbi", ".nbc")
    }


def installed(name: str) -> str:
    """Where a file of the repository lies in an installed copy."""
    return name.removeprefix("src/") if name.startswith("src/") else f"propensity/{name}"


def test_a_build_takes_every_file_that_an_installed_copy_needs() -> None:
    pytest.importorskip("setuptools")
    command = [sys.executable, "-W", "ignore", "-c", LISTING]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    listed = {Path(name).relative_to("build/lib").as_posix() for name in json.loads(done.stdout)}
    assert {installed(name) for name in expected()} <= listed
    assert {"propensity/py.typed", "propensity/conf/train.yaml", "propensity/scripts/train.py"} <= listed


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the repository, installed into a folder of its own."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("src", "conf", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(REPOSITORY / name, folder / "source" / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "source")], folder)
    (wheel,) = folder.glob("*.whl")
    run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], folder)
    return folder / "site"


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "PROPENSITY"))} | variables
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.mark.slow
def test_a_wheel_holds_every_file_and_the_command(site: Path) -> None:
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert {installed(name) for name in expected()} <= files
    assert "bin/propensity" in files


@pytest.mark.slow
def test_a_wheel_alone_runs_the_commands_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    def propensity(*arguments: str) -> None:
        run([sys.executable, str(site / "bin/propensity"), *arguments], tmp_path, PYTHONPATH=str(site))

    last = "2024-06-20"
    propensity("train", *SMALL, *QUICK, f"data.end={last}", "out=runs/small")
    propensity("evaluate", "run=runs/small", f"cutoffs=[{last}]", "baselines=[frequency]", "resamples=5")
    propensity("decide", "decision=audience", "scores=runs/small/scores.parquet", "out=runs/small/audience")
    propensity("export", "run=runs/small", "out=bundle", "formats=[onnx]")
    command = [sys.executable, str(site / "bin/propensity"), "serve", "bundle=bundle", "tokens=off", f"port={PORT}"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert health() == {"status": "ok"}
    finally:
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=60)[1]
    assert server.returncode == 0, said


def health() -> object:
    """What the service says of itself, once it is up."""
    for _ in range(240):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5) as response:
                return json.load(response)
        except OSError:
            time.sleep(0.5)
    raise TimeoutError("the service did not start")
