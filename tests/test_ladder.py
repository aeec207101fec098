"""Each rung of the package imports only lower rungs, and what is marked so starts without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

LADDER = (
    {"kernel", "errors", "scratch", "csv_cell", "limit"},
    {"checksum", "disk", "secret", "config", "progress"},
    {"atomic"},
    {"audit"},
    {"engine", "data", "mistake", "usage", "limits", "trust", "conf_file", "mapping_key"},
    {"command"},
    {"feature", "simulate"},
    {"ingest"},
    {"task", "model", "scores", "metric"},
    {"loss", "decision", "baseline", "ab", "value"},
    {"champion", "key_figures"},
    {"training"},
    {"explain", "catalogue", "pretrain"},
    {"evaluation"},
    {"serving", "report", "project", "cli"},
    {"api", "nightly"},
)
RUNG = {name: height for height, names in enumerate(LADDER) for name in names}
BESIDE = {  # siblings that may see each other
    ("metric", "scores"),
}
WITHOUT_TORCH = (
    *("kernel", "errors", "checksum", "disk", "scratch", "atomic", "audit", "secret", "csv_cell", "progress"),
    *("trust", "limit", "limits", "mistake", "config", "conf_file", "mapping_key", "usage", "command", "cli"),
    *("engine", "data", "feature", "simulate", "ingest", "task"),
    *("metric", "scores", "decision", "key_figures", "report", "ab", "value"),
)
HEAVY = ("torch", "lightning", "torchmetrics")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted((SOURCE / "propensity").rglob("*.py"))}


def part(module: str) -> str | None:
    """propensity.model.encoder.gru -> model"""
    return module.split(".")[1] if "." in module else None


def imports(module: str, path: Path) -> Iterator[str]:
    """Every module of ours that `module` names, wherever in the file, also for types alone."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            found = [base] + [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.startswith("propensity."))


def test_every_part_of_the_package_stands_on_a_rung() -> None:
    assert {part(module) for module in MODULES} - {None} <= set(RUNG)


@pytest.mark.parametrize("module", [module for module in MODULES if part(module)])
def test_a_module_sees_only_lower_rungs(module: str) -> None:
    here = part(module)
    assert here is not None
    seen = {part(name) for name in imports(module, MODULES[module])} - {None, here, "__version__"}
    too_high = {name for name in seen if RUNG.get(str(name), 99) >= RUNG[here] and (here, name) not in BESIDE}
    assert not too_high, f"{module} (rung {RUNG[here]}) imports {sorted(map(str, too_high))}"


def test_what_is_marked_so_never_loads_torch() -> None:
    light = [module for module in MODULES if part(module) in WITHOUT_TORCH]
    lines = [f"import {module}; heavy.isdisjoint(sys.modules) or sys.exit('{module}')" for module in light]
    program = "\n".join(["import sys", f"sys.path.insert(0, {str(SOURCE)!r})", f"heavy = set({HEAVY!r})", *lines])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"torch is loaded by {done.stderr}"
