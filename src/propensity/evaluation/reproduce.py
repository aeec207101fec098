"""Training a run again, from what it says about itself, and holding the two against each other."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf

from propensity.config import ReproduceConfig, TrainConfig
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.evaluation.evaluate import NETWORK, cutoff_data_of, labels
from propensity.metric.builtin import METRICS
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Prediction
from propensity.model.offer_net import OfferNet
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.predict import predict
from propensity.training.run import commit, libraries, train

Say = Callable[[str], None]


class Difference(NamedTuple):
    """What is not the same any more."""

    what: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.what} was {self.then} and is {self.now}"


class Copy(NamedTuple):
    """What training again came to: what differs, and what is new around it (code, libraries), which may be why."""

    differences: list[Difference]
    around: list[Difference]
    compared: int  # numbers


def reproduce(cfg: ReproduceConfig, say: Say) -> Copy:
    """Trains the run at `cfg.run` again, aside, and compares weights and the network's metrics.

    On a CPU every weight and every metric must be identical; on another device, where sums are taken in another order,
    metrics may differ by `cfg.tolerance`. A run that was not judged is compared by its weights.
    """
    trained = load_trained(cfg.run)
    about, log = trained.about, trained.task.open()
    around = [*_changes("commit", about["commit"], commit()), *_changed("library", about["libraries"], libraries())]
    for difference in around:
        say(str(difference))
    found = [*_changes("data fingerprint", about["data"], log.fingerprint), *_edited(Path(cfg.run), about["config"])]
    if found:
        return Copy(found, around, 0)
    exact = about["config"]["trainer"]["accelerator"] == "cpu"
    with tempfile.TemporaryDirectory(dir=cfg.run, prefix=".again.") as folder:
        again, *_ = train(_configuration(about), folder)
    if exact:
        found = list(_weights(trained.model.state_dict(), again.state_dict()))
    judged = Path(cfg.run) / "metrics.json"
    if not judged.is_file():
        if not exact:
            raise ConfigurationError(f"{cfg.run} was not judged; run propensity evaluate run={cfg.run} first")
        return Copy(found, around, sum(weight.numel() for weight in again.state_dict().values()))
    then = json.loads(judged.read_text())
    if "evaluation" not in then["run"]:
        raise ConfigurationError(f"{judged} does not say how it was made; run propensity evaluate run={cfg.run} again")
    now = _metrics(trained, log, again, then)
    pairs = list(_numbers(_builtin(then["models"][NETWORK]), now))
    tolerance = 0.0 if exact else cfg.tolerance
    found += [Difference(f"metric {name}", str(a), str(b)) for name, a, b in pairs if not _close(a, b, tolerance)]
    return Copy(found, around, len(pairs))


def _configuration(about: Mapping[str, Any]) -> TrainConfig:
    """The run's own configuration, its labels closing where they did though the log may have grown; no logger."""
    config = TrainConfig(**copy.deepcopy(dict(about["config"])))
    config.data["end"] = about["last_label"]
    config.training["validation"] = about["validation"] or None
    config.logger = {}
    return config


def _metrics(trained: Trained, log: EventLog, again: OfferNet, then: Mapping[str, Any]) -> dict[str, Any]:
    """What the network trained again reaches where the run was judged, with the same resamples of customers."""
    cutoffs_data = [cutoff_data_of(trained, log, day) for day in then["counts"]]
    scores = [predict(again, cutoff_data, NETWORK) for cutoff_data in cutoffs_data]
    predictions = {NETWORK: [Prediction(each.probability, each.revenue) for each in scores]}
    all_labels = [labels(log, cutoff_data) for cutoff_data in cutoffs_data]
    made = evaluate(all_labels, predictions, reference=NETWORK, **then["run"]["evaluation"])
    found: dict[str, Any] = json.loads(json.dumps(made["models"][NETWORK]))
    return found


def _builtin(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The built-in metrics by cutoff and slice: metrics of a user's own are code that a file only names."""
    names = {metric.name for metric in METRICS}
    return {
        cutoff: {
            slice_: {name: cell for name, cell in values.items() if name in names} for slice_, values in slices.items()
        }
        for cutoff, slices in cells.items()
    }


def _weights(then: Mapping[str, torch.Tensor], now: Mapping[str, torch.Tensor]) -> Iterator[Difference]:
    for name in sorted({*then, *now}):
        a, b = then.get(name), now.get(name)
        if a is None or b is None or a.shape != b.shape:
            yield Difference(f"weight {name}", *(str(None if w is None else list(w.shape)) for w in (a, b)))
        elif not torch.equal(a, b.cpu()):
            place = (a != b.cpu()).flatten().nonzero()[0]
            yield Difference(f"weight {name}", *(f"{float(w.flatten()[place]):.9g}" for w in (a, b.cpu())))


def _edited(run: Path, config: Mapping[str, Any]) -> Iterator[Difference]:
    """Where config.yaml is no longer the configuration that the checkpoint was trained with."""
    file = run / "config.yaml"
    if not file.is_file():
        return
    now = OmegaConf.to_container(OmegaConf.load(file))
    for name, a, b in _numbers(json.loads(json.dumps(config)), json.loads(json.dumps(now))):
        yield from _changes(f"setting {name.replace('/', '.')}", a, b)


def _numbers(then: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every leaf of two nested containers, side by side; None where one has no such place."""
    if isinstance(then, dict) or isinstance(now, dict):
        a, b = (each if isinstance(each, dict) else {} for each in (then, now))
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _numbers(a.get(key), b.get(key), f"{path}/{key}" if path else str(key))
    else:
        yield path, then, now


def _changed(kind: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name in then:
        yield from _changes(f"{kind} {name}", then[name], now.get(name))


def _changes(what: str, then: Any, now: Any) -> Iterator[Difference]:
    if then != now:
        yield Difference(what, str(then), str(now))


def _close(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= tolerance
    return bool(a == b)
