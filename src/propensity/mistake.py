"""Turns what Hydra says about a mistyped command into one sentence that names the nearest valid spelling."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from hydra.utils import get_object
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

# What the pinned Hydra says; tests/test_config.py holds each of these against the real thing.
UNKNOWN = re.compile(r"(?:Could not override|Could not delete|from config\.|config group) '([^'=]+)[^']*'")
NOT_THERE = re.compile(r"Key '.*' (?:is )?not in ")
FULL_KEY = re.compile(r"full_key: (\S+)")
PLACE = re.compile(r"^In '([^']+)'")
SEVERAL = re.compile(r"Ambiguous value for argument '(.*)'")
TARGET = re.compile(r"(?:target|partial\()\W*([\w.]+)")
UNEXPECTED = re.compile(r"([\w.]+)\(\) got an unexpected keyword argument '(\w+)'")


def one_line(error: object) -> str:
    """A message on one line.

    >>> one_line("In 'a':\\n\\n   no b")
    "In 'a': no b"
    """
    return " ".join(str(error).split())


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid spelling most like `word`; its last part may stand for the whole.

    >>> nearest("data.horzion", ["seed", "data.horizon", "model/encoder"])
    'data.horizon'
    >>> nearest("lr", ["seed", "optimizer.lr"])
    'optimizer.lr'
    """

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, word, candidate).ratio()
        tail = difflib.SequenceMatcher(None, re.split(r"[./]", word)[-1], re.split(r"[./]", candidate)[-1]).ratio()
        return max(whole, 0.9 * tail)

    return max(sorted(set(valid) - {word}), key=likeness, default=None)


def suggest(what: str, word: str, valid: Iterable[str]) -> str:
    near = nearest(word, valid)
    return what if near is None else f"{what}; did you mean {near}?"


def groups(loader: ConfigLoader, parent: str = "") -> Iterator[str]:
    """Every config group of ours that has options, as `model/encoder`."""
    for name in loader.list_groups(parent):
        path = f"{parent}/{name}" if parent else name
        if path != "hydra":
            if loader.get_group_options(path):
                yield path
            yield from groups(loader, path)


def leaves(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key that holds a value rather than more keys, as `data.offer.column`."""
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from leaves(child, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix


def valid_words(folder: Path, name: str, arguments: Sequence[str]) -> list[str]:
    """The keys and groups that `name` offers, under those of the `arguments` that choose a group's option."""
    plain = composed(folder, name, arguments)
    with initialize_config_dir(str(folder), version_base="1.3"):
        return list(groups(GlobalHydra.instance().config_loader())) + list(leaves(plain))


def composed(folder: Path, name: str, arguments: Sequence[str]) -> Any:
    """The configuration of `name` with those of the `arguments` that choose a group's option, in plain containers."""
    GlobalHydra.instance().clear()  # the command that failed may still hold it
    with initialize_config_dir(str(folder), version_base="1.3"):
        known = set(groups(GlobalHydra.instance().config_loader()))
        choices = [a.split(",")[0] for a in arguments if "=" in a and a.split("=")[0].lstrip("+") in known]
        for overrides in (choices, []):
            try:
                return OmegaConf.to_container(compose(name, overrides), resolve=False)
            except (HydraException, OmegaConfBaseException):
                continue
    return {}


def place_of(target: str, node: Any, path: str = "") -> str | None:
    """The key under which nested containers hold the part `target`.

    >>> place_of("mine.Lru", {"seed": 3, "model": {"encoder": {"_target_": "mine.Lru"}}})
    'model.encoder'
    """
    if not isinstance(node, dict):
        return None
    if node.get("_target_") == target:
        return path
    children = ((child, f"{path}.{key}" if path else str(key)) for key, child in node.items())
    return next((place for child, at in children if (place := place_of(target, child, at)) is not None), None)


def sentence(error: Exception, folder: Path, name: str, arguments: Sequence[str]) -> str | None:
    """One sentence for whoever typed `arguments` to script `name`, or None if the error is a bug of ours."""
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}: write key=value, with quotes around spaces, commas or = in the value"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return missing_option(error, folder)
    if isinstance(error, InstantiationException):
        return wrong_part(error, composed(folder, name, arguments))
    said = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
    key = FULL_KEY.search(said)
    if isinstance(error, MissingMandatoryValue) and key:
        return f"{key[1]} is not given; add {key[1]}=..."
    if unknown := UNKNOWN.search(said) or (key if NOT_THERE.search(said) else None):
        where = f" in conf/{place[1]}.yaml" if (place := PLACE.search(said)) else ""
        return suggest(f"{unknown[1]}{where} does not exist", unknown[1], valid_words(folder, name, arguments))
    if several := SEVERAL.search(said):
        return f"{several[1]} holds several values; add -m to run one after another, or put a list in [brackets]"
    return one_line(re.sub(r"\s*(full_key: |object_type=|reference_type=)\S*", "", said))


def missing_option(error: MissingConfigException, folder: Path) -> str:
    """The nearest option of the group, or the option of that name of a group that is called alike."""
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    if not group:
        return one_line(str(error).splitlines()[0])
    elsewhere = (path.parent.relative_to(folder).as_posix() for path in folder.rglob(f"{option}.yaml"))
    valid = [*(f"{group}={name}" for name in error.options or []), *(f"{place}={option}" for place in elsewhere)]
    return suggest(f"{group}={option} does not exist", f"{group}={option}", valid)


def wrong_part(error: InstantiationException, plain: Any) -> str | None:
    """A `_target_` that is not there, or that does not take a setting: a mistake in YAML. All else is a bug."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    target = TARGET.search(str(error))
    if target is None or cause is error:
        return one_line(error)
    if str(error).startswith("Error locating"):
        return unlocated(target[1], cause)
    place = place_of(target[1], plain)
    return refused_setting(target[1], cause, f"{place}." if place else "")


def refused_setting(target: str, cause: BaseException, prefix: str) -> str | None:
    """The setting that the target itself refused; a call further down that was made wrong is a bug."""
    part = get_object(target)
    call = part.__init__ if inspect.isclass(part) else part
    refused = UNEXPECTED.search(str(cause))
    if refused is None or refused[1] != getattr(call, "__qualname__", None):
        return None
    valid = [prefix + name for name in inspect.signature(part).parameters]
    return suggest(f"{prefix}{refused[2]} is no setting of {target}", prefix + refused[2], valid)


def unlocated(target: str, cause: BaseException) -> str | None:
    if isinstance(cause, ModuleNotFoundError) and cause.name and not target.startswith(cause.name.split(".")[0]):
        return f"{target} needs the package {cause.name}; pip install -c constraints.txt -e '.[demo]' brings it"
    if isinstance(cause, (ModuleNotFoundError, AttributeError)):
        return f"_target_ {target} does not exist"
    return None
