"""File names of several results in one folder."""

from __future__ import annotations

import re
from collections.abc import Iterable


def stem_of(name: str) -> str:
    """The letters, digits and underscores of a name, with an underscore for everything between them.

    Examples
    --------
    >>> stem_of("tea & coffee!")
    'tea_coffee'
    """
    return re.sub(r"[^\w]+", "_", name).strip("_")


def unique_stems(stems: Iterable[str]) -> list[str]:
    """The same stems, with a number after those that occurred before.

    Examples
    --------
    >>> unique_stems(["tea", "tea", "coffee", "tea"])
    ['tea', 'tea-2', 'coffee', 'tea-3']
    """
    unique: list[str] = []
    for stem in stems:
        same = sum(re.fullmatch(rf"{re.escape(stem)}(-\d+)?", each) is not None for each in unique)
        unique.append(f"{stem}-{same + 1}" if same else stem)
    return unique
