"""Every option of every group composes, and what composes can be built."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from propensity.config import conf_folder


def composed(name: str, *overrides: str) -> DictConfig:
    """A primary configuration as Hydra composes it; settings without a value stay missing."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose(name, overrides=list(overrides))


NESTED = ("data", "model")
OPTIONS = sorted(
    (f"{group.name}/{part.name}", option.stem)
    for group in conf_folder().iterdir()
    if group.name in NESTED
    for part in group.iterdir()
    if part.is_dir()
    for option in part.glob("*.yaml")
)


def primaries() -> list[str]:
    return sorted(path.stem for path in conf_folder().glob("*.yaml"))


@pytest.mark.parametrize("name", primaries())
def test_every_primary_composes_and_has_its_script(name: str, repository: Path) -> None:
    assert composed(name) is not None
    script = repository / "scripts" / f"{name}.py"
    assert len(script.read_text().splitlines()) < 30


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_builds(group: str, option: str) -> None:
    cfg = composed("train", f"{group}={option}")
    part: Any = cfg
    for key in group.split("/"):
        part = part[key]
    if option == "none" and part is None:
        assert part is None
        return
    if OmegaConf.missing_keys(part):
        pytest.skip("a table of one's own has settings that only its owner knows")
    assert instantiate(part, _convert_="all") is not None


@pytest.mark.parametrize("path", sorted((conf_folder() / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_and_its_variants_compose_with_the_script_it_names(path: Path) -> None:
    named = (name for name in primaries() if f"propensity {name} experiment={path.stem}" in path.read_text())
    script = next(named, "compare")  # what a script in experiments/ takes its settings from
    cfg = composed(script, f"experiment={path.stem}")
    assert cfg.data.horizon in (7, 14, 28)
    command = next(line for line in path.read_text().splitlines() if line.startswith(("# propensity ", "# python ")))
    assert [key for key in OmegaConf.missing_keys(cfg) if f"{key}=" not in command] == []
    for overrides in cfg.get("variants", {}).values():
        assert composed(script, f"experiment={path.stem}", *overrides).data.horizon == cfg.data.horizon


@pytest.mark.parametrize("path", sorted(conf_folder().rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_opens_with_a_command_or_a_word_on_itself(path: Path) -> None:
    lines = path.read_text().splitlines()
    first = next(line for line in lines if not line.startswith("# @package"))
    assert first.startswith("# ")


def snake(name: str) -> str:
    """RepeatMLP -> repeat_mlp"""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def targeted() -> list[tuple[str, str, str]]:
    """Group, option and target of every YAML of conf/ that names a part of ours itself."""
    found = []
    for path in sorted(conf_folder().glob("*/**/*.yaml")):
        target = yaml.safe_load(path.read_text()) or {}
        if str(target.get("_target_", "")).startswith("propensity."):
            group = path.relative_to(conf_folder()).parent.as_posix()
            found.append((group, path.stem, target["_target_"]))
    return [each for each in found if each[0] != "training" and each[1] not in ("default", "none")]


@pytest.mark.parametrize(("group", "option", "target"), targeted())
def test_a_part_has_one_word_as_module_yaml_and_argument(group: str, option: str, target: str) -> None:
    *modules, name = target.removeprefix("propensity.").split(".")
    word = group.split("/")[-1]
    assert word in modules or group == "data", f"{target} is no part of {word}"
    assert option in modules or snake(name) in (option, f"{option}_{word}"), f"{target} is not called {option}"
    if "/" in group:
        whole = composed("train")[group.split("/")[0]]["_target_"]
        assert word in inspect.signature(get_object(whole)).parameters
