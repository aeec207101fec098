"""YAML files of the user that cannot be read, as sentences that name the file and the line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

DEFAULTS = re.compile(
    r"(?:Invalid defaults list|Error loading|defaults list) (?:in )?'([^']+)'.*?(?:\((got \w+)\))?$", re.S
)
FREE = ("project", "experiment", "hydra")  # groups that build no part


def yaml_sentence(error: BaseException, folder: Path | None) -> str | None:
    """Say what is wrong with a YAML file.

    Parameters
    ----------
    error : BaseException
        What loading the configuration raised.
    folder : Path or None
        Folder of the user's configurations.

    Returns
    -------
    str or None
        One sentence with file and line; None if the error is not about a YAML file.
    """
    if isinstance(error, yaml.YAMLError):
        return _syntax(error)
    if isinstance(error, UnicodeDecodeError) and (file := _undecodable(folder)) is not None:
        return f"{file} is not UTF-8 text; save it as UTF-8"
    if isinstance(error, ValueError) and (found := DEFAULTS.search(str(error))) and "defaults" in str(error):
        file = (folder / f"{found[1]}.yaml") if folder is not None else Path(f"{found[1]}.yaml")
        wrong = f" ({found[2]})" if found[2] else ""
        return f"{shown(file)}: defaults is not a list{wrong}; write a list such as 'defaults: [table, _self_]'"
    if isinstance(error, ValueError) and str(error).startswith("Unsupported type in defaults"):
        return (
            f"a defaults list below {shown(folder) if folder else 'conf'} holds a list; write names, one in each line"
        )
    return None


def _syntax(error: yaml.YAMLError) -> str:
    """What the parser says, with file and line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if mark is None:
        return f"a YAML file cannot be read ({problem}); correct it"
    begun = getattr(error, "context_mark", None)
    since = f", in what begins on line {begun.line + 1}" if begun is not None and begun.line != mark.line else ""
    return (
        f"{shown(Path(mark.name))}, line {mark.line + 1}: {problem}{since}; correct the YAML, in which text with "
        "characters such as : * or a tab is written in quotes"
    )


def _undecodable(folder: Path | None) -> Path | None:
    """The first YAML file that is not UTF-8."""
    for file in sorted(folder.rglob("*.yaml")) if folder is not None else []:
        try:
            file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return shown(file)
    return None


def shown(file: Path) -> Path:
    """A path as it is seen from the working folder.

    Parameters
    ----------
    file : Path
        Path.

    Returns
    -------
    Path
        Relative if the file is below the working folder.

    Examples
    --------
    >>> shown(Path.cwd() / "conf/project/plugins.yaml").as_posix()
    'conf/project/plugins.yaml'
    """
    place = Path.cwd()
    return file.relative_to(place) if file.is_absolute() and file.is_relative_to(place) else file


def part_without_target(cfg: DictConfig, choices: Any, folder: Path | None, ours: Path) -> str | None:
    """Find a part of the user's that names no class.

    Parameters
    ----------
    cfg : DictConfig
        Composed configuration.
    choices : mapping of str to str
        Group -> chosen option.
    folder : Path or None
        Folder of the user's configurations.
    ours : Path
        Folder of the configurations of the package.

    Returns
    -------
    str or None
        One sentence; None if every part, or each of the parts that it lists by name, has a `_target_`.
    """
    for group, option in choices.items():
        file = folder / group / f"{option}.yaml" if folder is not None else None
        if file is None or not file.is_file() or group.split("/")[0] in FREE:
            continue
        node = OmegaConf.select(cfg, group.replace("/", "."), throw_on_missing=False)
        siblings = [each.stem for each in sorted((ours / group).glob("*.yaml")) if _has_target(each)]
        if siblings and not _builds(node):
            return (
                f"{shown(file)} names no class (_target_), so that {group}={option} builds nothing; begin it with "
                f"'defaults: [{'table' if 'table' in siblings else siblings[0]}, _self_]' or a line _target_"
            )
    return None


def _builds(node: Any) -> bool:
    """Whether a part names a class, or lists parts by name that do."""
    if not isinstance(node, DictConfig):
        return False
    return "_target_" in node or (len(node) > 0 and all(_builds(part) for part in node.values()))


def _has_target(file: Path) -> bool:
    """Whether a configuration builds a part at its top level."""
    return re.search(r"^_target_:", file.read_text(encoding="utf-8"), re.M) is not None
