"""A bundle is verified without propensity, and is refused if anything in it was changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from propensity.errors import ConfigurationError, IntegrityError
from propensity.serving import verify
from propensity.serving.bundle import open_bundle
from propensity.serving.export import seal
from propensity.serving.session import session
from serving.exported import Exported

WITHOUT_PROPENSITY = (
    "import runpy, sys; sys.modules['propensity'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run_verify(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """verify.py in an interpreter that cannot import propensity."""
    command = [sys.executable, "-c", WITHOUT_PROPENSITY, str(folder / "verify.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def bundle(exported: Exported, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(exported.bundle, tmp_path / "bundle"))


def reseal(folder: Path) -> str:
    """Compute all hashes again."""
    return seal(folder, json.loads((folder / verify.MANIFEST).read_text()))


def test_golden_rows_are_rebuilt_from_raw_events_and_replayed(exported: Exported) -> None:
    process = run_verify(exported.bundle, exported.manifest["digest"])
    assert process.returncode == 0, process.stderr
    assert "files unchanged since the export" in process.stdout
    assert "inputs computed from raw events" in process.stdout and exported.manifest["digest"] in process.stdout
    assert not list(exported.bundle.rglob("__pycache__"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


NAMES = ["model.onnx", "model.pt2", "tables.npz", "golden/outputs.npz", "vocabulary.json", "manifest.json", "inputs.py"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [flip, Path.unlink], ids=["flipped", "missing"])
def test_a_changed_or_missing_file_is_named(bundle: Path, name: str, change: Callable[[Path], None]) -> None:
    change(bundle / name)
    with pytest.raises(verify.VerificationError, match=name):
        verify.read_manifest(bundle)
    with pytest.raises(IntegrityError, match=f"{name}.*; export again$"):
        open_bundle(bundle)


def test_the_script_names_the_file_and_exits_5(bundle: Path) -> None:
    flip(bundle / "model.onnx")
    process = run_verify(bundle)
    assert process.returncode == 5 and process.stderr.strip().endswith("model.onnx was changed; export again")


def test_an_additional_file_or_another_format_is_refused(bundle: Path) -> None:
    (bundle / "more.bin").write_text("x")
    with pytest.raises(
        verify.VerificationError, match="more.bin is not part of the bundle; remove it or export again$"
    ):
        verify.read_manifest(bundle)
    (bundle / "more.bin").unlink()
    manifest = json.loads((bundle / verify.MANIFEST).read_text())
    seal(bundle, manifest | {"format": 0})
    with pytest.raises(IntegrityError, match="has format 0, not 3; export again$"):
        open_bundle(bundle)


def weight_names(folder: Path) -> list[str]:
    model = onnx.load(folder / "model.onnx")
    return [each.name for each in model.graph.initializer if numpy_helper.to_array(each).dtype == np.float32]


def change_weight(folder: Path, name: str) -> None:
    """Change one weight tensor of the model."""
    model = onnx.load(folder / "model.onnx")
    for each in model.graph.initializer:
        if each.name == name:
            each.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each) * 1.05 + 0.05, name))
    onnx.save(model, folder / "model.onnx")


def test_a_changed_weight_with_recomputed_hashes_is_refused(bundle: Path) -> None:
    names = [name for name in weight_names(bundle) if name.startswith("model.members")]
    assert len(names) > 20
    untouched = (bundle / "model.onnx").read_bytes()
    for name in names[:: len(names) // 12]:
        (bundle / "model.onnx").write_bytes(untouched)
        change_weight(bundle, name)
        reseal(bundle)
        with pytest.raises(IntegrityError, match=r"model.onnx differs by .* from golden/outputs.npz"):
            open_bundle(bundle)
    process = run_verify(bundle)
    assert process.returncode == 5 and "model.onnx differs by" in process.stderr


def test_replaced_golden_outputs_are_detected_by_the_digest(bundle: Path, exported: Exported) -> None:
    change_weight(bundle, weight_names(bundle)[0])
    outputs = verify.run_session(session(bundle / "model.onnx"), verify.load_arrays(bundle / "golden/inputs.npz"))
    np.savez_compressed(bundle / "golden/outputs.npz", **outputs)
    reseal(bundle)
    process = run_verify(bundle, exported.manifest["digest"])
    assert process.returncode == 5 and "this is another bundle" in process.stderr
    with pytest.raises(IntegrityError, match="this is another bundle"):
        open_bundle(bundle, exported.manifest["digest"])


def test_a_changed_golden_event_is_detected(bundle: Path) -> None:
    path = bundle / "golden/events.json"
    golden = json.loads(path.read_text())
    golden["customers"][1][0]["revenue"] = 99.0
    path.write_text(json.dumps(golden))
    reseal(bundle)
    process = run_verify(bundle)
    assert process.returncode == 5 and "golden/inputs.npz differs by" in process.stderr


def test_a_pickle_in_place_of_arrays_is_not_loaded(bundle: Path) -> None:
    import pickle

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (bundle.parent / "executed",)

    (bundle / "golden/outputs.npz").write_bytes(pickle.dumps(Payload()))
    np.save(bundle.parent / "objects.npy", np.array([Payload()], object), allow_pickle=True)
    reseal(bundle)
    with pytest.raises(IntegrityError, match="is not an archive of plain arrays"):
        open_bundle(bundle)
    assert not (bundle.parent / "executed").exists()


def test_a_target_outside_the_data_layer_is_not_called(bundle: Path) -> None:
    config = json.loads((bundle / "task.json").read_text())
    config["weight"] = {"_target_": "os.system", "command": "true"}
    (bundle / "task.json").write_text(json.dumps(config))
    reseal(bundle)
    with pytest.raises(IntegrityError, match="asks for os.system, which is not ours to call"):
        open_bundle(bundle)


def test_a_missing_bundle_has_an_error_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no bundle at .*; make one with propensity export"):
        open_bundle(tmp_path / "none")
    (tmp_path / "model.onnx").write_text("truncated")
    with pytest.raises(IntegrityError, match="manifest.json is missing; export again$"):
        open_bundle(tmp_path)
