"""Exports a training run to a bundle: one folder that scores without the training framework and can be verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from propensity.atomic import holds_other, whole_folder
from propensity.audit import append_beside
from propensity.champion.champion import Champion
from propensity.champion.model_name import served_in_text
from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff, parse_cutoff
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.own_log import log_record
from propensity.errors import ConfigurationError
from propensity.feature.column import CONTEXT_NAMES
from propensity.feature.features import FeatureConfig
from propensity.feature.history_mask import HistoryMask
from propensity.kernel import reference
from propensity.model.inference import one_thread
from propensity.serving import drift, inputs, verify
from propensity.serving.bundle_file import write_arrays, write_json
from propensity.serving.export_parity import measure_parity
from propensity.serving.golden import golden_customers
from propensity.serving.model_file import FILES, write_pair_scorer, write_scoring_onnx, write_scoring_torch
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings
from propensity.serving.served import Served, served_model
from propensity.task import CutoffData
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.run import commit

LAUNCHED = 3  # offers of the golden inputs that are treated as new, so that the embedding of unknown offers is tested
WINDOW = 20_000  # customers of the training window whose inputs are counted
Say = Callable[[str], None]


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread of torch, OpenMP and BLAS.

    Notes
    -----
    The blocks that are compared are small. Threads of OpenMP that wait for each other at the end of each operation
    spin, which on a busy machine takes longer than the work itself.
    """
    with one_thread(), threadpool_limits(1):
        yield


@single_thread()
def export(
    run: str | Path,
    out: str | Path,
    formats: Sequence[str],
    log: str | None,
    cutoff: str | None,
    rows: int,
    valid_days: int,
    say: Say,
    verify_log: bool = True,
) -> dict[str, Any]:
    """Export the champion of a run, and its network, to a folder, atomically.

    Parameters
    ----------
    run : str or Path
        Folder of the training run.
    out : str or Path
        Folder to write; an existing bundle is replaced.
    formats : sequence of str
        Keys of `FILES`; onnx is required.
    log : str, optional
        Folder of an event log; None for the log of the run.
    cutoff : str, optional
        Cutoff of the bundled tables, YYYY-MM-DD; None for the end of training.
    rows : int
        Real customers, counted once per cutoff, on which the formats are compared; fewer if the log has fewer.
    valid_days : int
        Days after the end of training for which the bundle may be used.
    say : callable
        Receives messages about progress.
    verify_log : bool
        Whether to compare the log with its checksums.

    Returns
    -------
    dict
        The manifest, its `digest`, and `verifier`, the script beside the bundle that its reader runs.

    Raises
    ------
    ConfigurationError
        For an unknown format, an `out` in use, or a network that cannot be traced.
    GateError
        If a format differs from the trained model.
    """
    validate_request(out, formats)
    trained = load_trained(run)
    served = served_model(trained, Champion.load(run, trained.model))
    refuse_extra(trained.task.feature)
    events = trained.task.open_or(log, verify_log)
    cutoffs_data = past_cutoffs(trained, events, cutoff or trained.about["end"])
    first = next(cutoffs_data)
    with whole_folder(out) as draft:
        manifest = write_tables(draft, trained, first, valid_days)
        manifest["champion"] = served.about
        manifest["currency"] = events.meta.get("currency")
        manifest["own_log"] = log_record(events, trained.about["end"])
        manifest["window"] = write_window(draft, served, events)
        golden = write_golden(draft, served, manifest)
        say(served_in_text(served.about["name"], served.about["why"]))
        say("tracing the network")
        torch.manual_seed(0)
        for name in formats:
            {"onnx": write_scoring_onnx, "torch_export": write_scoring_torch}[name](served, draft / FILES[name], golden)
        write_pair_scorer(draft, served, golden)
        say("comparing the exported files with the trained model")
        manifest["parity"] = asdict(measure_parity(draft, served, formats, golden, first, cutoffs_data, rows))
        manifest["metrics"] = headline(Path(run))
        digest = seal(draft, manifest)
    with whole_folder(verifier_folder(out)) as draft:
        write_verifier(draft)
    entry = {"model": str(run), "digest": digest, "log": str(events.folder), "fingerprint": events.fingerprint}
    append_beside(Path(run).parent, out, "export", entry)
    return manifest | {"digest": digest, "verifier": str(verifier_folder(out) / Path(verify.__file__).name)}


def verifier_folder(out: str | Path) -> Path:
    """Folder beside a bundle with the copy of the verifier that its reader runs.

    Examples
    --------
    >>> verifier_folder("out/bundle").as_posix()
    'out/bundle.verifier'
    """
    return Path(out).with_name(f"{Path(out).name}.verifier")


def write_verifier(folder: Path) -> None:
    """Copy the three files of the verifier, which need NumPy and ONNX Runtime only."""
    for module in (verify, inputs, reference):
        assert module.__file__ is not None
        shutil.copyfile(module.__file__, folder / Path(module.__file__).name)


def validate_request(out: str | Path, formats: Sequence[str]) -> None:
    """Refuse an export that cannot be written.

    Parameters
    ----------
    out : str or Path
        Folder to write.
    formats : sequence of str
        Requested formats.

    Raises
    ------
    ConfigurationError
        For an unknown format, a missing onnx, or an `out` that is not a bundle.
    """
    if unknown := [name for name in formats if name not in FILES]:
        raise ConfigurationError(f"no format {unknown[0]!r}; formats may have {', '.join(FILES)}")
    if "onnx" not in formats:
        raise ConfigurationError("a bundle is scored and verified with model.onnx; add onnx to formats")
    if holds_other(Path(out), verify.MANIFEST):
        raise ConfigurationError(f"{out} contains something other than a bundle; give another folder as out")
    beside = verifier_folder(out)
    if beside.exists() and not (beside / Path(verify.__file__).name).is_file():
        raise ConfigurationError(f"{beside} is not the verifier of an export; move it, or give another folder as out")


def refuse_extra(config: FeatureConfig) -> None:
    """ConfigurationError for a network with columns that only the user's own code can compute."""
    if config.extra:
        raise ConfigurationError(
            f"a bundle does not carry the code of column {config.extra[0].name!r} of data.feature.extra; score with "
            "run=, or train without it"
        )


def past_cutoffs(trained: Trained, log: EventLog, cutoff: str) -> Iterator[CutoffData]:
    """Data of a cutoff and of earlier ones, one horizon apart, down to the first day of the log.

    Parameters
    ----------
    trained : Trained
        The run.
    log : EventLog
        Event log.
    cutoff : str
        Latest cutoff, YYYY-MM-DD.

    Yields
    ------
    CutoffData
        By descending cutoff.
    """
    day, horizon = parse_cutoff(log, cutoff, trained.task.horizon)
    while day > log.first_day:
        yield trained.task.cutoff_data(log, parse_cutoff(log, to_date(day), horizon), trained.vocabulary)
        day -= horizon


def write_tables(draft: Path, trained: Trained, cutoff_data: CutoffData, valid_days: int) -> dict[str, Any]:
    """Write vocabulary, settings, tables of a cutoff, and the files that verify the bundle.

    Parameters
    ----------
    draft : Path
        Folder of the bundle.
    trained : Trained
        The run.
    cutoff_data : CutoffData
        Data of the cutoff of the tables.
    valid_days : int
        Days after the end of training.

    Returns
    -------
    dict
        First entries of the manifest.
    """
    config, horizon = trained.task.feature, trained.task.horizon
    write_arrays(draft / "tables.npz", cutoff_tables(cutoff_data))
    data = {key: value for key, value in trained.about["config"]["data"].items() if key != "log"}
    write_json(draft / "vocabulary.json", trained.vocabulary.state())
    write_json(draft / "task.json", data)
    write_verifier(draft)
    end = to_day(trained.about["end"])
    return {
        "format": verify.FORMAT,
        "data": trained.about["data"],
        "end": trained.about["end"],
        "last_label": trained.about["last_label"],
        "valid_from": to_date(cutoff_data.market_stats.cutoff.day).isoformat(),
        "valid_until": (to_date(end) + timedelta(days=valid_days)).isoformat(),
        "commit": commit(),
        "trained": {name: trained.about[name] for name in ("seed", "commit", "libraries", "cutoffs", "examples")},
        "versions": {name: version(name) for name in ("propensity", "torch", "onnx", "onnxruntime", "numpy")},
        "model": trained.about["config"]["model"],
        "features": feature_settings(config, trained.vocabulary, horizon),
    }


def write_window(draft: Path, served: Served, log: EventLog) -> dict[str, Any]:
    """Write histograms of the last training window, with which drift is measured.

    Parameters
    ----------
    draft : Path
        Folder of the bundle.
    served : Served
        The model of the bundle.
    log : EventLog
        Event log.

    Returns
    -------
    dict
        Cutoff of the window and names of the context columns.
    """
    trained = served.trained
    end, horizon = to_day(trained.about["end"]), trained.task.horizon
    cutoff_data = trained.task.cutoff_data(log, Cutoff(end - horizon, horizon), trained.vocabulary)
    arrays = drift.training_window(cutoff_data, lambda batch: served.reference(Inputs(**batch)), WINDOW, log)
    write_arrays(draft / drift.FILE, arrays)
    return {"cutoff": str(cutoff_data.market_stats.cutoff), "context": list(CONTEXT_NAMES)}


def write_golden(draft: Path, served: Served, manifest: dict[str, Any]) -> Inputs:
    """Write golden data: raw events of synthetic customers, their inputs, and the trained model's outputs.

    Parameters
    ----------
    draft : Path
        Folder of the bundle, with tables.npz.
    served : Served
        The model of the bundle.
    manifest : dict
        Receives the size of the golden data as `golden`.

    Returns
    -------
    Inputs
        The golden inputs, as the kernels compute them.
    """
    tables = verify.load_arrays(draft / "tables.npz")
    features = PointInTimeFeatures(tables, manifest["features"], served.trained.vocabulary)
    customers = golden_customers(tables, manifest["features"])
    launched = np.linspace(0, len(features.offers) - 1, min(LAUNCHED, len(features.offers))).astype(int)
    mask = HistoryMask.nothing(len(customers))._replace(launched=launched)
    golden = features.from_raw_events(customers, mask=mask)
    (draft / "golden").mkdir()
    write_json(draft / "golden/events.json", {"launched": launched.tolist(), "customers": customers})
    write_arrays(draft / "golden/inputs.npz", golden._asdict())
    write_arrays(draft / "golden/outputs.npz", served.reference(golden))
    manifest["golden"] = {"customers": len(customers), "offers": len(features.offers)}
    return golden


def headline(run: Path) -> dict[str, Any] | None:
    """Verdict and headline metrics of a run.

    Parameters
    ----------
    run : Path
        Folder of the run.

    Returns
    -------
    dict or None
        None if the run was not evaluated.
    """
    path = run / "metrics.json"
    if not path.is_file():
        return None
    metrics = json.loads(path.read_text())
    return {name: metrics[name] for name in ("verdict", "headline") if name in metrics}


def seal(draft: Path, manifest: dict[str, Any]) -> str:
    """Write the manifest with the hash of every file, and the hash of the manifest.

    Parameters
    ----------
    draft : Path
        Folder of the bundle.
    manifest : dict
        Receives the hashes as `files`.

    Returns
    -------
    str
        SHA-256 of the manifest: the digest of the bundle.
    """
    manifest["files"] = {name: verify.sha256(draft / name) for name in verify.bundle_files(draft)}
    write_json(draft / verify.MANIFEST, manifest)
    digest = verify.sha256(draft / verify.MANIFEST)
    (draft / verify.SEAL).write_text(digest + "\n")
    return digest
