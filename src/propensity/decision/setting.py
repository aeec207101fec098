"""Checks the settings of a decision against the type annotations of its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from propensity.errors import ConfigurationError

WORDS = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false", NoneType: "null"}


def build_decision(settings: Mapping[str, Any]) -> Any:
    """Build a decision from its configuration, after `check_kinds`."""
    from hydra.utils import get_object, instantiate

    check_kinds(settings, get_object(settings["_target_"]), "decision.")
    return instantiate(settings, _convert_="all")


def check_kinds(settings: Mapping[str, Any], owner: Any, prefix: str) -> None:
    """Checks settings against the annotations of a class.

    Parameters
    ----------
    settings : Mapping[str, Any]
        Field to value; unknown fields are ignored.
    owner : type
        Class whose annotations say which kinds are allowed.
    prefix : str
        Of the key in the error message.

    Raises
    ------
    ConfigurationError
        If a value is of the wrong kind.
    """
    hints = get_type_hints(owner)
    for key, value in settings.items():
        if key in hints and not fits(value, hints[key]):
            raise ConfigurationError(f"{prefix}{key}={value} is of the wrong kind; give {in_words(hints[key])}")


def fits(value: object, kind: Any) -> bool:
    """Whether a value from YAML is of an annotated type.

    Examples
    --------
    >>> fits(3, float), fits("3", int), fits(["a"], Sequence[str] | None), fits({"mail": None}, Mapping[str, int])
    (True, False, True, False)
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if kind in (int, float):
        return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if origin is Sequence:
        return isinstance(value, (list, tuple)) and all(fits(each, inner[0]) for each in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(fits(each, inner[1]) for each in value.values())
    return any(fits(value, each) for each in inner) if inner else isinstance(value, kind)


def in_words(kind: Any) -> str:
    """An annotated type in words.

    Examples
    --------
    >>> in_words(Sequence[Mapping[str, Any]] | None)
    'a list of mappings or null'
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Sequence:
        item = in_words(inner[0]).removeprefix("a ")
        return f"a list of {item}s" if get_origin(inner[0]) or inner[0] is int else f"a list of {item}"
    if origin is Mapping:
        return "a mapping" if inner[1] is Any else f"a mapping to {in_words(inner[1])}"
    return " or ".join(map(in_words, inner)) if inner else WORDS.get(kind, kind.__name__)
