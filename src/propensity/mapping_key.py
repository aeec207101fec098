"""Keys of mappings on the command line that Hydra's grammar cannot read: in quotes, or with letters beyond ASCII.

They travel through Hydra as hexadecimal digits and are decoded in the composed configuration.
"""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, ListConfig, open_dict

PREFIX = "_key_"
ENCODED = re.compile(rf"{PREFIX}((?:[0-9a-f]{{2}})+)")
PLAIN = re.compile(r"[A-Za-z_][\w ./-]*(?<! )", re.ASCII)
TOKEN = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^{}\[\],:'"]+""")


def encoded_key(key: str) -> str:
    """A key that Hydra reads.

    Parameters
    ----------
    key : str
        Any text.

    Returns
    -------
    str
        The same key if Hydra reads it, otherwise its encoding.

    Examples
    --------
    >>> encoded_key("Created at"), encoded_key("nap")
    ('Created at', 'nap')
    >>> encoded_key("ő")
    '_key_c591'
    """
    plain = PLAIN.fullmatch(key) and key.lower() not in ("null", "true", "false")
    return key if plain else PREFIX + key.encode().hex()


def with_encoded_keys(argument: str) -> str:
    """An argument whose mappings have keys that Hydra reads.

    Parameters
    ----------
    argument : str
        Argument of the command line.

    Returns
    -------
    str
        The argument; without a mapping, or with quotes that are not closed, it is unchanged.

    Examples
    --------
    >>> with_encoded_keys("rename={ő: day, 'a, b': \\"x: y\\", c: [1]}")
    'rename={_key_c591: day, _key_612c2062: "x: y", c: [1]}'
    """
    name, _, value = argument.partition("=")
    tokens = TOKEN.findall(value)
    if "{" not in value or argument.startswith("-") or "".join(tokens) != value:
        return argument
    parts: list[str] = []
    open_brackets: list[str] = []
    start: int | None = None  # of a key among the parts
    for token in tokens:
        if token == ":" and start is not None:
            parts[start:], start = [_encoded("".join(parts[start:]))], None
        parts.append(token)
        if token in "{[":
            open_brackets.append(token)
        elif token in "}]" and open_brackets:
            open_brackets.pop()
        if token in "{[,}]":
            start = len(parts) if open_brackets and open_brackets[-1] == "{" and token in "{," else None
    return f"{name}={''.join(parts)}"


def _encoded(written: str) -> str:
    """A key as written, with its spaces around it."""
    key = written.strip()
    before = written[: len(written) - len(written.lstrip())]
    if key[:1] in ("'", '"') and key[-1:] == key[:1] and len(key) > 1:
        return before + encoded_key(re.sub(r"\\(.)", r"\1", key[1:-1]))
    return written if key.isascii() else before + encoded_key(key)


def decode_keys(cfg: DictConfig | ListConfig) -> None:
    """Decode the keys of a configuration in place, in their order.

    Parameters
    ----------
    cfg : DictConfig or ListConfig
        Composed configuration.
    """
    if cfg._is_none() or cfg._is_missing() or cfg._is_interpolation():
        return
    if isinstance(cfg, ListConfig):
        nodes: dict[Any, Any] = {k: cfg._get_node(k) for k in range(len(cfg))}
    else:
        nodes = {name: cfg._get_node(name) for name in cfg}
    for node in nodes.values():
        if isinstance(node, DictConfig | ListConfig):
            decode_keys(node)
    if isinstance(cfg, DictConfig) and any(isinstance(name, str) and ENCODED.fullmatch(name) for name in nodes):
        with open_dict(cfg):
            for name in nodes:
                del cfg[name]
            for name, node in nodes.items():
                cfg[readable(name) if isinstance(name, str) else name] = node


def readable(text: str) -> str:
    """A text with its encoded keys decoded.

    Parameters
    ----------
    text : str
        Message or key.

    Returns
    -------
    str
        As the user wrote it.

    Examples
    --------
    >>> readable("_key_c591 is not a column")
    'ő is not a column'
    """
    return ENCODED.sub(lambda each: bytes.fromhex(each[1]).decode(errors="replace"), text)
