"""No credential reaches a file, a tracker or a message, and no cell of a CSV is a formula."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import QUICK, SMALL
from propensity.cli import main
from propensity.command import configuration
from propensity.csv_cell import FORMULA, neutral
from propensity.errors import ConfigurationError
from propensity.secret import redacted, refuse_secrets, without_secrets
from propensity.training.track import log_evaluation

SECRET = "hunter2hunter2"
HOLDERS: list[dict[str, Any]] = [
    {"data": {"source": {"uri": f"postgresql://shop:{SECRET}@db/sales"}}},
    {"data": {"source": {"uri": f"Server=db;User Id=shop;Password={SECRET};"}}},
    {"data": {"source": {"password": SECRET}}},
    {"logger": {"mlflow": {"tracking_uri": f"https://user:{SECRET}@tracker.example"}}},
    {"logger": {"wandb": {"api_key": SECRET}}},
    {"a": [{"db_token": SECRET}]},
    {"a": [f"x api_key: {SECRET}"]},
]


@pytest.mark.parametrize("config", HOLDERS)
def test_a_setting_that_holds_a_secret_is_refused_without_repeating_it(config: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigurationError, match="holds a secret.* give its place as env:<name> or file:<path>"
    ) as stop:
        refuse_secrets(config)
    assert SECRET not in str(stop.value)
    assert SECRET not in json.dumps(without_secrets(config))


@pytest.mark.parametrize(
    "value", ["env:SHOP_KEY", "file:/run/key", "data/shop", "https://tracker.example:5000/x", "a@b", "tokens.yaml", ""]
)
def test_places_and_plain_addresses_are_accepted(value: str) -> None:
    config = {"uri": value, "pseudonym": value, "tokens": value, "n_tokens": 5}
    refuse_secrets(config | ({"password": value} if value.startswith(("env:", "file:")) else {}))
    assert without_secrets(config) == config and redacted(value) == value


def test_the_command_line_and_python_refuse_a_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    setting = f"mysql://shop:{SECRET}@db/x"
    monkeypatch.setattr(sys, "argv", ["propensity"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["train", *SMALL, *QUICK, f"data.log='{setting}'", "out=run"])
    printed = capsys.readouterr()
    assert stop.value.code == 2 and "data.log holds a secret" in printed.err and SECRET not in printed.err + printed.out
    assert not list(tmp_path.rglob("*.yaml"))
    with pytest.raises(ConfigurationError, match="data.log holds a secret"):
        configuration("train", {"data.log": setting, "out": "run"})


def test_a_message_does_not_repeat_a_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["propensity"])
    with pytest.raises(SystemExit):
        main(["score", f"run='x://u:{SECRET}@h/y'", "cutoff=2024-01-01", "nonsense=1"])
    assert SECRET not in capsys.readouterr().err


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=8).flatmap(lambda tail: st.sampled_from([*FORMULA, " =", "\ufeff="]).map(lambda f: f + tail)))
def test_no_cell_begins_like_a_formula_unless_it_is_a_number(text: str) -> None:
    cell = neutral(text)
    if cell != text:
        assert cell == f"'{text}"
    else:
        float(text)
        assert text[0] in "+-"


@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.none(), st.from_regex(r"\A[a-z0-9]*\Z")))
def test_other_cells_are_not_changed(value: Any) -> None:
    assert neutral(value) == value


@pytest.mark.parametrize(
    "part", [{"name": "../out"}, {"name": "/tmp/propensity-out"}, {"name": "a", "version": "../../x"}]
)
def test_the_evaluation_is_not_written_outside_the_run(part: dict[str, str], tmp_path: Path) -> None:
    target = {"_target_": "lightning.pytorch.loggers.CSVLogger"}
    metrics: dict[str, Any] = {"models": {}, "differences": {}}
    assert log_evaluation(metrics, {"csv": target | part}, tmp_path / "run") == 0
    assert not list(tmp_path.rglob("evaluation.csv")) and not Path("/tmp/propensity-out").exists()
