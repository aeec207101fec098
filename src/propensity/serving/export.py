"""Exports a training run to a bundle: one folder that scores without the training framework and can be verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from propensity.atomic import whole_folder
from propensity.audit import append_beside
from propensity.baseline.regression import logistic
from propensity.champion.champion import NETWORK, Champion
from propensity.champion.model_name import served_in_text
from propensity.champion.served import champion_outputs, network_outputs
from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff, parse_cutoff
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.feature.column import CONTEXT_NAMES
from propensity.feature.features import FeatureConfig
from propensity.feature.history_mask import HistoryMask
from propensity.kernel import reference
from propensity.model.offer_net import OfferNet
from propensity.serving import drift, inputs, pair_scorer, verify
from propensity.serving.candidates import combination_of, is_network
from propensity.serving.champion import Combination, CombinationGraph
from propensity.serving.golden import golden_customers
from propensity.serving.graph import (
    PartsGraph,
    ScoringGraph,
    can_fuse,
    output_names,
    pair_weights,
    run_network,
    trace,
    write_onnx,
    write_torch,
)
from propensity.serving.own_log import log_record
from propensity.serving.parity import Parity, compare_top_k, edge_cases
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings, never_bought_columns
from propensity.serving.session import session
from propensity.serving.tree_inputs import insert_trees
from propensity.serving.tree_kernel import write_trees
from propensity.serving.verify import NETWORK_OUTPUTS, OUTPUTS
from propensity.task import CutoffData
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.run import commit

FILES = {"onnx": "model.onnx", "torch_export": "model.pt2"}
LAUNCHED = 3  # offers of the golden inputs that are treated as new, so that the embedding of unknown offers is tested
BLOCK = 64
WINDOW = 20_000  # customers of the training window whose inputs are counted
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


class Served(NamedTuple):
    """What a bundle serves.

    Attributes
    ----------
    trained : Trained
        The run, with its network.
    combination : Combination or None
        The champion as a graph; None if it is the network.
    reference : callable
        Maps `Inputs` to outputs by name, by the libraries that trained the model: what exported files must equal.
    names : tuple of str
        Names of the outputs.
    about : dict
        Name of the champion, the reason, candidates and weights, for the manifest.
    """

    trained: Trained
    combination: Combination | None
    reference: Callable[[Inputs], dict[str, np.ndarray]]
    names: tuple[str, ...]
    about: dict[str, Any]

    def uses_network(self) -> bool:
        """Whether the scores depend on the network."""
        return self.combination is None or self.combination.mixture.uses(NETWORK)


def served_model(trained: Trained, champion: Champion) -> Served:
    """The model that a bundle serves.

    Parameters
    ----------
    trained : Trained
        The run.
    champion : Champion
        The champion of the run.

    Returns
    -------
    Served
        With a reference that computes the champion without any exported graph.
    """
    channels, pure = len(trained.vocabulary.sold_through) > 1, is_network(champion)
    network = partial(run_network, ScoringGraph(trained.model).eval(), names=output_names(channels, False))
    record = champion.record()
    about = {"name": record.pop("champion"), "uses": [NETWORK], **record}
    if pure:
        return Served(trained, None, network, output_names(channels, False), about)
    past_column = trained.task.feature.pair.index("purchase_days")

    def reference(inputs: Inputs) -> dict[str, np.ndarray]:
        outputs = network(inputs)
        terms = network_outputs(trained.model, inputs)
        logit, amount = champion_outputs(champion, inputs, terms, past_column)
        probability = logistic(logit)
        scores = {"probability": probability, "expected_revenue": probability * amount}
        own = dict(zip(NETWORK_OUTPUTS, (outputs[name] for name in scores), strict=True))
        return outputs | {name: array.astype(np.float32) for name, array in scores.items()} | own

    combination = combination_of(champion, past_column)
    about["uses"] = [name for name in combination.mixture.candidates if combination.mixture.uses(name)]
    return Served(trained, combination, reference, output_names(channels, True), about)


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
    folder = Path(out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / verify.MANIFEST).is_file()):
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


def write_scoring_onnx(served: Served, path: Path, golden: Inputs) -> None:
    """Write the whole model as ONNX.

    Parameters
    ----------
    served : Served
        The model of the bundle.
    path : Path
        File to write.
    golden : Inputs
        Example inputs for tracing.
    """
    graph = ScoringGraph(served.trained.model, served.combination)
    write_onnx(trace(graph, golden, len(graph.tree_inputs)), path, served.names, graph.tree_inputs)
    if served.combination is not None:
        insert_trees(path, served.combination.tree_inputs)


def write_scoring_torch(served: Served, path: Path, golden: Inputs) -> None:
    """Write the whole model as torch.export writes it, with trees as tensors.

    Parameters
    ----------
    served, path, golden
        See `write_scoring_onnx`.
    """
    write_torch(trace(ScoringGraph(served.trained.model, served.combination, torch_trees=True), golden), path)


def write_pair_scorer(draft: Path, served: Served, golden: Inputs) -> None:
    """Write the files that score blocks of customers faster than the whole graph, where they can.

    Parameters
    ----------
    draft : Path
        Folder of the bundle.
    served : Served
        The model of the bundle.
    golden : Inputs
        Example inputs for tracing.

    Notes
    -----
    A network for which `can_fuse` is true is written as parts, unless the champion does not use it. A champion other
    than the network is written as a graph without it.
    """
    model, combination = served.trained.model, served.combination
    fusable = can_fuse(model)
    if fusable and served.uses_network():
        write_onnx(trace(PartsGraph(cast(OfferNet, model)), golden), draft / pair_scorer.GRAPH, pair_scorer.PARTS)
        write_arrays(draft / pair_scorer.WEIGHTS, pair_weights(cast(OfferNet, model)))
    if combination is not None and (fusable or not served.uses_network()):
        program = trace(CombinationGraph(combination), golden, len(combination.extra_inputs))
        write_onnx(program, draft / pair_scorer.CHAMPION, OUTPUTS[:2], combination.extra_inputs)
        if not write_trees(draft, combination.tree_inputs):
            insert_trees(draft / pair_scorer.CHAMPION, combination.tree_inputs)


def measure_parity(
    draft: Path,
    served: Served,
    formats: Sequence[str],
    golden: Inputs,
    first: CutoffData,
    earlier: Iterator[CutoffData],
    rows: int,
) -> Parity:
    """Compare the exported files, as written, with the trained model on golden and real customers.

    Parameters
    ----------
    draft : Path
        Folder of the bundle.
    served : Served
        The model of the bundle.
    formats : sequence of str
        Exported formats.
    golden : Inputs
        Inputs of the golden customers.
    first : CutoffData
        Data of the latest cutoff, on which the best customers of each offer are compared too.
    earlier : iterator of CutoffData
        Data of earlier cutoffs.
    rows : int
        Real customers to compare, counted once per cutoff.

    Returns
    -------
    Parity
        Differences by format. `rows` and `pairs` count real customers only.

    Raises
    ------
    GateError
        If a format differs by more than the tolerance.
    """
    reference, names = served.reference, served.names
    models: dict[str, Any] = {"onnx": partial(_run_onnx, session(draft / FILES["onnx"]))}
    if "torch_export" in formats:
        graph = torch.export.load(draft / FILES["torch_export"]).module()
        models["torch_export"] = partial(run_network, graph, names=names)
    if (scorer := pair_scorer.fast_scorer(draft, never_bought_columns(served.trained.task.feature))) is not None:
        models["fused"] = lambda batch: dict(zip(OUTPUTS, scorer(batch._asdict()), strict=False))
    parity = Parity()
    for description, batch in edge_cases(golden):
        parity.compare(reference, models, batch, description)
    parity = Parity(max_difference=parity.max_difference)  # from here on, rows and pairs count real customers
    expected, *others = score_matrices((reference, *models.values()), first)
    for name, actual in zip(models, others, strict=True):
        parity.top_k_swaps[name] = compare_top_k(expected, actual)
    for cutoff_data in (first, *earlier) if rows > 0 else ():
        cutoff = cutoff_data.market_stats.cutoff
        for block, batch in cutoff_data.blocks(BLOCK):
            parity.compare(reference, models, batch, f"customers {block.start} to {block.stop} at {cutoff}")
            if parity.rows >= rows:
                return parity
    return parity


def _run_onnx(running: Any, batch: Inputs) -> dict[str, np.ndarray]:
    """Outputs of an ONNX session for a batch."""
    return verify.run_session(running, batch._asdict())


def score_matrices(models: Sequence[Any], cutoff_data: CutoffData) -> list[np.ndarray]:
    """Probabilities of all customers at a cutoff by several models.

    Parameters
    ----------
    models : sequence of callable
        Map `Inputs` to outputs by name.
    cutoff_data : CutoffData
        Data of the cutoff.

    Returns
    -------
    list of ndarray of shape (N, M)
        One matrix per model.
    """
    blocks = [[model(batch)["probability"] for model in models] for _, batch in cutoff_data.blocks(BLOCK)]
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


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


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a compressed .npz file.

    Parameters
    ----------
    path : Path
        File to write.
    arrays : mapping of str to ndarray
        Arrays by name.
    """
    content: dict[str, Any] = dict(arrays)
    np.savez_compressed(path, **content)


def write_json(path: Path, content: Any) -> None:
    """Write an indented JSON file.

    Parameters
    ----------
    path : Path
        File to write.
    content : Any
        Serialisable content.
    """
    path.write_text(json.dumps(content, indent=1) + "\n")
