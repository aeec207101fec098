"""Which code a configuration may name: classes that conf/ declares, listed ones of libraries, and named plug-ins.

A configuration that comes out of a file can name any Python object by `_target_`. `check_targets` refuses what nobody
here vouched for, before anything is imported or called. What comes from a file is plain data: `check_plain`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from propensity.config import conf_folder
from propensity.errors import ConfigurationError, DataError, IntegrityError

DATA = ("propensity.task", "propensity.catalogue", "propensity.data", "propensity.feature", "propensity.ingest")
MODEL = ("propensity.model",)
ALL = ("propensity", "torch", "lightning")
OPTIMIZERS = (
    *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam"),
    *("RMSprop", "Rprop", "SGD", "SparseAdam"),
)
SCHEDULERS = (
    *("ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LinearLR"),
    *("MultiStepLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "StepLR"),
)
CALLBACKS = (
    *("DeviceStatsMonitor", "EMAWeightAveraging", "EarlyStopping", "GradientAccumulationScheduler"),
    *("LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "OnExceptionCheckpoint", "RichModelSummary"),
    *(
        "RichProgressBar",
        "SpikeDetection",
        "StochasticWeightAveraging",
        "TQDMProgressBar",
        "ThroughputMonitor",
        "Timer",
    ),
)
LOGGERS = ("CSVLogger", "CometLogger", "MLFlowLogger", "TensorBoardLogger", "WandbLogger")
STRATEGIES = ("DDPStrategy", "FSDPStrategy", "ModelParallelStrategy", "SingleDeviceStrategy")
PROFILERS = ("AdvancedProfiler", "PassThroughProfiler", "PyTorchProfiler", "SimpleProfiler")
PRECISIONS = ("DoublePrecision", "FSDPPrecision", "HalfPrecision", "MixedPrecision", "TorchSyncBatchNorm")
LIBRARIES = frozenset(
    f"{module}.{name}"
    for module, names in (
        ("torch.optim", OPTIMIZERS),
        ("torch.optim.lr_scheduler", SCHEDULERS),
        ("lightning.pytorch", ("Trainer",)),
        ("lightning.pytorch.callbacks", CALLBACKS),
        ("lightning.pytorch.loggers", LOGGERS),
        ("lightning.pytorch.strategies", STRATEGIES),
        ("lightning.pytorch.profilers", PROFILERS),
        ("lightning.pytorch.plugins", PRECISIONS),
    )
    for name in names
)
OURS = ("propensity", "torch.optim", "lightning.pytorch.callbacks", "lightning.pytorch.loggers")  # harmless to import
NOT_PLUGINS = {"propensity", "torch", "lightning", "hydra", "omegaconf", "numpy", "polars", "numba", "builtins"}
VARIABLE = "PROPENSITY_PLUGINS"  # names of packages, with commas between
MAX_NODES, MAX_DEPTH = 100_000, 64  # of a configuration; the largest of ours has a few hundred, ten deep
MAX_YAML_BYTES = 1 << 22

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
    """Refuses a configuration that is not plain data, or names anything else than trusted parts.

    Trusted are the classes that a YAML of our conf/ declares, those of `LIBRARIES`, and parts of named plug-ins.

    Parameters
    ----------
    config
        Plain containers, as read from a file.
    place
        The file, for the message.
    allowed
        Modules and packages in which trusted classes of ours or of a library must lie.

    Raises
    ------
    IntegrityError
        For a target that is not allowed, or for what `check_plain` refuses.
    """
    check_plain(config, place)
    for target in list(targets(config)):  # whole before any part of it is imported
        _check(target, place, allowed)


def check_plain(config: Any, place: str | Path) -> None:
    """Refuses what is not plain data: scalars, lists, and dicts with scalar keys.

    Parameters
    ----------
    config
        What was read from a file.
    place
        The file, for the message.

    Raises
    ------
    IntegrityError
        For any other object (a tuple, a set, a subclass of dict), an interpolation, a target that is no text, or
        containers that are deeper or larger than a configuration can be.
    """
    waiting, seen = [(config, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > MAX_NODES or depth > MAX_DEPTH:
            raise IntegrityError(f"{place} is nested too deep or too large for a configuration; train again")
        kind = type(value)
        if kind is str:
            if "${" in value:
                shown = value if len(value) <= 80 else f"{value[:80]}..."
                raise IntegrityError(
                    f"{place} holds the interpolation {shown!r}, where only values may be; train again"
                )
        elif kind is dict:
            if "_target_" in value and type(value["_target_"]) is not str:
                raise IntegrityError(
                    f"{place} names a target that is no text: {type(value['_target_']).__name__}; train again"
                )
            waiting += [(each, depth + 1) for pair in value.items() for each in pair]
        elif kind is list:
            waiting += [(each, depth + 1) for each in value]
        elif not (value is None or kind in (bool, int, float)):
            raise IntegrityError(f"{place} holds an object of {kind.__name__}, where only values may be; train again")


def _check(target: str, place: str | Path, allowed: Sequence[str]) -> None:
    plugins, top = tuple(_named), target.split(".")[0]
    listed = target in LIBRARIES or target in declared(conf_folder())
    if not (_within(target, plugins) or (listed and _within(target, allowed))):
        if _within(target, OURS) and located(target) is None:
            raise IntegrityError(f"{place} asks for {target}, which does not exist; train again")
        if top in NOT_PLUGINS or top in sys.stdlib_module_names or not top.isidentifier():
            raise IntegrityError(f"{place} asks for {target}, which is not ours to call; train again")
        raise IntegrityError(f"{place} asks for {target}; if you trust the package {top}, add plugins=[{top}]")
    if (part := located(target)) is None:
        raise IntegrityError(f"{place} asks for {target}, which does not exist; train again")
    if listed and isinstance(part, type):
        return
    if callable(part) and _within(str(getattr(part, "__module__", "")), plugins):
        return
    raise IntegrityError(f"{place} asks for {target}, which is not ours to call; train again")


@functools.cache
def declared(folder: Path) -> frozenset[str]:
    """Targets in the YAML of a folder of configurations.

    >>> "propensity.task.Task" in declared(conf_folder()), "propensity.training.run.train" in declared(conf_folder())
    (True, False)
    """
    named = re.compile(r"^[^#\n]*?\b_target_:[ \t]*([\w.]+)", re.MULTILINE)
    return frozenset(name for file in folder.rglob("*.yaml") for name in named.findall(file.read_text()))


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


def targets(config: Any) -> Iterator[str]:
    """Every `_target_` in plain containers.

    >>> list(targets({"_target_": "a", "b": [{"c": [{"_target_": "d"}]}, 3]}))
    ['a', 'd']
    """
    if isinstance(config, dict):
        for key, value in config.items():
            if key == "_target_":
                yield value
            else:
                yield from targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from targets(value)


class PlainLoader(yaml.SafeLoader):
    """YAML as plain data: dates stay text, and a number may have an exponent without a point."""


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith(":timestamp")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), [*"-+0123456789"]
)


def read_yaml(path: str | Path) -> Any:
    """A configuration out of a YAML file, as plain data: no tags, no interpolation, nothing is resolved.

    Parameters
    ----------
    path
        File of at most `MAX_YAML_BYTES`.

    Raises
    ------
    DataError
        If it is no YAML.
    IntegrityError
        For what `check_plain` refuses, and for tags of other types.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise IntegrityError(f"{path} is too large for a configuration; train again")
        content = yaml.load(path.read_text(), PlainLoader)
    except yaml.constructor.ConstructorError as error:
        raise IntegrityError(f"{path} holds {error.problem}, where only values may be; train again") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read as YAML ({type(error).__name__}); train again") from None
    check_plain(content, path)
    return content
