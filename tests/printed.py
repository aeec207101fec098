"""Every command that the documentation, help pages, YAML and messages print."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from propensity.cli import setting, split, verbs

REPOSITORY = Path(__file__).parents[1]
INLINE = re.compile(r"`(propensity [a-z][^`]*)`")


class Printed(NamedTuple):
    """A command, and the place that prints it."""

    place: str
    words: tuple[str, ...]

    @property
    def stem(self) -> str:
        return split(self.words, verbs())[0]

    @property
    def settings(self) -> list[str]:
        stem, words = split(self.words, verbs())
        return [setting(stem, word) for word in words]

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.words)}"


def printed() -> list[Printed]:
    """All of them, each once for a place."""
    found = [*_of_pages(), *_of_yaml(), *_of_code()]
    return sorted(dict.fromkeys(found))


def _of_pages() -> Iterator[Printed]:
    pages = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")]
    for page in pages:
        text = page.read_text().replace("\\\n", " ")
        for fence in re.findall(r"```\w*\n(.*?)```", text, flags=re.S):
            yield from _commands(page.name, fence.splitlines())
        outside = re.sub(r"```.*?```", "", text, flags=re.S)
        yield from _commands(page.name, INLINE.findall(outside.replace("\n", " ")))


def _of_yaml() -> Iterator[Printed]:
    for path in sorted((REPOSITORY / "conf").rglob("*.yaml")):
        text, place = path.read_text(), path.relative_to(REPOSITORY).as_posix()
        lines = [line.removeprefix("# ").split("   ")[0] for line in text.splitlines() if line.startswith("# prop")]
        shown = (yaml.safe_load(text) or {}).get("hydra", {}).get("help", {}).get("footer", "")
        yield from _commands(place, [*lines, *shown.splitlines()])


def _of_code() -> Iterator[Printed]:
    """Commands inside string literals; what a message fills in stands as `x`."""
    for path in sorted((REPOSITORY / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
                text = "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            for found in re.findall(r"propensity [a-z-]+(?: (?:[\w/.]+=[^\s`;,)'\"]+|'[^']*'))+", text):
                yield from _commands(path.relative_to(REPOSITORY).as_posix(), [found])


def _commands(place: str, lines: list[str]) -> Iterator[Printed]:
    for line in lines:
        if line.startswith("propensity ") and not line.startswith("propensity <"):
            words = shlex.split(line, comments=True)[1:]
            if not words[0].startswith("-"):
                yield Printed(place, tuple(words))
