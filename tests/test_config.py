"""A mistake on the command line is one line on stderr and an exit code; a bug keeps its traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING

from propensity import trust
from propensity.command import entry
from propensity.config import CommandConfig, conf_folder, setting
from propensity.errors import ConfigurationError, DataError, GateError, IntegrityError, PropensityError

REPOSITORY = Path(__file__).parents[1]

PRIMARY = """
defaults:
  - tiny_schema
  - hydra/propensity
  - model/encoder: gru
  - _self_
  - experiment: null
hydra:
  help:
    header: Draws a straw.
    footer: propensity tiny run=runs/demo
"""

EXPERIMENTS = {
    "wider": "model: {encoder: {width: 64}}",
    "mistyped": "modle: {encoder: {width: 64}}",
    "elsewhere": "defaults: [{override /model/encoder: grru}]",
}


@dataclass
class TinyConfig(CommandConfig):
    run: str = MISSING
    seed: int = setting("of everything", 17)
    out: str = "runs/tiny"
    model: Any = MISSING


class Straw:
    """A part whose constructor can be refused, can refuse, and can have a bug."""

    def __init__(self, length: int = 3) -> None:
        if length < 0:
            raise DataError(f"length {length} is negative:\n  give a straw of 1 or more")
        if length == 0:
            dict.fromkeys([1], valeu=2)  # type: ignore[call-overload]


class Outcome(NamedTuple):
    code: int
    line: str
    jobs: list[Any]


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of YAML with one script, one group of two options and three experiments."""
    folder = tmp_path / "conf"
    texts = {"tiny": PRIMARY, "model/encoder/gru": "width: 8", "model/encoder/transformer": "heads: 2"}
    texts |= {f"experiment/{name}": f"# @package _global_\n{text}" for name, text in EXPERIMENTS.items()}
    texts["hydra/propensity"] = (REPOSITORY / "conf/hydra/propensity.yaml").read_text()
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)
    ConfigStore.instance().store(name="tiny_schema", node=TinyConfig)
    monkeypatch.setenv("PROPENSITY_CONF", str(folder))
    monkeypatch.setattr(trust, "_named", {})
    monkeypatch.chdir(tmp_path)
    yield folder
    GlobalHydra.instance().clear()


@pytest.fixture
def call(conf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the script in this process: arguments, an optional error to raise -> exit code, its line, the jobs run."""

    def run(*arguments: str, error: BaseException | None = None) -> Outcome:
        jobs: list[Any] = []

        @entry("tiny")
        def tiny(cfg: TinyConfig) -> None:
            if error is not None:
                raise error
            jobs.append(cfg)
            instantiate(cfg.model)

        monkeypatch.setattr(sys, "argv", ["tiny.py", *arguments])
        code = 0
        try:
            tiny()
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            code = stop.code
        return Outcome(code, capsys.readouterr().err, jobs)

    return run


MISTAKES = {
    "run=x sed=3": "sed does not exist; did you mean seed?",
    "run=x model.encoder.widht=3": "model.encoder.widht does not exist; did you mean model.encoder.width?",
    "run=x model/encoder=transformer model.encoder.haeds=3": "haeds does not exist; did you mean model.encoder.heads?",
    "run=x width=3": "width does not exist; did you mean model.encoder.width?",
    "run=x ~sede": "sede does not exist; did you mean seed?",
    "run=x model/encoder=grru": "model/encoder=grru does not exist; did you mean model/encoder=gru?",
    "run=x model/encodr=gru": "model/encodr does not exist; did you mean model/encoder?",
    "run=x encoder=gru": "encoder does not exist; did you mean model/encoder?",
    "run=x model.encoder=gru": "model.encoder=gru would replace a part by a word; did you mean model/encoder=gru?",
    "run=x experiment=widr": "experiment=widr does not exist; did you mean experiment=wider?",
    "run=x experiment=mistyped": "modle in conf/experiment/mistyped.yaml does not exist; did you mean model",
    "run=x experiment=elsewhere": "model/encoder=grru does not exist; did you mean model/encoder=gru?",
    "-m run=x model/encoder=gru,transfomer": "model/encoder=transfomer does not exist; did you mean",
    "seed=3": "run not given; add run=...",
    "run=x seed=three": "seed=three: Value 'three' of type 'str' could not be converted to Integer",
    "run=x seed=1,2": "seed=1,2 holds several values; add -m",
    "run=[x,y": "cannot read 'run=[x,y': write key=value",
    "run=a=b": "cannot read 'run=a=b': write key=value",
    "--run=x": "--run=x is not an option; write run=x",
    "run=x --ful": "--ful is not an option; --help lists them",
    "run=x -m seed=1,2": "seed=1,2 stands apart from the other settings",
    "run=x --cfg": "--cfg/-c: expected one argument",
    "run=x +model._target_=propensity.config.Grru": "asks for propensity.config.Grru, which does not exist",
    "run=x +model._target_=os.system": "asks for os.system, which is not ours to call",
    "run=x +model._target_=nowhere.Gru": "nowhere.Gru; if you trust the package nowhere, add plugins=[nowhere]",
    "run=x plugins=[nowhere]": "no package nowhere in",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_way_out(call: Any, command: str) -> None:
    outcome = call(*command.split())
    assert MISTAKES[command] in outcome.line
    assert outcome.line.startswith("propensity: ")
    assert outcome.line.count("\n") == 1
    assert outcome.code == 2


@pytest.mark.parametrize("kind", [ConfigurationError, DataError, GateError, IntegrityError])
@pytest.mark.parametrize("sweep", [[], ["-m"]])
def test_an_error_of_ours_ends_with_its_own_code(call: Any, kind: type[PropensityError], sweep: list[str]) -> None:
    outcome = call(*sweep, "run=x", error=kind("table x is empty;\ngive another"))
    assert outcome[:2] == (kind.exit_code, "propensity: table x is empty; give another\n")


def test_exit_codes_tell_errors_apart() -> None:
    kinds = (ConfigurationError, DataError, GateError, IntegrityError)
    assert [kind.exit_code for kind in kinds] == [2, 3, 4, 5]


def test_an_interrupted_script_ends_with_130(call: Any) -> None:
    assert call("run=x", error=KeyboardInterrupt())[:2] == (
        130,
        "propensity: interrupted; the same command starts again\n",
    )


@pytest.mark.parametrize("sweep", [[], ["-m"]])
def test_a_bug_keeps_its_traceback(call: Any, sweep: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        call(*sweep, "run=x", error=ZeroDivisionError())


STRAW, PLUGIN = f"{__name__}.Straw", f"plugins=[{__name__}]"


@pytest.fixture
def straw(conf: Path) -> None:
    """Makes the encoder a Straw, whose length is no key of the composed configuration: only the class can refuse it."""
    (conf / "model/encoder/gru.yaml").write_text(f"_target_: {STRAW}")


def test_a_setting_that_a_part_does_not_take_names_the_nearest_it_takes(call: Any, straw: None) -> None:
    outcome = call("run=x", PLUGIN, "+model.encoder.lenght=3")
    nearest = "did you mean model.encoder.length?"
    assert outcome[:2] == (2, f"propensity: model.encoder.lenght is no setting of {STRAW}; {nearest}\n")


def test_an_error_of_ours_inside_a_constructor_is_unwrapped(call: Any, straw: None) -> None:
    outcome = call("run=x", PLUGIN, "+model.encoder.length=-1")
    assert outcome[:2] == (3, "propensity: length -1 is negative: give a straw of 1 or more\n")


def test_a_bug_inside_a_constructor_keeps_its_traceback(call: Any, straw: None) -> None:
    with pytest.raises(InstantiationException, match="fromkeys"):
        call("run=x", PLUGIN, "+model.encoder.length=0")


@pytest.mark.parametrize(
    ("arguments", "outs"),
    [
        (["run=x", "out=runs/a"], ["runs/a"]),
        (["-m", "run=x", "out=runs/a", "seed=1,2"], ["runs/a/0", "runs/a/1"]),
        (["-m", "run=x", "out=a.parquet", "seed=1,2"], ["a/0.parquet", "a/1.parquet"]),
        (["-m", "run=x", "out=a,b"], ["a", "b"]),
        (["-m", "run=x", "out=a,b", "seed=1,2"], ["a/0", "a/1", "b/2", "b/3"]),
    ],
)
def test_jobs_of_a_sweep_never_share_an_output(call: Any, arguments: list[str], outs: list[str]) -> None:
    assert sorted(job.out for job in call(*arguments).jobs) == outs


def test_an_experiment_is_overrides_only(call: Any) -> None:
    (job,) = call("run=x", "experiment=wider").jobs
    assert (job.model["encoder"]["width"], job.seed) == (64, 17)


def test_a_run_leaves_no_folder_of_hydras_behind(call: Any, tmp_path: Path) -> None:
    call("run=x")
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_a_script_called_with_a_configuration_is_its_function() -> None:
    seen: list[Any] = []
    entry("tiny")(seen.append)(TinyConfig(seed=3))
    assert seen == [TinyConfig(seed=3)]


def test_a_conf_folder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROPENSITY_CONF", "/no/such/folder")
    with pytest.raises(ConfigurationError, match="no folder of YAML at /no/such/folder; set PROPENSITY_CONF"):
        conf_folder()


SCRIPT = """
from dataclasses import make_dataclass
from typing import Any
from hydra.core.config_store import ConfigStore
from propensity.command import entry
from propensity.config import CommandConfig

Tiny = make_dataclass("Tiny", [("run", str, "???"), ("model", Any, "???")], bases=(CommandConfig,))
ConfigStore.instance().store(name="tiny_schema", node=Tiny)

@entry("tiny")
def main(cfg):
    print(cfg.run)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def script(conf: Path, tmp_path: Path) -> Any:
    (tmp_path / "tiny.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "tiny.py", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=x"], "x\n"),
        (["--help"], "Draws a straw."),
        (["--help"], "propensity tiny run=runs/demo"),
        (["--help"], "model/encoder                         *gru, transformer"),
        (["model/encoder=transformer", "--help"], "model.encoder.heads=2"),
        (["run=x", "--cfg", "job"], "run: x\nmodel:\n  encoder:\n    width: 8\n"),
        (["--info", "defaults"], "model/encoder"),
        (["-sc", "install=bash"], "hydra_bash_completion"),
    ],
)
def test_the_command_line_answers(script: Any, arguments: list[str], said: str) -> None:
    done = script(*arguments)
    assert said in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_with_a_mistake_says_one_line(script: Any) -> None:
    done = script("-m", "run=x,y", "model.encoder.widht=3")
    expected = "propensity: model.encoder.widht does not exist; did you mean model.encoder.width?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
