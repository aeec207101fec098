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

from nightly.tiny_shop import deliver, make_shop, night, tree

SOURCE = Path(__file__).parents[2] / "src"


def start(shop: Path) -> subprocess.Popen[bytes]:
    """The nightly command in a process of its own."""
    command = [sys.executable, "-m", "propensity.cli", "nightly", "shop.yaml", f"date={night(0)}"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(command, cwd=shop.parent, env=environment, stdout=subprocess.DEVNULL)


def kill_at_random(shop: Path, kills: int, seed: int = 5) -> None:
    """Kills nights until so many kills have hit, and compares every night that comes to its end."""
    state, rng = shop.parent / "nightly", random.Random(seed)
    began = time.monotonic()
    assert start(shop).wait() == 0
    whole, before = time.monotonic() - began, tree(state)
    shutil.rmtree(state)
    while True:
        process = start(shop)
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
        shutil.rmtree(state)


@pytest.mark.long
def test_a_night_that_is_killed_at_30_random_moments_ends_in_the_same_bytes(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    deliver(shop, 0)
    kill_at_random(shop, 30)
