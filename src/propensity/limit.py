"""What a setting may be: a type, a range, and the words that name both to a user."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import available_timezones

COUNT = 10**12
LONGEST_PATH = 4_096  # characters
ZONES = "a time zone such as Europe/Lisbon"


class Limit(NamedTuple):
    """What a setting may be."""

    words: str  # after "give"
    is_kind: Callable[[Any], bool]  # whether a value has the type
    is_valid: Callable[[Any], bool] = lambda value: True  # whether a value of the type is in the range

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, None if nothing is."""
        if not self.is_kind(value):
            return "of the wrong kind"
        return None if self.is_valid(value) else "out of range"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(least: int = 0, most: int = COUNT) -> Limit:
    """A whole number in [least, most].

    Examples
    --------
    >>> whole(1).problem(0), whole(1).problem(14.5), whole(1).problem(True), whole(1).problem(3)
    ('out of range', 'of the wrong kind', 'of the wrong kind', None)
    """
    upper = f"{most:,}" if most < COUNT else "10^12"
    return Limit(f"a whole number from {least:,} to {upper}", _is_whole, lambda value: least <= value <= most)


def number(least: float = 0.0, most: float = 1e12, above: bool = False) -> Limit:
    """A finite number in [least, most], or above `least`.

    Examples
    --------
    >>> number(0, 1, above=True).words
    'a number above 0 and at most 1'
    >>> number().problem(float("nan")), number().problem("1")
    ('out of range', 'of the wrong kind')
    """
    words = f"a number above {least:g} and at most {most:g}" if above else f"a number from {least:g} to {most:g}"
    return Limit(words, is_number, lambda value: (least < value if above else least <= value) and value <= most)


def flag() -> Limit:
    """True or false."""
    return Limit("true or false", lambda value: isinstance(value, bool))


def text() -> Limit:
    """Text without line breaks and null characters."""
    return Limit(
        "text in quotes", lambda value: isinstance(value, str), lambda value: not {*value} & {"\0", "\n", "\r"}
    )


def name() -> Limit:
    """A name or an id, which may be a number."""
    return Limit(
        "a name", lambda value: isinstance(value, str) or _is_whole(value), lambda value: "\0" not in str(value)
    )


def path() -> Limit:
    """A path, which need not exist."""
    return Limit(
        "a path",
        lambda value: isinstance(value, str),
        lambda value: bool(value.strip()) and len(value) <= LONGEST_PATH and "\0" not in value,
    )


def choice(*values: str) -> Limit:
    """One of some words."""
    return Limit(" or ".join(values), lambda value: isinstance(value, str), lambda value: value in values)


def one_of(*values: int) -> Limit:
    """One of some whole numbers, also written as text."""
    words, texts = " or ".join(map(str, values)), [*map(str, values)]
    return Limit(words, lambda value: _is_whole(value) or value in texts, lambda value: str(value) in texts)


def day() -> Limit:
    """An ISO date."""
    return Limit("a date such as 2024-01-31", lambda value: isinstance(value, str | date), _is_date)


def _is_date(value: Any) -> bool:
    try:
        date.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def zone() -> Limit:
    """A time zone."""
    return Limit(ZONES, lambda value: isinstance(value, str), lambda value: value in zones())


@cache
def zones() -> frozenset[str]:
    """Names of all time zones."""
    return frozenset(available_timezones())


def pattern() -> Limit:
    """A regular expression."""
    return Limit("a regular expression", lambda value: isinstance(value, str), _is_pattern)


def _is_pattern(value: str) -> bool:
    try:
        re.compile(value)
    except re.error:
        return False
    return True


def anything() -> Limit:
    """Any value; what it holds is checked where it is used."""
    return Limit("any value", lambda value: True)


def many(of: Limit, least: int = 0, most: int = 100_000) -> Limit:
    """A list.

    Examples
    --------
    >>> many(whole(1), least=1).problem([]), many(whole(1)).problem([0]), many(whole(1)).problem(["a"])
    ('out of range', 'out of range', 'of the wrong kind')
    """
    return Limit(
        f"a list{f' of {least} or more' if least else ''}, each {of.words}",
        lambda value: isinstance(value, Sequence) and not isinstance(value, str) and all(map(of.is_kind, value)),
        lambda value: least <= len(value) <= most and all(map(of.is_valid, value)),
    )


def mapping(of: Limit) -> Limit:
    """A mapping to values of one kind."""
    return Limit(
        f"a mapping, each value {of.words}",
        lambda value: isinstance(value, Mapping) and all(map(of.is_kind, value.values())),
        lambda value: all(map(of.is_valid, value.values())),
    )


def either(*limits: Limit) -> Limit:
    """A value that meets one of some limits."""
    return Limit(
        " or ".join(each.words for each in limits),
        lambda value: any(each.is_kind(value) for each in limits),
        lambda value: any(each.problem(value) is None for each in limits),
    )


def null() -> Limit:
    """No value."""
    return Limit("null", lambda value: value is None)


def maybe(limit: Limit) -> Limit:
    """A value or null."""
    return either(limit, null())
