"""An evaluation as Python shows it: tables of metrics and of paired differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

SHOWN = ("auc", "average_precision", "revenue_lift", "log_loss")  # metrics in the repr of an evaluation


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation measured; its `repr` is the table that the terminal shows.

    Parameters
    ----------
    metrics
        Everything in metrics.json, as plain containers.
    run
        Folder of the run that was evaluated.
    """

    metrics: dict[str, Any] = field(repr=False)
    run: Path

    def __repr__(self) -> str:
        rows = [f"{'model':16}" + "".join(f"{name:>20}" for name in SHOWN)]
        for model, dates in self.metrics["models"].items():
            cells = (dates["mean"]["all"][name]["value"] for name in SHOWN)
            rows.append(f"{model:16}" + "".join(f"{'-' if each is None else f'{each:.4f}':>20}" for each in cells))
        cutoffs = ", ".join(self.metrics["counts"])
        return "\n".join([f"Evaluation of {self.run} at {cutoffs}: {self.verdict or 'no verdict'}", *rows])

    @property
    def verdict(self) -> str | None:
        """win, tie, loss or underpowered: revenue lift against the strongest baseline."""
        verdict: str | None = self.metrics["verdict"]
        return verdict

    @property
    def warnings(self) -> list[str]:
        """What a reader should know before the figures."""
        return list(self.metrics["warnings"])

    def table(self, slices: Sequence[str] | None = None, cutoffs: Sequence[str] = ("mean",)) -> pl.DataFrame:
        """Metrics with their 95 % intervals from a paired bootstrap over customers.

        Parameters
        ----------
        slices
            Slices of customers and pairs; None: all of them.
        cutoffs
            ISO dates, or "mean" for the mean over the cutoffs.

        Returns
        -------
        polars.DataFrame
            model, cutoff, slice, metric, value, low, high.
        """
        return self._rows("models", slices, cutoffs)

    def differences(self, slices: Sequence[str] | None = None, cutoffs: Sequence[str] = ("mean",)) -> pl.DataFrame:
        """Network minus each other model, paired, with the same columns and `verdict`."""
        return self._rows("differences", slices, cutoffs, "verdict")

    def _rows(self, part: str, slices: Sequence[str] | None, cutoffs: Sequence[str], *more: str) -> pl.DataFrame:
        keys = ("value", "low", "high", *more)
        rows = [
            (model, cutoff, name, metric, *(cell.get(key) for key in keys))
            for model, dates in self.metrics[part].items()
            for cutoff in cutoffs
            for name, cells in dates[cutoff].items()
            if slices is None or name in slices
            for metric, cell in cells.items()
        ]
        number = dict.fromkeys(("value", "low", "high"), pl.Float64)
        text = dict.fromkeys(("model", "cutoff", "slice", "metric"), pl.String)
        return pl.DataFrame(rows, schema={**text, **number, **dict.fromkeys(more, pl.String)}, orient="row")

    def save(self, path: str | Path) -> None:
        """Writes everything measured as JSON."""
        Path(path).write_text(json.dumps(self.metrics, indent=1))
