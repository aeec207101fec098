"""The text of `propensity <verb> --help`: the groups that the verb uses, and every setting with its meaning.

A verb's own settings are described in the schema (config.py), those of its parts by the comment behind each key in the
part's YAML.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from propensity.config import COMMANDS

COLUMN, WIDTH = 40, 120
KEY = re.compile(r"^(\s*)([\w./]+):(?:\s.*?)??(?:\s#\s(.*))?$")
KINDS = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "None": "null"}
NOTE = """\
--cfg job   print the composed configuration instead of running
-m          run every combination of key=a,b; each job writes to its own numbered place under `out`
key={...}   replaces a mapping, key={} empties it and +key={...} adds to it"""


def usage(folder: Path, name: str, overrides: Sequence[str]) -> str:
    """What `name --help` prints, for the options that the overrides choose."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        cfg = compose(name, list(overrides), return_hydra_config=True)
        meanings = dict(described(loader, name, overrides)) | dict(of_schema(COMMANDS.get(name)))
        groups = list(_groups(loader, cfg))
    shown = cfg.hydra.help
    composed: Any = OmegaConf.to_container(cfg, resolve=False)
    plain: dict[str, Any] = {key: value for key, value in composed.items() if key != "hydra"}
    parts_of = [*meanings, *(f"{group.replace('/', '.')}." for group in cfg.hydra.runtime.choices)]
    own_first = sorted(leaves(plain, parts_of), key=lambda each: "." in each[0])
    settings = [_setting(key, value, meanings.get(key, "")) for key, value in own_first]
    parts = [shown.header.strip(), "", "Examples", textwrap.indent(shown.footer.strip(), "  ")]
    if groups:
        parts += ["", "Groups (group=option; now in use: *)", *groups]
    return "\n".join([*parts, "", "Settings (key=value)", *settings, "", NOTE])


def of_schema(schema: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Descriptions of a schema's own fields, with their types."""
    for each in fields(schema) if schema is not None else ():
        inner = each.default_factory if each.default_factory is not MISSING else None
        if is_dataclass(inner):
            yield from of_schema(inner, f"{prefix}{each.name}.")
        elif (kind := kind_of(str(each.type))) is not None:
            yield prefix + each.name, f"{each.metadata.get('help', '')} ({kind})"
        else:
            yield prefix + each.name, str(each.metadata.get("help", ""))


def kind_of(annotation: str) -> str | None:
    """A type in words, None for one that says nothing.

    >>> kind_of("list[str] | None"), kind_of("float"), kind_of("Any")
    ('list of text or null', 'number', None)
    """
    if annotation in ("Any", "Part"):
        return None
    words = re.sub(r"list\[(\w+)\]", lambda match: f"list of {KINDS.get(match[1], match[1])}", annotation)
    return " or ".join(KINDS.get(word, word) for word in words.split(" | "))


def described(loader: ConfigLoader, name: str, overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Key and comment of every line of the YAML files that make up a configuration."""
    search = [Path(each.path.removeprefix("file://")) for each in loader.get_search_path().get_path() if each.path]
    for default in loader.compute_defaults_list(name, list(overrides), RunMode.RUN).defaults:
        files = (folder / f"{default.config_path}.yaml" for folder in search)
        if (file := next((file for file in files if file.is_file()), None)) is not None:
            package = f"{default.package}." if default.package else ""
            yield from ((package + key, comment) for key, comment in comments(file.read_text()))


def comments(text: str) -> Iterator[tuple[str, str]]:
    """Dotted key and trailing comment of each line that has one.

    >>> list(comments("a: 1 # first\\nb:\\n  c: x # second\\n"))
    [('a', 'first'), ('b.c', 'second')]
    """
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        if (found := KEY.match(line)) is None:
            continue
        indent = len(found[1])
        stack = [each for each in stack if each[0] < indent] + [(indent, found[2])]
        if found[3]:
            yield ".".join(key for _, key in stack), found[3]


def leaves(node: Mapping[str, Any], known: Collection[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings with their values; a mapping that neither builds a part nor holds a known key is one setting."""
    for name, value in node.items():
        key = f"{prefix}{name}"
        if name.startswith("_"):
            continue
        inside = any(other.startswith(f"{key}.") for other in known)
        if isinstance(value, dict) and value and (inside or "_target_" in value):
            yield from leaves(value, known, f"{key}.")
        else:
            yield key, value


def _setting(key: str, value: Any, meaning: str) -> str:
    shown = f"  {key}={'...' if value == '???' else written(value)}"
    wrapped = textwrap.wrap(meaning, WIDTH - COLUMN) or [""]
    first = f"{shown:<{COLUMN}}{wrapped[0]}" if len(shown) < COLUMN - 1 else f"{shown}\n{' ' * COLUMN}{wrapped[0]}"
    return "\n".join([first, *(" " * COLUMN + line for line in wrapped[1:])]).rstrip()


def written(value: Any) -> str:
    """A value as YAML writes it in one line.

    >>> written(None), written([1, "a"]), written({"a": True})
    ('null', '[1, a]', '{a: true}')
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    return value if isinstance(value, str) and value else json.dumps(value)


def _several(option: Any) -> Collection[str]:
    """The options of a group that holds more than one."""
    return () if option is None or isinstance(option, str) else list(option)


def _groups(loader: ConfigLoader, cfg: DictConfig) -> Iterator[str]:
    for group, option in sorted(cfg.hydra.runtime.choices.items()):
        if group.startswith("hydra/") or "@" in group:
            continue
        options = [
            f"*{each}" if each == option or each in _several(option) else each
            for each in sorted(loader.get_group_options(group))
        ]
        yield textwrap.fill(
            ", ".join(options), WIDTH, initial_indent=f"  {group:<{COLUMN - 2}}", subsequent_indent=" " * COLUMN
        )
