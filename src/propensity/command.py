"""The decorator that makes a function a command.

Hydra composes conf/<name>.yaml, checks it against the schema of the same name (config.py), and hands it to the
function. A mistake of the caller ends in one line on stderr and an exit code (errors.py); a bug keeps its traceback.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import yaml
from hydra import compose
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from propensity.conf_file import part_without_target, yaml_sentence
from propensity.config import COMMANDS, OPEN, TrainConfig, conf_folder
from propensity.disk import check_writable, storage_problem
from propensity.errors import ConfigurationError, IntegrityError, PropensityError
from propensity.limits import check_values
from propensity.mapping_key import decode_keys, encoded_key, readable, with_encoded_keys
from propensity.mistake import one_line, sentence
from propensity.secret import redacted, refuse_secrets
from propensity.trust import check_targets, use_plugins
from propensity.usage import usage

TABLE_SUFFIXES = {".csv", ".html", ".json", ".parquet"}
TABLES = ("ab_analyse", "ab_uplift", "ab_policy", "ab_learn", "ab_fatigue")  # commands whose data is a table
NULLS = {  # settings that have to be given, also when they are null, and what null means
    "data.source.columns.item": "lines name no item",
    "data.source.columns.revenue": "lines have no amount",
}
INTERRUPTED = 130
AGAIN = "the same command starts again"


def schema_node(schema: type) -> DictConfig:
    """A schema for Hydra's config store: `OPEN` groups accept any argument of their class, all else is closed."""
    node: DictConfig = OmegaConf.structured(schema)
    for name in (each.name for each in fields(schema) if each.name in OPEN):
        node[name] = {}
        node._get_node(name)._set_flag("struct", False)  # type: ignore[union-attr]
    return node


for command, schema in COMMANDS.items():
    ConfigStore.instance().store(name=f"{command}_schema", node=schema_node(schema))


class ProjectSearchPath(SearchPathPlugin):
    """The YAML of the project in the working folder comes before ours."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if (folder := project_folder()) is not None:
            search_path.prepend("project", f"file://{folder}", "main")


Plugins.instance().register(ProjectSearchPath)


def project_folder() -> Path | None:
    """conf/ in the working folder, unless it is ours."""
    folder = (Path.cwd() / "conf").resolve()
    return folder if folder.is_dir() and folder != conf_folder() else None


def typed(cfg: DictConfig) -> Any:
    """The schema object of a composed configuration: resolved, with its groups as plain dicts."""
    return OmegaConf.to_object(cfg)


def configuration(name: str, settings: Mapping[str, Any]) -> Any:
    """The schema object of a command for callers in Python.

    Parameters
    ----------
    name : primary configuration, such as "train".
    settings : key or group -> value, such as {"model/encoder": "gru", "data.horizon": 7}.

    Raises
    ------
    ConfigurationError
        For a setting that does not exist or a value that does not fit, naming the nearest valid spelling.
    """
    overrides = replacing(name, [f"{key}={_grammar(value)}" for key, value in settings.items()])
    try:
        with composing():
            cfg = compose(name, overrides)
            decode_keys(cfg)
            container: Any = OmegaConf.to_container(cfg, resolve=True)
            check_values(name, container)
            refuse_secrets(container)
            return typed(cfg)
    except (HydraException, OmegaConfBaseException) as error:
        message = sentence(error, conf_folder(), name, overrides)
        raise ConfigurationError(message or one_line(error)) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if (message := yaml_sentence(error, project_folder())) is None:
            raise
        raise ConfigurationError(message) from error


@contextmanager
def composing() -> Iterator[None]:
    """Compose configurations of ours, also inside a running command."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
            yield
    finally:
        if running is not None:
            GlobalHydra.instance().initialize(running)


def _grammar(value: Any) -> str:
    """A Python value as Hydra's command line reads it.

    >>> _grammar({"a": [1, None, True], "b": "two words"})
    "{a: [1, null, true], b: 'two words'}"
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{encoded_key(str(key))}: {_grammar(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_grammar, value)) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "\\'") + "'"


def quoted(argument: str) -> str:
    """An argument with quotes around words with letters beyond ASCII, which Hydra reads in quotes only.

    >>> quoted("decision.offer=Pláště a duše"), quoted("leave_out={state: [zrušeno, open]}")
    ("decision.offer='Pláště a duše'", "leave_out={state: ['zrušeno', open]}")
    """
    key, _, value = argument.partition("=")
    if value.isascii() or argument.startswith("-"):
        return argument
    parts = re.split(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", value)  # the odd ones are in quotes
    if any({*"'\""} & {*part} for part in parts[::2]):
        return argument
    words = re.compile(r"[^\s\[\]{},:][^\[\]{},:]*")
    parts[::2] = [words.sub(lambda w: w[0] if w[0].isascii() else f"'{w[0]}'", part) for part in parts[::2]]
    return f"{key}=" + "".join(parts)


def composer(name: str, own: Collection[str]) -> Callable[[Sequence[str]], TrainConfig]:
    """A function from further overrides to the training that this command describes with them.

    Parameters
    ----------
    name : primary configuration of the running command.
    own : settings of the command itself, which no single training has.
    """
    overrides = [each for each in HydraConfig.get().overrides.task if _key(each) not in own]

    def training(more: Sequence[str]) -> TrainConfig:
        cfg = compose(name, overrides=[*overrides, *more])
        decode_keys(cfg)
        part = OmegaConf.masked_copy(cfg, [each.name for each in fields(TrainConfig)])
        found = TrainConfig(**OmegaConf.to_container(part, resolve=True))  # type: ignore[arg-type]
        return replace(found, plugins=use_plugins())

    return training


def _key(override: str) -> str:
    """The first part of the key of an override: `+data.end=...` -> `data`."""
    return override.lstrip("+~").split("=")[0].split(".")[0]


def entry(name: str, interrupted: str = AGAIN) -> Callable[[Callable[[Any], Any]], Callable[..., Any]]:
    """Makes a function of a schema object the command `name`, which reads conf/`name`.yaml and the command line.

    Called with such an object instead, the command is that function and nothing more.

    Parameters
    ----------
    name : of the primary configuration.
    interrupted : what the same command does after Ctrl-C.
    """

    def decorate(function: Callable[[Any], Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def job(cfg: DictConfig) -> Any:
            # Hydra reports a failed job in words of its own before it raises: the last word is said here, inside it.
            with mistakes_in_one_line(name, interrupted):
                decode_keys(cfg)
                return function(typed(checked(cfg, name)))  # what a sweeper minimises or maximises

        @functools.wraps(function)
        def script(config: Any = None) -> Any:
            if config is not None:
                return function(config)
            os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us instead of being printed by Hydra
            with mistakes_in_one_line(name, interrupted):
                if {"-h", "--help"} & {*sys.argv[1:]}:
                    return print(usage(conf_folder(), name, [a for a in sys.argv[1:] if "=" in a and a[0] != "-"]))
                refuse_unknown_flags(sys.argv[1:])
                sys.argv[1:] = replacing(name, [quoted(with_encoded_keys(each)) for each in sys.argv[1:]])
                hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=name)(job)()

        return script

    return decorate


@contextmanager
def mistakes_in_one_line(name: str, interrupted: str = AGAIN) -> Iterator[None]:
    """Ends the process with one line and an exit code when the caller is at fault; lets bugs through."""
    try:
        yield
    except KeyboardInterrupt:
        leave(f"interrupted; {interrupted}", INTERRUPTED)
    except SystemExit as stop:
        if stop.code == INTERRUPTED or not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        leave(f"interrupted; {interrupted}", INTERRUPTED)  # Lightning leaves with a code of its own
    except PropensityError as error:
        leave(str(error), error.exit_code)
    except (HydraException, OmegaConfBaseException) as error:  # a missing option is an OSError too
        if (ours := own_cause(error)) is not None:
            leave(str(ours), ours.exit_code)
        message = sentence(error, conf_folder(), name, sys.argv[1:])
        if message is None:
            raise
        leave(message, ConfigurationError.exit_code)
    except Exception as error:  # Polars, torch and Lightning have errors of their own for a full disk
        message = yaml_sentence(error, project_folder()) or storage_problem(own_error(error))
        if message is None:
            raise
        leave(message, ConfigurationError.exit_code)


def own_error(error: BaseException) -> BaseException:
    """The error of the system behind an error of a library, or the error itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return error if cause is None else cause


def leave(message: str, code: int) -> None:
    print(f"propensity: {redacted(one_line(readable(message)))}", file=sys.stderr)
    raise SystemExit(code) from None


def own_cause(error: BaseException) -> PropensityError | None:
    """The error of ours that Hydra wrapped while it built an object, if there is one."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, PropensityError):
        cause = cause.__cause__
    return cause


def refuse_unknown_flags(arguments: list[str]) -> None:
    """Settings wear no dashes and stand side by side; Hydra's own words on this fill a screen."""
    parser = get_args_parser()
    parser.exit_on_error = False
    for argument in arguments:
        if argument.startswith("--") and "=" in argument and not argument.startswith("--config-"):
            raise ConfigurationError(f"{argument} is not an option; write {argument.lstrip('-')}")
    try:
        unknown = parser.parse_known_args(arguments)[1]
    except argparse.ArgumentError as error:
        raise ConfigurationError(str(error)) from error
    if unknown and unknown[0].startswith("-"):
        raise ConfigurationError(f"{unknown[0]} is not an option; --help lists them, and settings are key=value")
    if unknown:
        raise ConfigurationError(f"{unknown[0]} stands apart from the other settings; put all key=value side by side")


def replacing(name: str, arguments: list[str]) -> list[str]:
    """The same arguments, with `key={...}` as a deletion and an addition where `key` holds a free mapping.

    Hydra merges a mapping into the one that is there, so that none could be emptied. A mapping that builds a part (it
    has a `_target_`) or has a schema is merged as before; `+key={...}` always adds.
    """
    if name in TABLES:  # Hydra would take data=... for the group of this name
        arguments = [f"data.path{each[4:]}" if each.startswith("data=") else each for each in arguments]
    chosen = [argument for argument in arguments if "={" in argument and argument[0] not in "+~-"]
    if not chosen:
        return arguments
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        try:
            others = [a for a in arguments if "=" in a and a[0] != "-" and a not in chosen]
            settings = OverridesParser.create().parse_overrides(others)
            plain = compose(name, [str(each.input_line) for each in settings if not each.is_sweep_override()])
        except (HydraException, OmegaConfBaseException):
            return arguments  # Hydra is about to say what is wrong
    return [
        part
        for argument in arguments
        for part in (_replacement(argument) if argument in chosen and _is_free(plain, argument) else [argument])
    ]


def _replacement(argument: str) -> list[str]:
    return [f"~{argument.partition('=')[0]}", f"+{argument}"]


def _is_free(cfg: DictConfig, argument: str) -> bool:
    """Whether a key holds a mapping of the user's own words."""
    node = OmegaConf.select(cfg, argument.partition("=")[0], throw_on_missing=False)
    return isinstance(node, DictConfig) and OmegaConf.get_type(node) is dict and "_target_" not in node


def checked(cfg: DictConfig, name: str) -> DictConfig:
    """The job's own configuration: nothing left open, no part replaced by a word, no output shared with a sibling, no
    part of a package that is not named as a plug-in, and no value that its setting cannot have."""
    running = HydraConfig.get()
    for setting in OverridesParser.create().parse_overrides(list(running.overrides.task)):
        group, value = setting.key_or_group.replace(".", "/"), setting.value()
        if "." in setting.key_or_group and group in running.runtime.choices and isinstance(value, str):
            raise ConfigurationError(
                f"{setting.input_line} would replace a part by a word; did you mean {group}={value}?"
            )
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        given = " ".join(f"{key}=..." for key in missing)
        nulls = " and ".join(f"{key}=null where {NULLS[key]}" for key in missing if key in NULLS)
        raise ConfigurationError(f"{', '.join(missing)} not given; add {given}" + (f" ({nulls})" if nulls else ""))
    if running.mode == RunMode.MULTIRUN and isinstance(cfg.get("out"), str) and swept(sys.argv[1:]) != {"out"}:
        cfg.out = numbered(Path(cfg.out), running.job.num)
    if (message := part_without_target(cfg, running.runtime.choices, project_folder(), conf_folder())) is not None:
        raise ConfigurationError(message)
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    check_values(name, settings)
    cfg.plugins = use_plugins(cfg.get("plugins", []))
    refuse_secrets(settings)
    try:
        check_targets(settings, "the configuration")
    except IntegrityError as error:  # a mistake, not an attack: this configuration comes from the user
        raise ConfigurationError(str(error).removesuffix("; train again")) from None
    if isinstance(settings.get("out"), str):
        check_writable(settings["out"])
    return cfg


class SweepJob(NamedTuple):
    """A job of a sweep: the command that started all of them, and the settings of this one."""

    command: list[str]
    settings: list[str]


def sweep_job() -> SweepJob | None:
    """The running job, if it is one of a sweep."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return SweepJob(sys.argv[1:], [str(each) for each in HydraConfig.get().overrides.task])


def swept(arguments: list[str]) -> set[str]:
    """The keys that this command gives several values."""
    settings = OverridesParser.create().parse_overrides([a for a in arguments if "=" in a and not a.startswith("-")])
    return {setting.key_or_group for setting in settings if setting.is_sweep_override()}


def numbered(out: Path, job: int) -> str:
    """Where job number `job` of a sweep writes what one run would write to `out`.

    >>> numbered(Path("runs/seeds"), 3), numbered(Path("scores.parquet"), 3)
    ('runs/seeds/3', 'scores/3.parquet')
    """
    if out.suffix in TABLE_SUFFIXES:
        return (out.with_suffix("") / f"{job}{out.suffix}").as_posix()
    return (out / str(job)).as_posix()
