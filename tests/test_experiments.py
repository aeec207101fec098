"""The scripts of experiments/ and benchmarks/, which no other test runs whole."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path for folder in ("experiments", "benchmarks") for path in (ROOT / folder).glob("*.py"))


def exists(module: str, name: str) -> bool:
    """Whether a module has a name, or is a package with such a module."""
    if hasattr(importlib.import_module(module), name):
        return True
    return importlib.util.find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_name_that_a_script_imports_from_the_package_exists(path: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [(node.module, each.name) for node in imports if node.module for each in node.names]
    ours = [(module, name) for module, name in ours if module.split(".")[0] == "propensity"]
    assert [f"{module}.{name}" for module, name in ours if not exists(module, name)] == []
