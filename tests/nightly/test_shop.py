"""The settings of a nightly run are checked before anything is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from propensity.errors import ConfigurationError
from propensity.nightly.delivery import Delivered, Ledger, LedgerEntry, chosen, delivered
from propensity.nightly.meter import usual_seconds
from propensity.nightly.plan import STEPS, Trained, is_promoted, reason_to_train
from propensity.nightly.shop import Deliveries, Promote, Retrain, read_shop
from propensity.nightly.steps import WORK

SMALL: dict[str, Any] = {"deliveries": {"files": "in/{date}.csv"}}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"delivery": {}}, "delivery does not exist; did you mean deliveries?"),
    ({}, "deliveries.files is not given"),
    (SMALL | {"retrain": {"age": "old"}}, "retrain.age='old' does not fit; give a whole number"),
    (SMALL | {"retrain": {"agee": 3}}, "retrain.agee does not exist; did you mean retrain.age?"),
    (SMALL | {"promote": {"when": "always"}}, "promote.when='always' does not fit"),
    (SMALL | {"train": {"data.log": "log"}}, "train.data.log is filled in by the nightly run; leave it out"),
    (SMALL | {"decisions": {"a": {"decision": "audience", "out": "x"}}}, "decisions.a.out is filled in"),
    (SMALL | {"decisions": {"a/b": {"decision": "audience"}}}, "decisions.a/b names a file"),
    (SMALL | {"decisions": {"a": {}}}, "decisions.a.decision is not given"),
    (SMALL | {"decisions": {"a": {"decision": "audience", "list": "xlsx"}}}, "give csv, parquet or null"),
    (SMALL | {"data": 3}, "data=3 does not fit"),
    (SMALL | {"state": ""}, "state='' does not fit"),
]


@pytest.mark.parametrize(("content", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_mistake_in_the_file_is_a_sentence(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match=message.replace("?", r"\?")):
        read_shop(file)


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "\xff\xfe"])
def test_a_file_that_holds_no_settings_is_a_sentence(text: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"shop.yaml"):
        read_shop(file)
    with pytest.raises(ConfigurationError, match="no settings of a nightly run at"):
        read_shop(tmp_path / "other.yaml")


def test_paths_begin_at_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump(SMALL | {"state": "here"}))
    assert read_shop(file).state == tmp_path / "here"


def test_every_step_has_its_work_and_needs_earlier_steps_only() -> None:
    names = [step.name for step in STEPS]
    assert names[:-1] == list(WORK)
    for place, step in enumerate(STEPS):
        assert set(step.needs) <= set(names[:place])


OLD, NEW = Trained("2024-03-01", "2024-02-16"), Trained("2024-03-20", "2024-03-06")
REASONS: list[tuple[Retrain, str, Trained | None, Trained | None, list[str], str, bool]] = [
    (Retrain(), "2024-03-02", None, None, [], "2024-02-17", True),  # nothing is live
    (Retrain(28), "2024-03-29", OLD, OLD, [], "2024-03-15", True),  # due on the day itself
    (Retrain(28), "2024-03-28", OLD, OLD, [], "2024-03-14", False),
    (Retrain(28), "2024-03-29", OLD, NEW, [], "2024-03-15", False),  # a challenger that lost counts
    (Retrain(28), "2024-03-10", OLD, OLD, ["scores"], "2024-02-25", True),  # drift, and a window after the labels
    (Retrain(28), "2024-03-21", OLD, NEW, ["scores"], "2024-03-05", False),  # drift, but no new window
    (Retrain(28, drift=False), "2024-03-10", OLD, OLD, ["scores"], "2024-02-25", False),
    (Retrain(None, drift=False), "2025-03-10", OLD, OLD, [], "2025-02-25", False),
    (Retrain(28), "2024-03-29", OLD, OLD, [], "2024-02-15", False),  # the live model has seen the window
]


@pytest.mark.parametrize(("settings", "on", "live", "newest", "alarms", "window", "due"), REASONS)
def test_a_model_is_trained_by_age_or_drift_once_it_can_be_judged(
    settings: Retrain,
    on: str,
    live: Trained | None,
    newest: Trained | None,
    alarms: list[str],
    window: str,
    due: bool,
) -> None:
    assert reason_to_train(settings, on, live, newest, alarms, window)[0] == due


@pytest.mark.parametrize(
    ("when", "live", "verdict", "promoted"),
    [
        ("not_worse", None, None, True),
        ("never", None, None, True),
        ("not_worse", "a", "win", True),
        ("not_worse", "a", "tie", True),
        ("not_worse", "a", "loss", False),
        ("not_worse", "a", "undefined", False),
        ("win", "a", "tie", False),
        ("win", "a", "win", True),
        ("never", "a", "win", False),
    ],
)
def test_a_challenger_is_promoted_by_its_verdict(
    when: str, live: str | None, verdict: str | None, promoted: bool
) -> None:
    assert is_promoted(Promote(when), live, verdict)[0] == promoted


def test_deliveries_are_taken_by_date_and_content(tmp_path: Path) -> None:
    for name, text in {"05.01.2024": "b", "02.01.2024": "a", "03.01.2024": "a", "x": "c", "31.12.2030": "d"}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    files = delivered(Deliveries("{date}.csv", "%d.%m.%Y"), tmp_path)
    assert [each.file for each in files] == [f"{name}.csv" for name in
                                            ("x", "02.01.2024", "03.01.2024", "05.01.2024", "31.12.2030")]  # fmt: skip
    ledger = Ledger(tmp_path / "deliveries.json")
    taken = chosen(files, ledger, "2024-01-05", True)
    names = {state: [each["file"] for each in found] for state, found in taken.items()}
    assert names == {"new": ["02.01.2024.csv", "05.01.2024.csv"], "duplicates": ["03.01.2024.csv"],
                     "waiting": ["31.12.2030.csv"], "undated": ["x.csv"]}  # fmt: skip
    first = files[1]
    ledger.add(LedgerEntry(first.file, first.sha256, first.day, "2024-01-05", "appended"))
    assert chosen(files, Ledger(ledger.file), "2024-01-05", True) == taken
    later = chosen(files, Ledger(ledger.file), "2024-01-06", True)
    assert [each["file"] for each in later["new"]] == ["05.01.2024.csv"]
    corrected = Delivered(first.file, "other", first.day)
    assert [each["file"] for each in chosen([corrected], ledger, "2024-01-06", True)["new"]] == [first.file]


def test_a_pattern_without_its_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        delivered(Deliveries("nowhere/{date}.csv"), tmp_path)


def test_the_estimate_passes_over_lines_that_were_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "times.jsonl"
    file.write_text('{"step": "score", "outcome": "done", "wall_seconds": 4}\n{"step": "score", "outc')
    assert usual_seconds(file) == {"score": 4.0}
