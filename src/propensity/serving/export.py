"""From a run to a bundle: one folder that scores, and proves itself, without the framework that trained it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from propensity.atomic import whole_folder
from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff, cutoff_of
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.feature.column import CONTEXT_NAMES
from propensity.feature.features import FeatureConfig
from propensity.feature.history_mask import HistoryMask
from propensity.kernel import reference
from propensity.model.offer_net import OfferNet
from propensity.serving import drift, fused, inputs, verify
from propensity.serving.golden import golden_customers
from propensity.serving.graph import (
    PartsGraph,
    ScoringGraph,
    ask,
    fusible,
    pair_weights,
    traced,
    write_onnx,
    write_torch,
)
from propensity.serving.parity import Parity, edges, same_best
from propensity.serving.point_in_time import PointInTimeFeatures, nothing, rule_of, tables_of
from propensity.serving.session import session
from propensity.task import CutoffData
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.run import commit

FILES = {"onnx": "model.onnx", "torch_export": "model.pt2"}
LAUNCHED = 3  # offers that golden rows show as on their first day, so that the row for unknown ones is asked too
BLOCK = 64
WINDOW = 20_000  # customers of the training window that are counted
Say = Callable[[str], None]


def export(
    run: str | Path,
    out: str | Path,
    formats: Sequence[str],
    log: str | None,
    cutoff: str | None,
    rows: int,
    valid_days: int,
    say: Say,
) -> dict[str, Any]:
    """Writes the network of `run` to the folder `out`, whole or not at all; returns its manifest, with its `digest`.

    Args: formats, of `FILES`, onnx among them; log (None: the run's own); cutoff of the bundled tables (None: the end
    of training); rows, real customers at a date that the formats must agree on, fewer where the log has fewer;
    valid_days after the end of training, up to which the bundle scores.
    Raises: ConfigurationError for an unknown format, an `out` in use or a network that cannot be traced, GateError
    where a format disagrees with the network.
    """
    refuse(out, formats)
    trained = load_trained(run)
    refuse_extra(trained.task.feature)
    events = trained.task.open() if log is None else EventLog.open(log)
    dates = cutoffs_data(trained, events, cutoff or trained.about["end"])
    first = next(dates)
    with whole_folder(out) as draft:
        about = write_tables(draft, trained, first, valid_days)
        about["window"] = write_window(draft, trained, events)
        golden = write_golden(draft, trained, about)
        say("tracing the network")
        torch.manual_seed(0)
        program = traced(ScoringGraph(trained.model), golden)
        for name in formats:
            {"onnx": write_onnx, "torch_export": write_torch}[name](program, draft / FILES[name])
        write_parts(draft, trained, golden)
        say("holding the export against the network")
        about["parity"] = asdict(compared(draft, trained, formats, golden, first, dates, rows))
        about["metrics"] = headline(Path(run))
        digest = seal(draft, about)
    return about | {"digest": digest}


def refuse(out: str | Path, formats: Sequence[str]) -> None:
    """ConfigurationError for a request that cannot be met."""
    if unknown := [name for name in formats if name not in FILES]:
        raise ConfigurationError(f"no format {unknown[0]!r}; formats holds {', '.join(FILES)}")
    if "onnx" not in formats:
        raise ConfigurationError("a bundle is checked and scored by its model.onnx; add onnx to formats")
    folder = Path(out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / verify.MANIFEST).is_file()):
        raise ConfigurationError(f"{out} holds something else than a bundle; give another folder as out")


def refuse_extra(config: FeatureConfig) -> None:
    """ConfigurationError for a network with columns that only the user's own code can compute."""
    if config.extra:
        raise ConfigurationError(
            f"a bundle does not carry the code of column {config.extra[0].name!r} of data.feature.extra; score with "
            "run=, or train without it"
        )


def cutoffs_data(trained: Trained, log: EventLog, cutoff: str) -> Iterator[CutoffData]:
    """Send dates, the first at `cutoff` and then backwards by a horizon each, down to the beginning of the log."""
    day, horizon = cutoff_of(log, cutoff, trained.task.horizon)
    while day > log.first_day:
        yield trained.task.cutoff_data(log, cutoff_of(log, to_date(day), horizon), trained.vocabulary)
        day -= horizon


def write_tables(draft: Path, trained: Trained, cutoff_data: CutoffData, valid_days: int) -> dict[str, Any]:
    """Vocabulary, preparation and the tables of a date; returns the beginning of the manifest."""
    rule, horizon = trained.task.feature, trained.task.horizon
    write_arrays(draft / "tables.npz", tables_of(cutoff_data))
    data = {key: value for key, value in trained.about["config"]["data"].items() if key != "log"}
    write_json(draft / "vocabulary.json", trained.vocabulary.state())
    write_json(draft / "task.json", data)
    for module in (verify, inputs, reference):
        assert module.__file__ is not None
        shutil.copyfile(module.__file__, draft / Path(module.__file__).name)
    end = to_day(trained.about["end"])
    return {
        "format": verify.FORMAT,
        "data": trained.about["data"],
        "end": trained.about["end"],
        "valid_from": to_date(cutoff_data.market_stats.cutoff.day).isoformat(),
        "valid_until": (to_date(end) + timedelta(days=valid_days)).isoformat(),
        "commit": commit(),
        "trained": {name: trained.about[name] for name in ("seed", "commit", "libraries", "cutoffs", "examples")},
        "versions": {name: version(name) for name in ("propensity", "torch", "onnx", "onnxruntime", "numpy")},
        "model": trained.about["config"]["model"],
        "rule": rule_of(rule, trained.vocabulary, horizon),
    }


def write_window(draft: Path, trained: Trained, log: EventLog) -> dict[str, Any]:
    """The last training date in counts, for `drift.py`; returns its date and the names of its columns."""
    end, horizon = to_day(trained.about["end"]), trained.task.horizon
    cutoff_data = trained.task.cutoff_data(log, Cutoff(end - horizon, horizon), trained.vocabulary)
    network = ScoringGraph(trained.model).eval()
    counts = drift.window(cutoff_data, lambda asked: ask(network, Inputs(**asked)), WINDOW, log)
    write_arrays(draft / drift.FILE, counts)
    return {"cutoff": str(cutoff_data.market_stats.cutoff), "context": list(CONTEXT_NAMES)}


def write_golden(draft: Path, trained: Trained, about: dict[str, Any]) -> Inputs:
    """Raw events of made-up customers, the inputs that kernels make of them, and the trained network's answers."""
    tables = verify.arrays(draft / "tables.npz")
    market = PointInTimeFeatures(tables, about["rule"], trained.vocabulary)
    customers = golden_customers(tables, about["rule"])
    launched = np.linspace(0, len(market.offers) - 1, min(LAUNCHED, len(market.offers))).astype(int)
    mask = HistoryMask.nothing(len(customers))._replace(launched=launched)
    golden = market.asked(customers, mask=mask)
    (draft / "golden").mkdir()
    write_json(draft / "golden/events.json", {"launched": launched.tolist(), "customers": customers})
    write_arrays(draft / "golden/inputs.npz", golden._asdict())
    write_arrays(draft / "golden/outputs.npz", ask(ScoringGraph(trained.model), golden))
    about["golden"] = {"customers": len(customers), "offers": len(market.offers)}
    return golden


def write_parts(draft: Path, trained: Trained, golden: Inputs) -> None:
    """The same network taken apart for `fused.py`, where that knows it."""
    if fusible(trained.model):
        model = cast(OfferNet, trained.model)
        write_onnx(traced(PartsGraph(model), golden), draft / fused.GRAPH, fused.PARTS)
        write_arrays(draft / fused.WEIGHTS, pair_weights(model))


def compared(
    draft: Path,
    trained: Trained,
    formats: Sequence[str],
    golden: Inputs,
    first: CutoffData,
    dates: Iterator[CutoffData],
    rows: int,
) -> Parity:
    """Asks the network and the files as written about golden and real rows; GateError where they disagree."""
    network = partial(ask, ScoringGraph(trained.model).eval())
    files: dict[str, Any] = {"onnx": partial(check_answer, session(draft / FILES["onnx"]))}
    if "torch_export" in formats:
        files["torch_export"] = partial(ask, torch.export.load(draft / FILES["torch_export"]).module())
    if (draft / fused.WEIGHTS).is_file():
        known = fused.Fused(draft, nothing(trained.task.feature))
        files["fused"] = lambda asked: dict(zip(verify.OUTPUTS, known(asked._asdict()), strict=False))
    parity = Parity()
    for what, asked in edges(golden):
        parity.meet(network, files, asked, what)
    parity = Parity(largest=parity.largest)  # rows counts the real ones
    for name, answers in files.items():
        one, other = probabilities((network, answers), first)
        parity.exchanged[name] = same_best(one, other)
    for cutoff_data in (first, *dates) if rows > 0 else ():
        for block, asked in cutoff_data.blocks(BLOCK):
            parity.meet(
                network, files, asked, f"customers {block.start} to {block.stop} of {cutoff_data.market_stats.cutoff}"
            )
            if parity.rows >= rows:
                return parity
    return parity


def check_answer(running: Any, asked: Inputs) -> dict[str, np.ndarray]:
    return verify.answer(running, asked._asdict())


def probabilities(models: Sequence[Any], cutoff_data: CutoffData) -> list[np.ndarray]:
    """(N, M) by each model."""
    blocks = [[model(asked)["probability"] for model in models] for _, asked in cutoff_data.blocks(BLOCK)]
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def headline(run: Path) -> dict[str, Any] | None:
    """What the run was judged to be worth, if it was."""
    path = run / "metrics.json"
    if not path.is_file():
        return None
    metrics = json.loads(path.read_text())
    return {name: metrics[name] for name in ("verdict", "headline") if name in metrics}


def seal(draft: Path, about: dict[str, Any]) -> str:
    """Writes the manifest with the hash of every file, and its own; returns the latter, the bundle's digest."""
    about["files"] = {name: verify.sha256(draft / name) for name in verify.files(draft)}
    write_json(draft / verify.MANIFEST, about)
    digest = verify.sha256(draft / verify.MANIFEST)
    (draft / verify.SEAL).write_text(digest + "\n")
    return digest


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    content: dict[str, Any] = dict(arrays)
    np.savez_compressed(path, **content)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
