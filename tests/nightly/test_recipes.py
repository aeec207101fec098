"""The recipes of docs/nightly.md are read by the programs that they are for, or by their grammar."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

from propensity.cli import setting, split, verbs
from propensity.nightly.shop import shop_of

PAGE = (Path(__file__).parents[2] / "docs/nightly.md").read_text()
FIELD = r"(?:\*|\d{1,2})(?:[-/,]\d{1,2})*"


def fences(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)


def command_in(text: str) -> list[str]:
    """The words after the program, without redirections."""
    found = re.search(r"bin/propensity ([^\n\"]*?)(?: >>.*)?(?:\"|\n|$)", text)
    assert found is not None
    return re.sub(r"\{\{.*?\}\}", "2024-03-05", found[1]).split()


@pytest.mark.parametrize("text", [*fences("cron"), fences("ini")[0], *fences("python")])
def test_a_schedule_starts_the_nightly_run(text: str) -> None:
    stem, words = split(command_in(text), verbs())
    assert stem == "nightly" and setting(stem, words[0]) == "shop=shop.yaml"


def test_the_line_of_cron_has_five_fields_and_no_percent_sign() -> None:
    (line,) = fences("cron")
    assert re.match(rf"(?:{FIELD} ){{5}}cd /", line) and line.count("\n") == 1
    assert "%" not in line  # cron reads it as the end of the command


def test_the_units_of_systemd_are_read(tmp_path: Path) -> None:
    service, timer = fences("ini")
    for name, text in {"service": service, "timer": timer}.items():
        parser = ConfigParser(strict=True, interpolation=None)
        parser.optionxform = str  # type: ignore[method-assign,assignment]
        parser.read_string(text)
        assert name.title() in parser
        (tmp_path / f"propensity-nightly.{name}").write_text(text.replace("/srv/shop/venv/bin/propensity", "/bin/true"))
    assert "OnCalendar=*-*-* 02:30:00" in timer and "Persistent=true" in timer
    if shutil.which("systemd-analyze"):
        command = ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))]
        subprocess.run(command, check=True, capture_output=True)


def test_the_dag_of_airflow_is_python_with_one_run_at_a_time() -> None:
    (text,) = fences("python")
    compile(text, "dag.py", "exec")
    names = {node.arg for node in ast.walk(ast.parse(text)) if isinstance(node, ast.keyword)}
    assert {"schedule", "max_active_runs", "catchup", "bash_command", "retries"} <= names


def test_the_example_of_the_page_names_every_field() -> None:
    (text,) = fences("yaml")
    shop = shop_of(yaml.safe_load(text), Path("/srv/shop"), "shop.yaml")
    assert shop.deliveries.files == "deliveries/sales-{date}.csv"
    assert set(yaml.safe_load(text)) == set(shop.__dataclass_fields__)
