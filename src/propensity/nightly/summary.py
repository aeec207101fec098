"""The summary of a night: what was delivered, trained, promoted, scored and decided, and what went wrong. No times."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from propensity.atomic import whole_file
from propensity.nightly.delivery import APPENDED, DUPLICATE
from propensity.nightly.night import Night, Results
from propensity.nightly.shop import Deliveries
from propensity.nightly.steps import Failure
from propensity.report.night import night_page

SUMMARY, PAGE = "summary.json", "summary.html"


def summary(night: Night, results: Results, failures: Sequence[Failure]) -> dict[str, Any]:
    """The content of summary.json.

    Parameters
    ----------
    night : Night
        The night.
    results : mapping
        Results of the steps.
    failures : sequence of Failure
        Steps that could not be done.
    """
    found = problems(results, failures, night.shop.deliveries)
    registry = night.registry
    return {
        "night": night.date,
        "state": "done" if not found else "done with problems",
        "live": registry.live,
        "live_model": None if registry.live is None else registry.models[registry.live],
        "problems": found,
        "notes": notes(results),
        "deliveries": deliveries(results),
        "log": results.get("verify"),
        "drift": results.get("drift"),
        "train": results.get("train"),
        "compare": results.get("compare"),
        "promote": results.get("promote"),
        "score": results.get("score"),
        "decisions": results.get("decide", {}).get("decisions", []),
    }


def problems(results: Results, failures: Sequence[Failure], settings: Deliveries) -> list[dict[str, Any]]:
    """What somebody has to look at, in the order of the steps; with the exit code of each."""
    found = [
        {"step": "fetch", "reason": undated(each["file"], settings), "exit_code": 3}
        for each in results["fetch"]["undated"]
    ]
    found += [{"step": "check", "reason": each["reason"], "exit_code": 3}
             for each in results["append"]["deliveries"] if each["state"] == "held"]  # fmt: skip
    found += [{"step": "append", "reason": each["reason"], "exit_code": 3} for each in results["append"]["refused"]]
    found += [each._asdict() for each in failures]
    for each in results.get("decide", {}).get("decisions", []):
        if "problem" in each:
            name = each["name"] if each.get("offer") is None else f"{each['name']} of {each['offer']}"
            found.append({"step": "decide", "reason": f"{name}: {each['problem']}", "exit_code": each["exit_code"]})
    return found


def undated(file: str, settings: Deliveries) -> str:
    """Why a file whose name has no date is not read."""
    return (
        f"{file} has no date as deliveries.files={settings.files} and deliveries.date_format={settings.date_format} "
        "say, and was not read; rename it, or move it away"
    )


def notes(results: Results) -> list[str]:
    """What is worth knowing and needs nobody."""
    fetched = results["fetch"]
    sentences = [
        f"{each['file']} repeats {each['of']} byte for byte and was passed over" for each in fetched["duplicates"]
    ]
    sentences += [f"{each['file']} is of {each['day']} and waits for that night" for each in fetched["waiting"]]
    sentences += [f"{each['file']} has no rows, which deliveries.empty allows"
                  for each in results["append"]["deliveries"] if each["state"] == "empty"]  # fmt: skip
    if not fetched["new"]:
        sentences.append("nothing new was delivered")
    return sentences + list(results.get("score", {}).get("warnings", []))


def deliveries(results: Results) -> list[dict[str, Any]]:
    """Every file of the night with what became of it and its rows."""
    refused = {each["file"]: each["reason"] for each in results["append"]["refused"]}
    rows_in_log = {each["file"]: each["rows"] for each in results["append"]["appended"]}
    rows = []
    for each in results["append"]["deliveries"]:
        state = "held" if each["file"] in refused else APPENDED if each["state"] == "ok" else each["state"]
        reason = refused.get(each["file"], each.get("reason"))
        facts = {key: each[key] for key in ("file", "sha256", "first_day", "last_day", "rows")}
        facts["rows"] = rows_in_log.get(each["file"], facts["rows"])
        rows.append({**facts, "state": state, "reason": reason})
    for key, state in {"duplicates": DUPLICATE, "waiting": "waiting", "undated": "not read"}.items():
        rows += [
            {"file": each["file"], "sha256": each["sha256"], "first_day": None, "last_day": None, "rows": {},
             "state": state, "reason": None}
            for each in results["fetch"][key]
        ]  # fmt: skip
    return rows


def write_summary(content: Mapping[str, Any], folder: Path) -> None:
    """Write summary.json and summary.html."""
    with whole_file(folder / SUMMARY) as draft:
        draft.write_text(json.dumps(content, indent=1, default=str))
    with whole_file(folder / PAGE) as draft:
        draft.write_text(night_page(content), encoding="utf-8")
