"""A bundle proves itself where propensity is not installed, and is refused once anything about it was changed."""

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

LONE = (
    "import runpy, sys; sys.modules['propensity'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def checked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """verify.py in an interpreter that cannot import propensity."""
    command = [sys.executable, "-c", LONE, str(folder / "verify.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def bundle(exported: Exported, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(exported.bundle, tmp_path / "bundle"))


def resealed(folder: Path) -> str:
    """All hashes redone."""
    return seal(folder, json.loads((folder / verify.MANIFEST).read_text()))


def test_golden_rows_are_rebuilt_from_raw_events_and_replayed(exported: Exported) -> None:
    done = checked(exported.bundle, exported.about["digest"])
    assert done.returncode == 0, done.stderr
    assert "files as exported; golden rows of" in done.stdout
    assert "of inputs made from raw events" in done.stdout and exported.about["digest"] in done.stdout
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
    with pytest.raises(verify.RefusedError, match=name):
        verify.manifest(bundle)
    with pytest.raises(IntegrityError, match=f"{name}.*; export again"):
        open_bundle(bundle)


def test_the_script_names_it_and_exits_5(bundle: Path) -> None:
    flip(bundle / "model.onnx")
    done = checked(bundle)
    assert done.returncode == 5 and done.stderr.strip().endswith("model.onnx was changed")


def test_what_does_not_belong_and_what_is_older_is_refused(bundle: Path) -> None:
    (bundle / "more.bin").write_text("x")
    with pytest.raises(verify.RefusedError, match="more.bin does not belong to the bundle"):
        verify.manifest(bundle)
    (bundle / "more.bin").unlink()
    about = json.loads((bundle / verify.MANIFEST).read_text())
    seal(bundle, about | {"format": 0})
    with pytest.raises(IntegrityError, match="has format 0, not 2; export again"):
        open_bundle(bundle)


def weights(folder: Path) -> list[str]:
    model = onnx.load(folder / "model.onnx")
    return [each.name for each in model.graph.initializer if numpy_helper.to_array(each).dtype == np.float32]


def changed(folder: Path, name: str) -> None:
    """Adds to one weight tensor of the model."""
    model = onnx.load(folder / "model.onnx")
    for each in model.graph.initializer:
        if each.name == name:
            each.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each) * 1.05 + 0.05, name))
    onnx.save(model, folder / "model.onnx")


def test_a_changed_weight_with_all_hashes_redone_is_refused(bundle: Path) -> None:
    names = [name for name in weights(bundle) if name.startswith("model.members")]
    assert len(names) > 20
    untouched = (bundle / "model.onnx").read_bytes()
    for name in names[:: len(names) // 12]:
        (bundle / "model.onnx").write_bytes(untouched)
        changed(bundle, name)
        resealed(bundle)
        with pytest.raises(IntegrityError, match=r"model.onnx differs by .* from golden/outputs.npz"):
            open_bundle(bundle)
    done = checked(bundle)
    assert done.returncode == 5 and "model.onnx differs by" in done.stderr


def test_who_redoes_the_outputs_too_is_told_by_the_digest(bundle: Path, exported: Exported) -> None:
    changed(bundle, weights(bundle)[0])
    outputs = verify.answer(session(bundle / "model.onnx"), verify.arrays(bundle / "golden/inputs.npz"))
    np.savez_compressed(bundle / "golden/outputs.npz", **outputs)
    resealed(bundle)
    done = checked(bundle, exported.about["digest"])
    assert done.returncode == 5 and "this is another bundle" in done.stderr
    with pytest.raises(IntegrityError, match="this is another bundle"):
        open_bundle(bundle, exported.about["digest"])


def test_a_changed_golden_event_is_noticed(bundle: Path) -> None:
    path = bundle / "golden/events.json"
    golden = json.loads(path.read_text())
    golden["customers"][1][0]["revenue"] = 99.0
    path.write_text(json.dumps(golden))
    resealed(bundle)
    done = checked(bundle)
    assert done.returncode == 5 and "golden/inputs.npz differs by" in done.stderr


def test_a_pickle_in_place_of_arrays_is_never_opened(bundle: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (bundle.parent / "sprung",)

    (bundle / "golden/outputs.npz").write_bytes(pickle.dumps(Trap()))
    np.save(bundle.parent / "objects.npy", np.array([Trap()], object), allow_pickle=True)
    resealed(bundle)
    with pytest.raises(IntegrityError, match="holds no plain arrays"):
        open_bundle(bundle)
    assert not (bundle.parent / "sprung").exists()


def test_a_foreign_target_is_never_called(bundle: Path) -> None:
    config = json.loads((bundle / "task.json").read_text())
    config["weight"] = {"_target_": "os.system", "command": "true"}
    (bundle / "task.json").write_text(json.dumps(config))
    resealed(bundle)
    with pytest.raises(IntegrityError, match="asks for os.system, which is not ours to call"):
        open_bundle(bundle)


def test_no_bundle_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no bundle at .*; make one with propensity export"):
        open_bundle(tmp_path / "none")
    (tmp_path / "model.onnx").write_text("cut short")
    with pytest.raises(IntegrityError, match="manifest.json is missing"):
        open_bundle(tmp_path)
