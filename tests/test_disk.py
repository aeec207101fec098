"""A disk that is full, read-only or of another kind is one sentence with exit code 2; a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from propensity.command import mistakes_in_one_line

SOURCE = str(Path(__file__).resolve().parents[1] / "src")


def ended(error: BaseException, capsys: Any) -> str:
    with pytest.raises(SystemExit) as stop, mistakes_in_one_line("score"):
        raise error
    assert stop.value.code == 2
    said = str(capsys.readouterr().err)
    assert said.startswith("propensity: ") and said.count("\n") == 1
    return said


@pytest.mark.parametrize("name", ["EROFS", "EACCES", "EPERM", "ENOSPC", "EDQUOT", "EFBIG", "EIO", "ENOTDIR"])
def test_an_error_of_the_disk_is_one_sentence(name: str, capsys: Any) -> None:
    number = getattr(errno, name)
    assert "/mnt/out" in ended(OSError(number, os.strerror(number), "/mnt/out"), capsys)


def test_an_error_of_a_library_behind_which_is_one_of_the_disk_is_one_sentence(capsys: Any) -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/mnt/model.ckpt")
        except OSError as error:
            raise RuntimeError("unexpected pos 64 vs 0") from error
    except RuntimeError as error:
        assert "no space left to write /mnt/model.ckpt" in ended(error, capsys)
    assert "no space left" in ended(RuntimeError("write failed: No space left on device"), capsys)
    assert "(Read-only file system)" in ended(ValueError("Read-only file system (os error 30)"), capsys)


@pytest.mark.parametrize("error", [ValueError("bad row"), FileNotFoundError(errno.ENOENT, "no", "/x"), KeyError("a")])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), mistakes_in_one_line("score"):
        raise error


@pytest.mark.slow
@pytest.mark.parametrize("out", ["/dev/null/out", "/proc/out", "/sys/out"])
@pytest.mark.parametrize("verb", ["prepare", "train", "backtest", "compare", "init"])
def test_a_command_that_cannot_write_its_output_says_so(
    verb: str, out: str, small_world: dict[str, Any], tmp_path: Path
) -> None:
    if verb == "prepare":
        more = [
            "data/source=synthetic",
            "data.source.customers=60",
            "data.source.days=60",
            "data.offer.column=category",
        ]
    else:
        more = [f"data.log={small_world['folder']}", "data.offer.column=category"] if verb != "init" else []
    more += ["variants={a: [seed=1], b: [seed=2]}"] if verb == "compare" else []
    command = [sys.executable, "-m", "propensity.cli", verb, *more, f"out={out}"]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": SOURCE}
    )
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr and result.stderr.strip().splitlines()[-1].startswith("propensity: ")
