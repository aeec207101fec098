"""The console command: its verbs, their help, mappings on the command line, interrupts, and a project of one's own."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import QUICK, SMALL
from propensity import __version__
from propensity.cli import main, split, spoken, verbs
from propensity.config import COMMANDS, OPEN, conf_folder, scripts_folder
from propensity.errors import ConfigurationError
from propensity.project import make_project
from propensity.usage import usage

REPOSITORY = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "propensity.cli")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PROPENSITY_PLUGINS"}
ENVIRONMENT |= {"PYTHONPATH": str(REPOSITORY / "src")}


def propensity(*arguments: str, cwd: Path = REPOSITORY, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT | variables
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_a_verb_is_a_script_with_its_yaml_and_its_schema() -> None:
    assert sorted(verbs()) == sorted(COMMANDS) == sorted(path.stem for path in conf_folder().glob("*.yaml"))
    for stem in verbs():
        assert len((scripts_folder() / f"{stem}.py").read_text().splitlines()) < 32


def test_the_overview_has_a_line_for_each_verb_and_loads_nothing_heavy() -> None:
    heavy = {"torch", "lightning", "hydra", "omegaconf", "polars", "numba", "numpy"}
    program = f"import sys; from propensity.cli import main; main([]); print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("set()\n")
    lines = done.stdout.splitlines()
    for stem in verbs():
        (line,) = [line for line in lines if line.startswith(f"  {spoken(stem, verbs())} ")]
        assert line.endswith(".") and len(line) < 120


def test_the_command_says_its_version() -> None:
    done = propensity("--version")
    assert (done.returncode, done.stdout) == (0, f"propensity {__version__}\n")


@pytest.mark.parametrize(
    ("typed", "meant"), [("trian", "train"), ("exprot", "export"), ("export-custom", "export-customer"), ("x=1", "")]
)
def test_an_unknown_verb_is_one_line_that_names_the_nearest(typed: str, meant: str) -> None:
    done = propensity(typed)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"there is no verb '{typed}'; did you mean propensity {meant}" in done.stderr


@pytest.mark.parametrize("words", [["export-customer"], ["export_customer"], ["export", "customer"]])
def test_a_verb_may_have_two_words(words: list[str]) -> None:
    assert split([*words, "log=x"], ["export", "export_customer"]) == ("export_customer", ["log=x"])
    with pytest.raises(ConfigurationError, match="there is no verb 'registry'"):
        split(["registry", "out=list"], ["registry_list", "train"])


OPTIONS = sorted(
    ("/".join(path.relative_to(conf_folder()).parts[:-1]), path.stem)
    for path in conf_folder().glob("*/**/*.yaml")
    if path.relative_to(conf_folder()).parts[0] in ("baseline", "data", "decision", "loss", "model", "training", *OPEN)
)


def without_meaning(text: str) -> list[str]:
    """Settings of a help page that nothing is said about."""
    lines = text.split("Settings (key=value)\n")[1].split("\n\n--cfg")[0].splitlines()
    found = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line[2] != " " and not re.search(r"\S\s{2,}\S", line) and not following.startswith(" " * 40):
            found.append(line.strip())
    return found


@pytest.mark.parametrize("stem", sorted(COMMANDS))
def test_help_says_what_every_setting_of_a_verb_means(stem: str) -> None:
    text = usage(conf_folder(), stem, [])
    assert without_meaning(text) == []
    own = {"data", "model", "loss", "training", "baseline", "decision", "engine"}
    if stem in ("export", "kpi", "score", "serve") or stem.startswith("ab_"):
        own -= {"data"}  # of which they have a single setting
    schema = (own | {*OPEN}) & {*COMMANDS[stem].__dataclass_fields__}
    groups = text.split("Groups (")[1].split("\n\n")[0].splitlines()[1:] if "Groups (" in text else []
    named = {line.split()[0].split("/")[0] for line in groups if line[2] != " "}
    assert named - {"experiment"} == schema


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_help_says_what_every_setting_of_an_option_means(group: str, option: str) -> None:
    stem = {"baseline": "evaluate", "decision": "decide"}.get(group.split("/")[0], "train")
    if group == "baseline" and option != "default":
        pytest.skip("part of the default")
    assert without_meaning(usage(conf_folder(), stem, [f"{group}={option}"])) == []


def test_help_of_a_verb_follows_the_chosen_options() -> None:
    done = propensity("train", "model/encoder=transformer", "--help")
    assert done.returncode == 0
    assert "model.encoder.heads=4" in done.stdout and "*transformer" in done.stdout
    assert "seed=17                               seed of every random stream of the run (integer)" in done.stdout


TABLE = ("data/source=table", "data.source.events=x", "data.source.columns={customer: a, day: b, item: c, revenue: d}")
MAPPINGS = {
    "variants": ["compare", "cutoffs=[2017-10-02]"],
    "space": ["tune"],
    "data.source.rates": ["prepare", *TABLE],
    "data.source.leave_out": ["prepare", *TABLE],
    "data.source.kinds": ["prepare", *TABLE],
    "decision.shares": ["decide", "decision=segment", "scores=x", "out=y"],
}


def job(*arguments: str) -> Any:
    """The configuration that a command prints, from this process."""
    with redirect_stdout(io.StringIO()) as output, pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        patch.delenv("PROPENSITY_PLUGINS", raising=False)
        patch.setattr(sys, "argv", [*sys.argv])
        main([*arguments, "--cfg", "job"])
    return yaml.safe_load(output.getvalue())


def at(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config[name]
    return config


@pytest.mark.parametrize("key", MAPPINGS)
def test_a_mapping_is_set_replaced_added_to_and_emptied_as_printed(key: str) -> None:
    command = MAPPINGS[key]
    before = at(job(*command), key)
    assert at(job(*command, f"{key}={{a: [1], b: [2]}}"), key) == {"a": [1], "b": [2]}
    assert at(job(*command, f"+{key}={{a: [1]}}"), key) == (before or {}) | {"a": [1]}
    assert at(job(*command, f"{key}={{}}"), key) == {}


def test_a_mapping_that_builds_a_part_is_changed_and_not_replaced() -> None:
    config = job("train", "data.offer={min_buyers: 3}")
    assert config["data"]["offer"]["min_buyers"] == 3
    assert config["data"]["offer"]["window"] == 91


def test_a_mapping_can_be_replaced_in_a_sweep(tmp_path: Path) -> None:
    arguments = ["compare", "-m", "variants={one: []}", "cutoffs=[2024-06-01]", "seed=1,2", f"out={tmp_path}"]
    done = propensity(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "propensity: 1 variant makes no comparison; give variants two or more\n",
    )


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupted_training_ends_with_130_and_says_how_it_continues(
    small_world: dict[str, Any], tmp_path: Path
) -> None:
    quick = [setting for setting in QUICK if "max_" not in setting]
    settings = [*SMALL, *quick, "trainer.max_epochs=1000", f"data.log={small_world['folder']}", f"out={tmp_path}/run"]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores Ctrl-C
    command = [*COMMAND, "train", *settings]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, preexec_fn=listening
    )
    last, end = tmp_path / "run/progress/search/last.ckpt", time.monotonic() + 120
    while not last.is_file() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    epoch_ended = last.is_file()
    process.send_signal(signal.SIGINT)
    try:
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert epoch_ended and process.returncode == 130, said
    assert said.endswith("propensity: interrupted; the same command continues after the last whole epoch\n")


def test_a_project_takes_no_other_place(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    done = propensity("init", str(tmp_path))
    assert (done.returncode, done.stderr) == (
        2,
        f"propensity: {tmp_path} is not empty; give the name of a new folder\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "shop"
    make_project(folder)
    return folder


def readme_commands(folder: Path) -> list[list[str]]:
    lines = (folder / "README.md").read_text().splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("propensity ")]


def test_a_project_names_the_five_commands_and_every_file_says_what_it_is(shop: Path) -> None:
    assert [words[0] for words in readme_commands(shop)][:5] == ["prepare", "train", "evaluate", "decide", "export"]
    for path in shop.rglob("*.yaml"):
        assert "# " in path.read_text()
    assert (shop / ".gitignore").is_file() and (shop / "raw/sales.csv").is_file()


def test_the_yaml_of_a_project_comes_before_ours(shop: Path) -> None:
    done = propensity("train", "--cfg", "job", cwd=shop)
    config = yaml.safe_load(done.stdout)
    assert config["plugins"] == ["shop_parts"]
    assert config["data"]["source"]["columns"]["customer"] == "card"
    assert config["data"]["offer"]["column"] == "category"
    assert "last_events" in propensity("train", "--help", cwd=shop).stdout


@pytest.mark.slow
def test_the_commands_of_a_project_run_as_printed(shop: Path) -> None:
    for words in readme_commands(shop):
        done = propensity(*words, cwd=shop)
        assert done.returncode == 0, (words, done.stderr[-2000:])
    assert (shop / "bundle/manifest.json").is_file() and (shop / "runs/first/report.html").is_file()


@pytest.fixture
def own_run(shop: Path) -> Path:
    """A short training with the project's own encoder."""
    if not (shop / "runs/own/model.ckpt").is_file():
        settings = ["model/encoder=last_events", "data.end=2024-06-20", *QUICK, "out=runs/own"]
        for words in (["prepare"], ["train", *settings]):
            done = propensity(*words, cwd=shop)
            assert done.returncode == 0, done.stderr[-2000:]
    return shop


@pytest.mark.slow
def test_a_plugin_is_recorded_and_loads_again_only_where_it_is_named(own_run: Path, tmp_path: Path) -> None:
    asked = ["score", f"run={own_run}/runs/own", f"log={own_run}/data/shop", "cutoff=2024-06-20", "out=scores.parquet"]
    assert "plugins:\n- shop_parts\n" in (own_run / "runs/own/config.yaml").read_text()
    assert propensity(*asked, cwd=own_run).returncode == 0
    path = os.pathsep.join([str(REPOSITORY / "src"), str(own_run)])
    done = propensity(*asked, cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 5
    assert (
        "asks for shop_parts.last_events.LastEvents; if you trust the package shop_parts, add plugins=" in done.stderr
    )
    assert propensity(*asked, "plugins=[shop_parts]", cwd=tmp_path, PYTHONPATH=path).returncode == 0
    assert propensity(*asked, cwd=tmp_path, PYTHONPATH=path, PROPENSITY_PLUGINS="shop_parts").returncode == 0


@pytest.mark.long
def test_a_plugin_can_be_compared_and_exported(own_run: Path) -> None:
    variants = 'variants={own: ["model/encoder=last_events"], none: ["model/encoder=none"]}'
    short = [*QUICK, "resamples=0", "out=runs/compare"]
    for words in (
        ["compare", "cutoffs=[2024-06-20]", variants, *short],
        ["export", "run=runs/own", "out=own_bundle", "rows=100"],
        ["score", "bundle=own_bundle", "log=data/shop", "cutoff=2024-06-20", "out=own_scores"],
    ):
        done = propensity(*words, cwd=own_run)
        assert done.returncode == 0, (words, done.stderr[-2000:])


def test_a_reader_that_ends_early_leaves_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "propensity.cli", "evaluate", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=ENVIRONMENT | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 1
