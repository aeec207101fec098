"""Reproduction of a run: train it again from its stored configuration and compare weights and metrics."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from propensity.champion.champion import FILE as CHAMPION
from propensity.config import ReproduceConfig, TrainConfig
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.evaluation.evaluate import NETWORK, cutoff_data_of
from propensity.evaluation.labels import labels
from propensity.metric.builtin import METRICS
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Prediction
from propensity.model.offer_net import OfferNet
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.predict import predict
from propensity.training.run import commit, libraries, train
from propensity.trust import read_yaml

Say = Callable[[str], None]


class Difference(NamedTuple):
    """A value of the run that is not the same now."""

    name: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.name} was {self.before} and is {self.now}"


class Reproduction(NamedTuple):
    """Result of training a run again.

    Parameters
    ----------
    differences : list of Difference
        Weights, metrics, settings or data that differ; empty if the run is reproduced.
    environment : list of Difference
        Changes of code and libraries, which may be the cause.
    compared : int
        Number of values that were compared.
    """

    differences: list[Difference]
    environment: list[Difference]
    compared: int


def reproduce(cfg: ReproduceConfig, say: Say) -> Reproduction:
    """Train a run again in a temporary folder and compare weights and the network's metrics.

    Parameters
    ----------
    cfg : ReproduceConfig
        Run and tolerance.
    say : callable
        Called with a sentence of progress.

    Returns
    -------
    Reproduction
        Differences, changes of the environment and the number of compared values.

    Raises
    ------
    ConfigurationError
        For a run on another device than a CPU that was not evaluated, or metrics.json without its settings.

    Notes
    -----
    On a CPU every weight and every metric must be identical. On another device sums are computed in another order, and
    metrics may differ by `cfg.tolerance`. A run that was not evaluated is compared by its weights. Nothing is trained
    if the data or config.yaml changed.
    """
    trained = load_trained(cfg.run)
    about, log = trained.about, trained.task.open()
    environment = [
        *_difference("commit", about["commit"], commit()),
        *_differences("library", about["libraries"], libraries()),
    ]
    for difference in environment:
        say(str(difference))
    differences = [
        *_difference("data fingerprint", about["data"], log.fingerprint),
        *_edited(Path(cfg.run), about["config"]),
    ]
    if differences:
        return Reproduction(differences, environment, 0)
    exact = about["config"]["trainer"]["accelerator"] == "cpu"
    with tempfile.TemporaryDirectory(dir=cfg.run, prefix=".again.") as folder:
        model, *_ = train(_configuration(about), folder)
        served = [_champion(Path(place)) for place in (cfg.run, folder)]
    if exact:
        differences = list(_weights(trained.model.state_dict(), model.state_dict()))
        differences += _difference("champion", *served)
    file = Path(cfg.run) / "metrics.json"
    if not file.is_file():
        if not exact:
            raise ConfigurationError(f"{cfg.run} was not evaluated; run propensity evaluate run={cfg.run} first")
        return Reproduction(differences, environment, sum(weight.numel() for weight in model.state_dict().values()))
    stored = json.loads(file.read_text())
    if "evaluation" not in stored["run"]:
        raise ConfigurationError(f"{file} lacks the evaluation's settings; run propensity evaluate run={cfg.run} again")
    pairs = list(_leaves(_builtin(stored["models"][NETWORK]), _metrics(trained, log, model, stored)))
    tolerance = 0.0 if exact else cfg.tolerance
    differences += [Difference(f"metric {name}", str(a), str(b)) for name, a, b in pairs if not _close(a, b, tolerance)]
    return Reproduction(differences, environment, len(pairs))


def _champion(folder: Path) -> str:
    """The content of champion.json; empty for a network without candidates."""
    file = folder / CHAMPION
    return file.read_text() if file.is_file() else ""


def _configuration(about: Mapping[str, Any]) -> TrainConfig:
    """The run's configuration with the end of its labels, since the log may have grown, and without a logger."""
    config = TrainConfig(**copy.deepcopy(dict(about["config"])))
    config.data["end"] = about["last_label"]
    config.training["validation"] = about["validation"] or None
    config.logger = {}
    return config


def _metrics(trained: Trained, log: EventLog, model: OfferNet, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics of the new network at the stored cutoffs, with the same bootstrap resamples."""
    cutoffs_data = [cutoff_data_of(trained, log, day) for day in stored["counts"]]
    scores = [predict(model, cutoff_data, NETWORK) for cutoff_data in cutoffs_data]
    predictions = {NETWORK: [Prediction(each.probability, each.revenue) for each in scores]}
    all_labels = [labels(log, cutoff_data) for cutoff_data in cutoffs_data]
    result = evaluate(all_labels, predictions, reference=NETWORK, **stored["run"]["evaluation"])
    cells: dict[str, Any] = json.loads(json.dumps(result["models"][NETWORK]))
    return cells


def _builtin(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The built-in metrics by cutoff and slice; the code of your own metrics is not stored."""
    names = {metric.name for metric in METRICS}
    return {
        cutoff: {
            slice_: {name: cell for name, cell in values.items() if name in names} for slice_, values in slices.items()
        }
        for cutoff, slices in cells.items()
    }


def _weights(before: Mapping[str, torch.Tensor], now: Mapping[str, torch.Tensor]) -> Iterator[Difference]:
    """Weights with another shape or value; a value is that of the first element that differs."""
    for name in sorted({*before, *now}):
        a, b = before.get(name), now.get(name)
        if a is None or b is None or a.shape != b.shape:
            yield Difference(f"weight {name}", *(str(None if w is None else list(w.shape)) for w in (a, b)))
        elif not torch.equal(a, b.cpu()):
            place = (a != b.cpu()).flatten().nonzero()[0]
            yield Difference(f"weight {name}", *(f"{float(w.flatten()[place]):.9g}" for w in (a, b.cpu())))


def _edited(run: Path, config: Mapping[str, Any]) -> Iterator[Difference]:
    """Settings of config.yaml that differ from the configuration in the checkpoint."""
    file = run / "config.yaml"
    if not file.is_file():
        return
    now = read_yaml(file)
    for name, a, b in _leaves(json.loads(json.dumps(config)), json.loads(json.dumps(now))):
        yield from _difference(f"setting {name.replace('/', '.')}", a, b)


def _leaves(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of every leaf of two nested containers; None where one lacks the path."""
    if isinstance(before, dict) or isinstance(now, dict):
        a, b = (each if isinstance(each, dict) else {} for each in (before, now))
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _leaves(a.get(key), b.get(key), f"{path}/{key}" if path else str(key))
    else:
        yield path, before, now


def _differences(kind: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Entries of `before` that differ in `now`."""
    for name in before:
        yield from _difference(f"{kind} {name}", before[name], now.get(name))


def _difference(name: str, before: Any, now: Any) -> Iterator[Difference]:
    """One difference, or none."""
    if before != now:
        yield Difference(name, str(before), str(now))


def _close(a: Any, b: Any, tolerance: float) -> bool:
    """Whether floats differ by at most `tolerance`; other values must be equal."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= tolerance
    return bool(a == b)
