"""The numbers of a judgement, given to the logger that the run was trained with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

WANDB = "lightning.pytorch.loggers.WandbLogger"  # the only logger that a run may name here: it comes from a file


def log_evaluation(metrics: Mapping[str, Any], logger: Mapping[str, Any] | None, out: str | Path) -> int:
    """Logs the numbers of `metrics` where `logger` is Weights & Biases, as a run of its own; returns their number.

    Other loggers keep curves only: metrics.json is beside them.
    """
    if not logger or logger.get("_target_") != WANDB:
        return 0
    found = dict(numbers(metrics))
    made = instantiate({**logger, "_partial_": False}, save_dir=str(out), name="judgement", job_type="evaluate")
    made.log_metrics(found)
    made.experiment.summary.update({"verdict": metrics["verdict"]})
    made.experiment.finish()
    return len(found)


def numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Models and differences with their intervals, by their path in metrics.json: the mean over the dates by slice,
    each date for all pairs; and the duel and the decay."""
    for part in ("models", "differences"):
        for model, dates in metrics[part].items():
            yield from _leaves(dates["mean"], f"{part}/{model}/mean")
            for date in (date for date in dates if date != "mean"):
                yield from _leaves(dates[date]["all"], f"{part}/{model}/{date}/all")
    yield from _leaves(metrics.get("heuristics") or {}, "heuristics")
    for point in (metrics.get("decay") or {}).get("points", []):
        yield from _leaves({key: point[key] for key in point if key != "weeks"}, f"decay/{point['weeks']}")


def _leaves(node: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _leaves(child, f"{path}/{key}")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path, float(node)
