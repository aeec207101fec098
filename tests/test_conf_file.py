"""A YAML file of the user that cannot be read is one sentence with its file and line, for every command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from propensity.command import configuration
from propensity.config import COMMANDS
from propensity.errors import ConfigurationError

BROKEN = {  # text of a file, and what is said about it
    "events: [a, b\ncolumns: {}\n": r"x\.yaml, line 2: expected ',' or '\]', but got ':', in what begins on line 1",
    "defaults:\n\t- table\n": r"x\.yaml, line 2: found character '\\t' that cannot start any token",
    "events: a\nevents: b\n": r"x\.yaml, line 2: found duplicate key events",
    "a: b: c\n": r"x\.yaml, line 1: mapping values are not allowed here",
    "a: *b\n": r"x\.yaml, line 1: found undefined alias 'b'",
    "a: !!python/object:os.system x\n": r"x\.yaml, line 1: could not determine a constructor",
    "defaults: table\n": r"x\.yaml: defaults is not a list \(got str\)",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/project").mkdir(parents=True)
    return tmp_path / "conf"


@pytest.mark.parametrize("text", BROKEN, ids=[text.split("\n")[0] for text in BROKEN])
@pytest.mark.parametrize("group", ["data/source", "data/offer", "model/encoder"])
def test_a_yaml_that_cannot_be_read_is_a_sentence_with_file_and_line(group: str, text: str, project: Path) -> None:
    (project / group).mkdir(parents=True)
    (project / group / "x.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=f"^conf/{group}/{BROKEN[text]}") as caught:
        configuration("train", {group: "x"})
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_a_yaml_that_is_not_utf_8_is_named(project: Path) -> None:
    (project / "project/plugins.yaml").write_bytes(b"# caf\xe9\nplugins: []\n")
    with pytest.raises(ConfigurationError, match=r"^conf/project/plugins\.yaml is not UTF-8 text; save it as UTF-8$"):
        configuration("prepare", {})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_where_the_list_of_plugins_is_wrong(name: str, project: Path) -> None:
    (project / "project/plugins.yaml").write_text("plugins: [mine\n")
    with pytest.raises(ConfigurationError, match=r"^conf/project/plugins\.yaml, line 2: expected ',' or '\]'"):
        configuration(name, {})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data/source=x"], "conf/data/source/x.yaml, line 2: expected"),
        (["data/source=x", "--help"], "conf/data/source/x.yaml, line 2: expected"),
        (["data/source=y"], "conf/data/source/y.yaml names no class (_target_), so that data/source=y builds nothing"),
    ],
)
def test_a_process_says_one_line_and_exits_with_2(arguments: list[str], words: str, project: Path) -> None:
    (project / "data/source").mkdir(parents=True)
    (project / "data/source/x.yaml").write_text("events: [a\n")
    (project / "data/source/y.yaml").write_text("events: sales.csv\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    command = [sys.executable, "-m", "propensity.cli", "prepare", *arguments]
    done = subprocess.run(command, cwd=project.parent, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"propensity: {words}") and done.stderr.count("\n") == 1
