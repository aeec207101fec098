"""Which code a configuration may name: classes of ours, those of a few library modules, and plug-ins named by the user.

A configuration that comes out of a file can name any Python object by `_target_`. `check_targets` refuses what nobody
here vouched for, before anything is imported or called.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from propensity.errors import ConfigurationError, IntegrityError

DATA = ("propensity.task", "propensity.data", "propensity.feature", "propensity.ingest")
LIGHTNING = ("trainer", "callbacks", "loggers", "strategies", "plugins", "profilers")
ALL = ("propensity", "torch.optim", *(f"lightning.pytorch.{name}" for name in LIGHTNING))
NOT_PLUGINS = {"propensity", "torch", "lightning", "hydra", "omegaconf", "numpy", "polars", "numba", "builtins"}
VARIABLE = "PROPENSITY_PLUGINS"  # names of packages, with commas between

_named: dict[str, None] = {}  # in order of naming


def use_plugins(names: Iterable[str] = ()) -> list[str]:
    """Names packages whose classes and functions configurations may use in this process.

    Parameters
    ----------
    names
        Importable packages; one that lies in the working folder is made importable. The environment variable
        PROPENSITY_PLUGINS adds to them.

    Returns
    -------
    list of str
        All packages named so far in this process.

    Raises
    ------
    ConfigurationError
        For a package that cannot be imported, or that is no plug-in (the standard library, torch and the like).
    """
    for name in (*names, *filter(None, os.environ.get(VARIABLE, "").split(","))):
        _named[_importable(str(name).strip())] = None
    return list(_named)


def _importable(name: str) -> str:
    top = name.split(".")[0]
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(f"plugins names {name!r}, which is no package; give its import name, such as [mine]")
    if top in NOT_PLUGINS or top in sys.stdlib_module_names:
        raise ConfigurationError(f"plugins names {name}, which is no plug-in; give a package of your own parts")
    here = Path.cwd()
    if (here / top).is_dir() or (here / f"{top}.py").is_file():
        sys.path.extend({str(here)} - set(sys.path))
        importlib.invalidate_caches()
    try:
        there = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise ConfigurationError(
            f"no package {name} in {here} or installed; plugins takes import names, such as [mine]"
        )
    return name


def check_targets(config: Any, place: str | Path, allowed: Sequence[str] = ALL) -> None:
    """Refuses a configuration that names anything else than classes of `allowed` modules, or parts of named plug-ins.

    Parameters
    ----------
    config
        Plain containers, as read from a file.
    place
        The file, for the message.
    allowed
        Modules and packages; a class counts where it is defined, not where it is imported.

    Raises
    ------
    IntegrityError
        For a target that is not allowed, an interpolation, or an object that is no plain container or value.
    """
    for target in list(targets(config, place)):  # whole before any part of it is imported
        _check(target, place, allowed)


def _check(target: str, place: str | Path, allowed: Sequence[str]) -> None:
    plugins, top = tuple(_named), target.split(".")[0]
    # A class of Lightning's is named by a shorter path than that of the module which defines it.
    if not _within(target, (*allowed, *plugins, *(["lightning.pytorch"] if allowed is ALL else []))):
        if top in NOT_PLUGINS or top in sys.stdlib_module_names or not top.isidentifier():
            raise IntegrityError(f"{place} asks for {target}, which is not ours to call; train again")
        raise IntegrityError(f"{place} asks for {target}; if you trust the package {top}, add plugins=[{top}]")
    if (part := located(target)) is None:
        raise IntegrityError(f"{place} asks for {target}, which does not exist; train again")
    defined = str(getattr(part, "__module__", ""))
    if isinstance(part, type) and _within(defined, allowed):
        return
    if callable(part) and _within(defined, plugins):
        return
    raise IntegrityError(f"{place} asks for {target}, which is not ours to call; train again")


def _within(name: str, packages: Sequence[str]) -> bool:
    """propensity.data.batch lies within propensity.data, propensity.database does not."""
    return f"{name}.".startswith(tuple(f"{package}." for package in packages))


def located(target: str) -> object:
    """The object at a dotted path, or None.

    >>> located("propensity.errors.DataError").__name__, located("propensity.nowhere")
    ('DataError', None)
    """
    parts = target.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError as error:
            if error.name and not _within(target, (error.name,)):
                raise ConfigurationError(f"{target} needs the package {error.name}; install it") from error
            continue
        for name in parts[size:]:
            found = getattr(found, name, None)
        return found
    return None


def targets(config: Any, place: str | Path = "the configuration") -> Iterator[str]:
    """Every `_target_` in nested containers of any kind; IntegrityError for what is not plain.

    >>> list(targets({"_target_": "a", "b": ({"c": [{"_target_": "d"}]}, 3)}))
    ['a', 'd']
    """
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key == "_target_":
                if not isinstance(value, str):
                    raise IntegrityError(f"{place} names a target that is no text: {value!r}; train again")
                yield value
            yield from targets(value, place)
    elif isinstance(config, str):
        if "${" in config:
            raise IntegrityError(f"{place} holds the interpolation {config!r}, where only values may be; train again")
    elif isinstance(config, Sequence | Set) and not isinstance(config, bytes | bytearray):
        for value in config:
            yield from targets(value, place)
    elif not (config is None or isinstance(config, bool | int | float)):
        raise IntegrityError(
            f"{place} holds an object of {type(config).__name__}, where only values may be; train again"
        )
