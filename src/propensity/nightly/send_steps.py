"""Steps from the live model to send lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from propensity.command import configuration
from propensity.config import DecideConfig
from propensity.data.cutoff import Cutoff, scoring_warnings
from propensity.data.event_log import EventLog, to_day
from propensity.errors import IntegrityError, PropensityError
from propensity.nightly.model_steps import require_live
from propensity.nightly.night import Night, Results
from propensity.serving.batch import BatchConfig, score_bundle
from propensity.serving.decide import Reader, by_offer, make_and_write, offers_of
from propensity.serving.score import score as score_run

OWN = ("list", "offers")  # settings of a decision that are ours
FILE = "scores.parquet"


def score(night: Night, results: Results) -> dict[str, Any]:
    """Score all customers with the live model, and note in the registry that it was served."""
    name = require_live(night)
    registry = night.registry
    model = registry.models[name]
    source = {"bundle": str(registry.folder(name, "bundle"))} if model["bundle"] else {"run": model["run"]}
    cfg = configuration("score", night.shop.score | source | {"cutoff": night.date})
    if model["bundle"]:
        config = BatchConfig(None, cfg.top_per_customer, cfg.reasons, cfg.part, cfg.threads)
        result = score_bundle(
            source["bundle"], str(night.log), night.date, night.scores, config, night.say, model["digest"],
            cfg.data.verify,
        )  # fmt: skip
        counts = {"customers": result.customers, "offers": result.offers, "rows": result.rows}
    else:
        run = registry.folder(name, "run")
        table = score_run(run, night.date, night.scores / FILE, str(night.log), night.say, cfg.data.verify)
        n, m = table.probability.shape
        counts = {"customers": n, "offers": m, "rows": n * m}
    served = {"model": name, "digest": model["digest"], "log": results["verify"]["fingerprint"]}
    registry.serve(night.date, served)
    log = EventLog.open(night.log)
    warnings = scoring_warnings(log, Cutoff(to_day(night.date), int(model["horizon"])), model["last_label"])
    return {**served, **counts, "scores": night.relative(night.scores), "warnings": warnings}


def decide(night: Night, results: Results) -> dict[str, Any]:
    """Make all decisions from one reading of scores and log; one that cannot be made does not stop the others."""
    reader, made = Reader(night.say), []
    for name, settings in night.shop.decisions.items():
        night.say(f"deciding {name}")
        try:
            made += [decided(night, name, cfg, reader) for cfg in configurations(night, name, settings, reader)]
        except IntegrityError:
            raise
        except PropensityError as error:
            made.append({"name": name, "problem": str(error), "exit_code": error.exit_code})
    return {"decisions": made}


def configurations(night: Night, name: str, settings: Any, reader: Reader) -> Iterator[DecideConfig]:
    """The configuration of a decision, or those of its offers."""
    suffix = f".{settings['list']}" if settings.get("list") else ""
    own = {key: value for key, value in settings.items() if key not in OWN}
    given = {"offers": settings.get("offers") or [], "scores": str(night.scores), "log": str(night.log)}
    out = night.decisions / f"{name}{suffix}"
    cfg = configuration("decide", own | given | {"out": str(out), "plugins": list(night.shop.plugins)})
    yield from by_offer(cfg, offers_of(cfg, reader)) if cfg.offers else [cfg]


def decided(night: Night, name: str, cfg: DecideConfig, reader: Reader) -> dict[str, Any]:
    """Make and write one decision; what the summary says of it."""
    offer = cfg.decision.get("offer")
    try:
        result, written = make_and_write(cfg, night.say, reader)
    except IntegrityError:
        raise
    except PropensityError as error:
        return {"name": name, "offer": offer, "problem": str(error), "exit_code": error.exit_code}
    return {
        "name": name,
        "offer": offer,
        "kind": result.name,
        "path": night.relative(Path(written)),
        "rows": result.table.height,
        "sentences": list(result.sentences),
    }
