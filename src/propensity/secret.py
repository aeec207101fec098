"""Credentials: settings give the place of a secret, never the secret itself, and no message or file repeats one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from propensity.errors import ConfigurationError

HIDDEN = "***"
NAMES = r"pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|access_?key|private_?key|credentials?|connection_?string"
SECRET_NAME = re.compile(rf"(?:^|_)(?:{NAMES})(?:$|_(?!size|count|limit))", re.IGNORECASE)
URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^\s:/?#@'\"]*):(?P<secret>[^\s/?#'\"]*)@", re.IGNORECASE)
PAIR = re.compile(rf"(?P<name>(?<![A-Za-z])(?:{NAMES}))(?P<is>\s*[=:]\s*)(?P<secret>[^\s;&,}}\]'\"]+)", re.IGNORECASE)
PLACE = re.compile(r"^(?:file|env):\S+$")


def redacted(text: str) -> str:
    """A text with the secrets of URLs and of `password=...` replaced.

    Examples
    --------
    >>> redacted("cannot reach postgresql://shop:hunter2@db/sales?password=hunter3")
    'cannot reach postgresql://shop:***@db/sales?password=***'
    >>> redacted("password=env:SHOP_PASSWORD")
    'password=env:SHOP_PASSWORD'
    """
    text = URL.sub(lambda match: f"{match['scheme']}{match['user']}:{HIDDEN}@", text)
    return PAIR.sub(lambda m: m[0] if PLACE.match(m["secret"]) else f"{m['name']}{m['is']}{HIDDEN}", text)


def refuse_secrets(config: Any) -> None:
    """Refuse a configuration that holds a secret; the configuration is written to runs, logs and trackers.

    Parameters
    ----------
    config : dict
        Plain containers of settings.

    Raises
    ------
    ConfigurationError
        For a URL with a password, `password=...` inside a text, or a setting that is called like a secret and holds
        anything but `env:<name>` or `file:<path>`. The message names the setting, not its value.
    """
    for path, value in _texts(config, ""):
        if _is_secret(path.rpartition(".")[2], value) or redacted(value) != value:
            raise ConfigurationError(
                f"{path} holds a secret, and settings are written to runs; give its place as env:<name> or file:<path>"
            )


def _is_secret(name: str, value: Any) -> bool:
    """Whether a setting holds a secret by its name, and not the place of one."""
    return isinstance(value, str) and value != "" and bool(SECRET_NAME.search(name)) and not PLACE.match(value)


def _texts(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text in nested containers, with its place."""
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _texts(child, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for place, child in enumerate(node):
            yield from _texts(child, f"{path}[{place}]")
    elif isinstance(node, str):
        yield path, node


def without_secrets(config: Any) -> Any:
    """Nested containers with every secret replaced, for trackers and files.

    Examples
    --------
    >>> without_secrets({"db": {"password": "hunter2", "host": "db"}, "url": "mysql://a:b@c"})
    {'db': {'password': '***', 'host': 'db'}, 'url': 'mysql://a:***@c'}
    """
    if isinstance(config, Mapping):
        return {key: HIDDEN if _is_secret(str(key), value) else without_secrets(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [without_secrets(value) for value in config]
    return redacted(config) if isinstance(config, str) else config
