"""Steps from a verified log to a live model: drift, training, export, comparison and promotion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from propensity.atomic import whole_file
from propensity.command import configuration
from propensity.config import TrainConfig
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, IntegrityError
from propensity.nightly import challenge, plan
from propensity.nightly.journal import fingerprint
from propensity.nightly.night import Night, Results
from propensity.report.bundle import write_drift
from propensity.serving import drift as serving_drift
from propensity.serving.export import export as write_bundle
from propensity.training.checkpoint import load_trained
from propensity.training.run import train as train_run
from propensity.training.warm import reason_for_scratch

DRIFT_FILE, DRIFT_PAGE = "drift.json", "drift.html"


def drift(night: Night, results: Results) -> dict[str, Any]:
    """Compare inputs, scores and calibration with the training data of the live model."""
    if night.live is None:
        return {"measured": False, "why": "no model is live", "alarms": []}
    model = night.registry.models[night.live]
    if model["bundle"] is None:
        return {"measured": False, "why": "the live model has no bundle (bundle: false)", "alarms": []}
    settings = {"bundle": str(night.registry.folder(night.live, "bundle")), "log": str(night.log)}
    page = night.place / DRIFT_PAGE
    cfg = configuration("drift", night.shop.drift | settings | {"cutoff": night.date, "out": str(page)})
    report = serving_drift.drift(cfg, night.say)
    write_drift(report, page)
    with whole_file(night.place / DRIFT_FILE) as draft:
        draft.write_text(json.dumps(asdict(report) | {"alarms": report.alarms}, indent=1))
    return {
        "measured": True,
        "alarms": report.alarms,
        "window": report.window,
        "drifted": len(report.drifted),
        "columns": len(report.stability_index),
        "score_index": report.score_index,
    }


def train(night: Night, results: Results) -> dict[str, Any]:
    """Train a challenger, if one is due; its last labels close before the window that it is judged on."""
    log = EventLog.open(night.log)
    live = None if night.live is None else night.registry.models[night.live]
    name = model_name(night, log.fingerprint)
    run = night.state / "runs" / name
    cfg: TrainConfig = configuration("train", training_settings(night) | {"out": str(run)})
    horizon = int(cfg.data["horizon"])
    window, end = challenge.last_window(log, horizon, night.date)
    alarms = results.get("drift", {}).get("alarms", [])
    due, reason = plan.reason_to_train(
        night.shop.retrain, night.date, None if live is None else facts_of(live), newest(night), alarms, window
    )
    if not due:
        return {"trained": False, "reason": reason, "model": None}
    cfg.data["end"] = end if live is None else window
    start = "scratch"
    if live is not None and night.shop.retrain.start == "warm":
        cfg, start = warm_config(cfg, night.registry.folder(str(night.live), "run"), alarms)
    night.say(f"training {name} ({start}): {reason}")
    if not is_finished(run):
        train_run(cfg)
    about = load_trained(run).about
    training = json.loads((run / "training.json").read_text())
    return {
        "trained": True,
        "reason": reason,
        "start": start,
        "model": name,
        "run": night.relative(run),
        "window": window if live is not None else None,
        "end": about["end"],
        "last_label": about["last_label"],
        "horizon": horizon,
        "choice": training["choice"],
        "warnings": training["warnings"],
    }


def warm_config(cfg: TrainConfig, run: Path, alarms: list[str]) -> tuple[TrainConfig, str]:
    """The configuration that starts from a run, and the word for it; from scratch, and why, where the run is no start.

    An alarm of the drift says that customers or columns have changed, so that what the run has learned is in doubt.
    """
    reason = "the drift gave an alarm" if alarms else reason_for_scratch(run, cfg)
    return (replace(cfg, warm=str(run)), "warm") if reason is None else (cfg, f"scratch, as {reason}")


def facts_of(model: Mapping[str, Any]) -> plan.Trained:
    """What counts of a model of the registry for the next training."""
    return plan.Trained(str(model["night"]), str(model["last_label"]))


def newest(night: Night) -> plan.Trained | None:
    """The model that was trained last before the night; None without any."""
    earlier = [facts_of(each) for each in night.registry.models.values() if each["night"] < night.date]
    return max(earlier, default=None)


def training_settings(night: Night) -> dict[str, Any]:
    """Settings of `propensity train` for the night."""
    own = {"trainer.enable_progress_bar": False, "plugins": list(night.shop.plugins)}
    return own | dict(night.shop.train) | {"data.log": str(night.log)}


def model_name(night: Night, log: str) -> str:
    """Name of a model: the night, and a hash of what it is trained from."""
    inputs = {"log": log, "train": night.shop.train, "retrain": asdict(night.shop.retrain), "live": night.live}
    return f"{night.date}-{fingerprint('model', inputs)[:8]}"


def is_finished(run: Path) -> bool:
    """Whether a run of the same name, and thus of the same log and settings, is complete."""
    if not all((run / name).is_file() for name in ("model.ckpt", "training.json", "checksums.json")):
        return False
    try:
        load_trained(run)
    except IntegrityError:
        return False
    return True


def export(night: Night, results: Results) -> dict[str, Any]:
    """Export the challenger, and add it to the registry."""
    trained = results["train"]
    if not trained["trained"]:
        return {"exported": False, "bundle": None, "digest": None}
    name, bundle, digest = trained["model"], None, None
    if night.shop.bundle:
        folder = night.state / "bundles" / name
        run = night.state / trained["run"]
        cfg = configuration("export", night.shop.export | {"run": str(run), "out": str(folder), "log": str(night.log)})
        manifest = write_bundle(
            run, folder, ["onnx"], str(night.log), cfg.cutoff, cfg.rows, cfg.valid_days, night.say, cfg.data.verify
        )
        bundle, digest = night.relative(folder), manifest["digest"]
    facts = ("run", "end", "last_label", "horizon", "reason")
    model = {"night": night.date, **{key: trained[key] for key in facts}, "bundle": bundle, "digest": digest}
    night.registry.add(name, model)
    return {"exported": bundle is not None, "bundle": bundle, "digest": digest}


def compare(night: Night, results: Results) -> dict[str, Any]:
    """Compare live model and challenger on the last closed window."""
    trained = results["train"]
    if not trained["trained"]:
        return {"verdict": None, "why": "no challenger was trained"}
    if night.live is None:
        return {"verdict": None, "why": "no model is live to compare with"}
    live, challenger = (night.registry.folder(name, "run") for name in (night.live, trained["model"]))
    settings, log = night.shop.promote, EventLog.open(night.log)
    night.say(f"comparing {night.live} and {trained['model']} at {trained['window']}")
    result = challenge.compare(live, challenger, log, trained["window"], settings.metrics, settings.resamples)
    return {"live": night.live, "challenger": trained["model"], "window": trained["window"], **result}


def promote(night: Night, results: Results) -> dict[str, Any]:
    """Make the challenger the live model, or keep the one that is."""
    trained = results["train"]
    if not trained["trained"]:
        return {"promoted": False, "why": trained["reason"], "model": None}
    promoted, why = plan.is_promoted(night.shop.promote, night.live, results["compare"]["verdict"])
    registry, name = night.registry, trained["model"]
    entry = {"night": night.date, "action": "promote", "model": name}
    noted = any({key: each[key] for key in entry} == entry for each in registry.history)
    if promoted and not noted:  # else an interrupted attempt has done it
        registry.promote(name, night.date, why)
    return {"promoted": promoted, "why": why, "model": name}


def require_live(night: Night) -> str:
    """The live model, whose files are there.

    Raises
    ------
    ConfigurationError
        If no model is live.
    IntegrityError
        If its files were removed.
    """
    registry = night.registry
    if registry.live is None:
        raise ConfigurationError(
            "no model is live, so nothing is scored; deliver a longer history, or see why no model could be trained"
        )
    registry.require(registry.live)
    return registry.live
