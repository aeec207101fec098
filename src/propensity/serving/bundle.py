"""A bundle, opened: every file is as it was exported, and the model has just answered its golden rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from hydra.utils import instantiate
from onnxruntime.capi import onnxruntime_pybind11_state as state

from propensity.data.cutoff import Cutoff, cutoff_of
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.offer import on_sale
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError, DataError, IntegrityError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats, MarketStatsBuilder
from propensity.serving import fused, verify
from propensity.serving.point_in_time import PointInTimeFeatures, nothing
from propensity.serving.session import session
from propensity.task import Task
from propensity.trust import DATA, check_targets

UNREADABLE: tuple[type[Exception], ...] = (
    *(ValueError, KeyError, TypeError),
    *(state.Fail, state.InvalidProtobuf, state.InvalidGraph, state.InvalidArgument, state.NoSuchFile),
)
Pairs = Callable[[Mapping[str, Any]], tuple[np.ndarray, np.ndarray]]
CHUNK = 1 << 24  # events whose days are looked at together


@dataclass(frozen=True)
class Bundle:
    """An exported network with everything needed to ask it; `about` is its manifest, `digest` that of the manifest.

    Frozen are the weights with the scales inside them, the vocabularies and the rules. Tables of a date are made again
    from the log that is scored; those of `market`, as of the export, serve who has no log.
    """

    folder: Path
    about: dict[str, Any]
    digest: str
    task: Task
    vocabulary: Vocabulary

    def session(self, threads: int = 1) -> ort.InferenceSession:
        return session(self.folder / "model.onnx", threads)

    def pairs(self) -> Pairs:
        """Prepared inputs to probabilities and expected revenue (B, M): by `fused.py` where the export took the network
        apart for it, else by the graph. IntegrityError where it does not give the golden outputs."""
        pairs: Pairs = Graph(self.session())
        if (self.folder / fused.WEIGHTS).is_file():
            pairs = fused.Fused(self.folder, nothing(self.task.feature))
        inputs, outputs = (verify.arrays(self.folder / f"golden/{name}.npz") for name in ("inputs", "outputs"))
        for name, found in zip(verify.OUTPUTS, pairs(inputs), strict=False):
            if not (apart := verify.difference(found, outputs[name])) <= verify.TOLERANCE:
                raise IntegrityError(f"{self.folder / fused.WEIGHTS} differs by {apart:.2g} from golden/outputs.npz")
        return pairs

    def market(self) -> PointInTimeFeatures:
        """The tables as of the export."""
        return PointInTimeFeatures(verify.arrays(self.folder / "tables.npz"), self.about["rule"], self.vocabulary)

    def date(self, log: EventLog, cutoff: str) -> Cutoff:
        """A send date that the log reaches and the bundle still speaks of; ConfigurationError for any other."""
        date = cutoff_of(log, cutoff, self.task.horizon)
        self.valid(date.day)
        return date

    def valid(self, day: int) -> None:
        """ConfigurationError past the bundle's validity."""
        if day > to_day(self.about["valid_until"]):
            raise ConfigurationError(
                f"{self.folder} is valid until {self.about['valid_until']}, not on {to_date(day)}; train again and "
                "export, or export with a larger valid_days"
            )

    def at(self, log: EventLog, cutoff: Cutoff) -> tuple[Features, MarketStats]:
        """A send date with fresh tables; who of the log has bought before it is for the caller to ask, part by part.

        The log is copied only where it holds something dated at or after the cutoff.
        """
        past = log if newest(log) < cutoff.day else log.before(cutoff.day)
        rules = self.task
        offers = on_sale(past, rules.offer, cutoff)
        market_stats = MarketStatsBuilder(past, offers, cutoff.horizon, rules.market_stats).at(cutoff)
        return Features(past, offers, self.vocabulary, rules.feature), market_stats


class Graph:
    """The whole network by ONNX Runtime."""

    def __init__(self, running: ort.InferenceSession) -> None:
        self.running = running

    def __call__(self, inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        names = [each.name for each in self.running.get_inputs()]
        score, revenue = self.running.run(verify.OUTPUTS[:2], {name: inputs[name] for name in names})
        return score, revenue


def newest(log: EventLog) -> int:
    """The last day of any event."""
    return max((int(log.day[start : start + CHUNK].max()) for start in range(0, log.day.size, CHUNK)), default=0)


def open_bundle(folder: str | Path, digest: str | None = None) -> Bundle:
    """Verifies a bundle and replays its golden rows.

    Raises: ConfigurationError if there is none, IntegrityError for one that was changed, or is of another format or
    digest, or answers otherwise than the network that it was made from.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigurationError(f"no bundle at {folder}; make one with propensity export out={folder}")
    try:
        about = verify.manifest(folder, digest)
        config = json.loads((folder / "task.json").read_text())
        vocabulary = Vocabulary.of(json.loads((folder / "vocabulary.json").read_text()))
        verify.replay(folder, session(folder / "model.onnx"))
    except verify.RefusedError as error:
        raise IntegrityError(f"{error}; export again") from None
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IntegrityError(f"the bundle at {folder} cannot be read ({reason}); export again") from None
    check_targets(config, folder / "task.json", DATA)
    try:
        task = instantiate(config, _convert_="all")
    except TypeError as error:
        raise DataError(f"{folder} was made for other settings than ours ({error}); export again") from None
    return Bundle(folder, about, verify.sha256(folder / verify.MANIFEST), task, vocabulary)
