"""The command itself is killed at random moments; what is left in the end equals an uninterrupted night."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nightly.tiny_shop import SETTINGS, deliver, make_shop, night, run, tree

SOURCE = Path(__file__).parents[2] / "src"


def start(shop: Path, number: int) -> subprocess.Popen[bytes]:
    """The nightly command after the day of a delivery, in a process of its own."""
    command = [sys.executable, "-m", "propensity.cli", "nightly", "shop.yaml", f"date={night(number)}"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(command, cwd=shop.parent, env=environment, stdout=subprocess.DEVNULL)


def kill_at_random(shop: Path, kills: int, number: int = 0, seed: int = 5) -> None:
    """Kills a night until so many kills have hit, and compares every time that it comes to its end."""
    state, earlier, rng = shop.parent / "nightly", shop.parent / "earlier", random.Random(seed)
    if state.is_dir():
        shutil.copytree(state, earlier)
    began = time.monotonic()
    assert start(shop, number).wait() == 0
    whole, before = time.monotonic() - began, tree(state)
    begin_again(state, earlier)
    while True:
        process = start(shop, number)
        try:
            process.wait(rng.uniform(0.1, 1.0) * whole if kills > 0 else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills -= 1
            continue
        assert process.returncode == 0 and tree(state) == before
        if kills <= 0:
            return
        begin_again(state, earlier)


def begin_again(state: Path, earlier: Path) -> None:
    """Puts back the state before the night; none before the first."""
    shutil.rmtree(state)
    if earlier.is_dir():
        shutil.copytree(earlier, state)


@pytest.mark.long
def test_a_night_that_is_killed_at_30_random_moments_ends_in_the_same_bytes(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    deliver(shop, 0)
    kill_at_random(shop, 30)


@pytest.mark.long
def test_a_night_with_a_warm_training_that_is_killed_at_random_moments_ends_in_the_same_bytes(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", retrain=SETTINGS["retrain"] | {"start": "warm"})
    deliver(shop, 0)
    run(shop, 0).require()
    for number in range(1, 6):
        deliver(shop, number)
    kill_at_random(shop, 10, 5)
    assert run(shop, 5).summary["train"]["start"] == "warm"
