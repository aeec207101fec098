"""An exported bundle has the outputs of the trained network, or is not written."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from propensity.config import conf_folder
from propensity.data.batch import Inputs, Sizes
from propensity.errors import ConfigurationError, GateError
from propensity.feature.column import CONTEXT, block_sizes
from propensity.feature.features import FeatureConfig
from propensity.serving import model_file as module
from propensity.serving.export import export
from propensity.serving.graph import ScoringGraph, run_network, trace, write_onnx
from propensity.serving.parity import Parity, compare_top_k
from propensity.serving.session import session
from propensity.serving.verify import max_difference, run_session
from serving.exported import Exported

ENCODERS = sorted(path.stem for path in (conf_folder() / "model/encoder").glob("*.yaml"))
QUICK = ("gru", "hstu", "linear_recurrence", "none")  # the others take as long and are among the slow tests
CONFIG = FeatureConfig()
PAIR, CUSTOMER, CONTEXT_BLOCK = (block_sizes(columns) for columns in CONFIG.columns.values())
SIZES = Sizes((5, 7), 5, 3, PAIR._replace(within_offer=True), CUSTOMER, CONTEXT_BLOCK, 9, 6, 4, (1, 2))


def random_inputs(customers: int, events: int, offers: int) -> Inputs:
    """Random inputs; the first customer has no history, and some columns are missing."""
    random = np.random.default_rng(customers + 100 * events)
    pair = random.random((customers, offers, len(CONFIG.pair)), np.float32) * 9
    pair[:, ::2, CONFIG.pair.index("recency")] = np.nan
    length = random.integers(0, events + 1, customers)
    length[0] = 0
    codes: dict[str, Any] = {
        name: random.integers(0, 3, (customers, events)).astype(np.int32) for name in ("kind", "channel")
    }
    numbers: dict[str, Any] = {name: random.random((customers, events), np.float32) * 90 for name in ("age", "amount")}
    arrays: dict[str, Any] = {
        "token": random.integers(0, 5, (customers, events, 2)).astype(np.int32),
        "length": length,
        "pair": pair,
        "customer_features": random.random((customers, len(CONFIG.customer)), np.float32),
        "context": random.random((offers, len(CONTEXT)), np.float32),
        "season": random.random(9, np.float32),
        "offer": random.integers(0, 6, offers),
        "attribute": random.random((offers, 4), np.float32),
        "standardisation": random.random((offers, 2, len(CONFIG.pair)), np.float32),
    }
    return Inputs(**arrays, **codes, **numbers)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS]
)
def test_every_encoder_exports_with_dynamic_shapes(name: str, composed: Callable[..., Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = composed("train", f"model/encoder={name}", "model.members=1", "model.width=8")
    model = instantiate(cfg.model, sizes=SIZES).eval()
    program = trace(ScoringGraph(model), random_inputs(3, 7, 1 if name == "none" else 5))  # also of a single offer
    write_onnx(program, tmp_path / "model.onnx")
    running, graph, network = session(tmp_path / "model.onnx"), program.module(), ScoringGraph(model)
    for customers, events, offers in ((1, 7, 5), (3, 1, 2), (64, 9, 1), (2, 128, 3)):
        inputs = random_inputs(customers, events, offers)
        expected = run_network(network, inputs)
        for outputs in (run_session(running, inputs._asdict()), run_network(graph, inputs)):
            assert max(max_difference(outputs[each], expected[each]) for each in expected) < 1e-5


def test_the_bundle_is_complete_and_has_no_pickled_object(exported: Exported) -> None:
    names = {path.relative_to(exported.bundle).as_posix() for path in exported.bundle.rglob("*") if path.is_file()}
    assert names == set(exported.manifest["files"]) | {"manifest.json", "manifest.sha256"}
    assert {"model.onnx", "model.pt2", "vocabulary.json", "tables.npz", "verify.py", "golden/events.json"} <= names
    with zipfile.ZipFile(exported.bundle / "model.pt2") as archive:
        for entry in archive.infolist():
            assert not (entry.filename.endswith(".pt") and entry.file_size), entry.filename
    for path in exported.bundle.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as content:
            assert all(content[name].dtype != object for name in content.files)


def test_the_manifest_records_the_parity(exported: Exported) -> None:
    parity = exported.manifest["parity"]
    assert parity["rows"] >= 300
    assert set(parity["max_difference"]) == {"onnx", "torch_export", "fused"}
    assert max(parity["max_difference"].values()) <= 1e-5
    assert {"data", "end", "valid_until", "commit", "versions", "metrics"} <= set(exported.manifest)


def test_a_model_that_differs_from_the_network_is_not_written(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tampered(program: torch.export.ExportedProgram, path: Path, *names: Any) -> None:
        name = next(name for name in program.state_dict if name.endswith("offer.name.weight"))
        program.state_dict[name].data.add_(0.01)
        write_onnx(program, path, *names)
        program.state_dict[name].data.sub_(0.01)

    monkeypatch.setattr(module, "write_onnx", tampered)
    with pytest.raises(GateError, match="onnx differs by .* from the trained model on golden rows in batches of 1"):
        export(exported.run, tmp_path / "bundle", ["onnx"], None, None, 10, 180, lambda text: None)
    assert not list(tmp_path.iterdir())


def test_the_best_customers_may_differ_only_by_ties() -> None:
    score = np.linspace(0, 1, 40)[:, None]
    assert compare_top_k(score, score, top=10) == 0
    tied = score.copy()
    tied[29], tied[30] = score[30] + 1e-7, score[30]
    assert compare_top_k(np.where(score == score[29], score[30] - 1e-7, score), tied, top=10) == 1
    with pytest.raises(GateError, match="the best 10 customers of an offer differ by more than ties"):
        compare_top_k(score, score[::-1], top=10)


def test_parity_names_the_batch_that_differs() -> None:
    inputs = random_inputs(2, 3, 2)
    models = [lambda batch, p=p: {"probability": np.full((2, 2), p, np.float32)} for p in (0.1, 0.1002)]
    with pytest.raises(GateError, match="onnx differs by 0.0002 from the trained model on this batch, more than 1e-05"):
        Parity().compare(models[0], {"onnx": models[1]}, inputs, "this batch")


def test_invalid_export_requests_are_refused(exported: Exported, tmp_path: Path) -> None:
    def request(out: Path, formats: list[str]) -> None:
        export(exported.run, out, formats, None, None, 10, 180, lambda text: None)

    with pytest.raises(ConfigurationError, match="no format 'h5'; formats may have onnx, torch_export"):
        request(tmp_path / "bundle", ["onnx", "h5"])
    with pytest.raises(ConfigurationError, match="scored and verified with model.onnx; add onnx to formats"):
        request(tmp_path / "bundle", ["torch_export"])
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(ConfigurationError, match="contains something other than a bundle; give another folder as out"):
        request(tmp_path, ["onnx"])
