"""Runs the steps of a night: those that are done are passed over, and each other is measured and entered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from propensity.errors import IntegrityError, PropensityError
from propensity.nightly import log_steps, model_steps, send_steps
from propensity.nightly.journal import Journal, files_in, fingerprint
from propensity.nightly.meter import Meter
from propensity.nightly.model_steps import DRIFT_FILE, DRIFT_PAGE, model_name
from propensity.nightly.night import Night, Results
from propensity.nightly.plan import STEPS, StepPlan
from propensity.serving.verify import MANIFEST
from propensity.training.checkpoint import FILE as CHECKPOINT

Inputs = Callable[[Night, Results], Mapping[str, Any]]


class Step(NamedTuple):
    """How a step is done.

    Attributes
    ----------
    work : callable
        Does it, and returns its result as plain values.
    inputs : callable or None
        What the result follows from, as plain values; None: the step is done every time.
    outputs : callable
        Files and folders that it writes, which are checked before it is passed over.
    is_valid : callable
        Whether an earlier result still holds.
    """

    work: Callable[[Night, Results], dict[str, Any]]
    inputs: Inputs | None
    outputs: Callable[[Night], list[Path]] = lambda night: []
    is_valid: Callable[[Night, Mapping[str, Any]], bool] = lambda night, result: True


class Failure(NamedTuple):
    """A step that could not be done, while the night went on."""

    step: str
    reason: str
    exit_code: int


def _check(night: Night, results: Results) -> Mapping[str, Any]:
    shop = night.shop
    return {
        "new": results["fetch"]["new"], "data": shop.data, "files": files_in(shop.data), "date": night.date,
        "deliveries": asdict(shop.deliveries),
    }  # fmt: skip


def _append(night: Night, results: Results) -> Mapping[str, Any]:
    return {"check": results["check"], "duplicates": results["fetch"]["duplicates"], "data": night.shop.data}


def _verify(night: Night, results: Results) -> Mapping[str, Any]:
    return {"log": night.fingerprint()}


def _live(night: Night) -> Any:
    return None if night.live is None else [night.live, night.registry.models[night.live]]


def _drift(night: Night, results: Results) -> Mapping[str, Any]:
    return {"log": night.fingerprint(), "live": _live(night), "drift": night.shop.drift, "date": night.date}


def _train(night: Night, results: Results) -> Mapping[str, Any]:
    alarms = results.get("drift", {}).get("alarms", [])
    name = model_name(night, str(night.fingerprint()))
    newest = model_steps.newest(night)
    files = files_in(night.shop.train)
    return {"name": name, "alarms": alarms, "live": _live(night), "newest": newest, "files": files}


def _export(night: Night, results: Results) -> Mapping[str, Any]:
    return {"train": results["train"], "export": night.shop.export, "bundle": night.shop.bundle}


def _compare(night: Night, results: Results) -> Mapping[str, Any]:
    settings = asdict(night.shop.promote)
    return {"train": results["train"], "live": _live(night), "promote": settings, "log": night.fingerprint()}


def _promote(night: Night, results: Results) -> Mapping[str, Any]:
    when = night.shop.promote.when
    return {"train": results["train"], "compare": results["compare"], "when": when}


def _score(night: Night, results: Results) -> Mapping[str, Any]:
    live = night.registry.live
    model = None if live is None else night.registry.models.get(live)
    log, settings = results["verify"]["fingerprint"], night.shop.score
    return {"live": live, "model": model, "log": log, "date": night.date, "score": settings}


def _decide(night: Night, results: Results) -> Mapping[str, Any]:
    decisions = night.shop.decisions
    return {"score": results["score"], "decisions": decisions, "files": files_in(decisions)}


def _is_trained(night: Night, result: Mapping[str, Any]) -> bool:
    return not result["trained"] or (night.state / result["run"] / CHECKPOINT).is_file()


def _is_exported(night: Night, result: Mapping[str, Any]) -> bool:
    return not result["exported"] or (night.state / result["bundle"] / MANIFEST).is_file()


def _is_appended(night: Night, result: Mapping[str, Any]) -> bool:
    return bool(result["log"] == night.fingerprint())


WORK = {
    "fetch": Step(log_steps.fetch, None),
    "check": Step(log_steps.check, _check),
    "append": Step(log_steps.append, _append, is_valid=_is_appended),
    "verify": Step(log_steps.verify, _verify),
    "drift": Step(model_steps.drift, _drift, lambda night: [night.place / DRIFT_FILE, night.place / DRIFT_PAGE]),
    "train": Step(model_steps.train, _train, is_valid=_is_trained),
    "export": Step(model_steps.export, _export, is_valid=_is_exported),
    "compare": Step(model_steps.compare, _compare),
    "promote": Step(model_steps.promote, _promote),
    "score": Step(send_steps.score, _score, lambda night: [night.scores]),
    "decide": Step(send_steps.decide, _decide, lambda night: [night.decisions]),
}


def run_steps(night: Night, journal: Journal, meter: Meter) -> tuple[dict[str, dict[str, Any]], list[Failure]]:
    """Do all steps but the summary.

    Parameters
    ----------
    night : Night
        The night.
    journal : Journal
        Its steps that are done.
    meter : Meter
        Measures the others.

    Returns
    -------
    dict
        Result of each step that could be done, by name.
    list of Failure
        Steps that could not, except those that need one of them.

    Raises
    ------
    PropensityError
        If a required step cannot be done; every other step that was done stays done.
    IntegrityError
        If any step finds a file that is not what was written.
    """
    results: dict[str, dict[str, Any]] = {}
    failures: list[Failure] = []
    for step in STEPS[:-1]:
        if any(need not in results for need in step.needs):
            journal.drop(step.name, WORK[step.name].outputs(night))  # lists of an earlier attempt are not of this one
            continue
        try:
            results[step.name] = done_or_do(step, night, results, journal, meter)
        except IntegrityError:
            raise
        except PropensityError as error:
            if step.required:
                raise
            failures.append(Failure(step.name, str(error), error.exit_code))
    return results, failures


def done_or_do(step: StepPlan, night: Night, results: Results, journal: Journal, meter: Meter) -> dict[str, Any]:
    """The result of a step, from the journal if it is done."""
    how = WORK[step.name]
    if how.inputs is None:
        meter.begin(step.name, step.title)
        with meter.measured(step.name):
            return how.work(night, results)
    outputs = how.outputs(night)
    mark = fingerprint(step.name, how.inputs(night, results))
    result = journal.done(step.name, mark, outputs)
    if result is not None and how.is_valid(night, result):
        return result
    meter.begin(step.name, step.title)
    journal.begin(step.name, mark, outputs)
    with meter.measured(step.name):
        result = how.work(night, results)
    journal.end(step.name, mark, result, outputs)
    return result
