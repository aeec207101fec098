"""Nothing of a foreign run, bundle or folder of scores is called or imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propensity.decision.history import purchase_history_of
from propensity.errors import DataError, IntegrityError
from propensity.ingest.provenance import log_folder
from propensity.serving import verify
from propensity.serving.bundle import open_bundle
from propensity.serving.export import seal, verifier_folder
from propensity.training.checkpoint import FILE, load_trained
from serving.exported import Exported


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marker") / "executed"


def payloads(marker: Path) -> list[Any]:
    """Configurations that would make the marker if anything of them were called."""
    call = {"_target_": "pathlib.Path.write_text", "_args_": [str(marker), "x"]}
    folder = {"_target_": "propensity.data.column_store.ColumnFiles", "folder": str(marker), "columns": {}}
    copy = {"_target_": "shutil.copyfile", "src": __file__, "dst": str(marker)}
    words = f"${{oc.create:{{_target_:os.mkdir,path:'{marker}'}}}}"
    return [call, folder, copy, words, {"_target_": "torch.load", "f": str(marker), "weights_only": False}]


WRAPS: list[Callable[[Any], Any]] = [
    lambda part: part,
    lambda part: [part],
    lambda part: (part,),
    lambda part: {"a": ({"b": [part]},)},
    lambda part: OrderedDict(a=part),
    lambda part: {"_target_": "propensity.feature.weight.Even", "a": (part,)},
]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_checkpoint_calls_nothing_that_its_configuration_names(
    data: st.DataObject, exported: Exported, tmp_path_factory: pytest.TempPathFactory, marker: Path
) -> None:
    folder = tmp_path_factory.mktemp("run")
    content = torch.load(exported.run / FILE, weights_only=True)
    part = data.draw(st.sampled_from(payloads(marker)))
    for wrap in data.draw(st.lists(st.sampled_from(WRAPS), max_size=3)):
        part = wrap(part)
    group = data.draw(st.sampled_from(["data", "model", "logger", "callbacks", "trainer"]))
    content["about"]["config"][group][data.draw(st.sampled_from(["weight", "encoder", "extra"]))] = part
    torch.save(content, folder / FILE)
    with pytest.raises(IntegrityError, match="model.ckpt"):
        load_trained(folder)
    assert not marker.exists()


def test_a_listed_class_at_the_wrong_place_of_a_checkpoint_is_not_built(exported: Exported, tmp_path: Path) -> None:
    for group, key in (("data", "weight"), ("model", "encoder")):
        content = torch.load(exported.run / FILE, weights_only=True)
        part = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(tmp_path / "x")}
        content["about"]["config"][group][key] = part
        torch.save(content, tmp_path / FILE)
        with pytest.raises(IntegrityError, match="asks for lightning.pytorch.loggers.CSVLogger"):
            load_trained(tmp_path)


@pytest.mark.parametrize("about", [None, [], {}, {"config": None}, {"config": {"data": 1}}])
def test_a_checkpoint_without_a_configuration_is_a_data_error(about: Any, exported: Exported, tmp_path: Path) -> None:
    content = torch.load(exported.run / FILE, weights_only=True)
    torch.save(content | {"about": about}, tmp_path / FILE)
    with pytest.raises(DataError, match="holds no configuration of a run"):
        load_trained(tmp_path)


@pytest.fixture
def bundle(exported: Exported, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported.bundle, tmp_path / "bundle"))


def reseal(folder: Path) -> str:
    return seal(folder, json.loads((folder / verify.MANIFEST).read_text()))


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("wrap", [0, 1])
def test_a_bundle_calls_nothing_that_its_task_names(bundle: Path, marker: Path, kind: int, wrap: int) -> None:
    config = json.loads((bundle / "task.json").read_text())
    config["weight"] = WRAPS[wrap](payloads(marker)[kind])
    (bundle / "task.json").write_text(json.dumps(config))
    reseal(bundle)
    with pytest.raises(IntegrityError, match="task.json"):
        open_bundle(bundle)
    assert not marker.exists()


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("wrap", [0, 1])
def test_scores_call_nothing_that_the_configuration_beside_them_names(
    exported: Exported, tmp_path: Path, marker: Path, kind: int, wrap: int
) -> None:
    config = yaml.safe_load((exported.run / "config.yaml").read_text())
    config["data"]["weight"] = WRAPS[wrap](payloads(marker)[kind])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(IntegrityError, match="config.yaml"):
        log_folder(tmp_path / "config.yaml")
    with pytest.raises(IntegrityError, match="config.yaml"):
        purchase_history_of(tmp_path / "config.yaml", None, exported.cutoff, print)
    assert not marker.exists()


def verifier(bundle: Path) -> Path:
    return verifier_folder(bundle) / "verify.py"


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300, cwd=cwd)


def test_the_copy_outside_verifies_a_bundle_isolated(exported: Exported) -> None:
    process = run("-I", verifier(exported.bundle), exported.bundle, exported.manifest["digest"])
    assert process.returncode == 0, process.stderr
    assert "files unchanged since the export" in process.stdout and "lies in the bundle" not in process.stdout
    assert not list(verifier_folder(exported.bundle).rglob("__pycache__"))


PLANTED = [
    "hashlib.py",
    "json.py",
    "__future__.py",
    "re.py",
    "numpy.py",
    "onnxruntime.py",
    "pathlib.py",
    "propensity.py",
]


def test_no_module_that_lies_in_a_bundle_is_imported(bundle: Path, exported: Exported, marker: Path) -> None:
    for name in PLANTED:
        (bundle / name).write_text(f"open({str(marker)!r}, 'w')\n")
        (bundle / name.removesuffix(".py")).mkdir()
        (bundle / name.removesuffix(".py") / "__init__.py").write_text(f"open({str(marker)!r}, 'w')\n")
    for sealed in (False, True):
        if sealed:  # what the manifest lists is no code of the verifier's either
            reseal(bundle)
        for command in (("-I", verifier(exported.bundle), bundle), (bundle / "verify.py",), ("verify.py",)):
            process = run(*command, cwd=bundle)
            assert process.returncode == (0 if sealed else 5), process.stderr
            assert not marker.exists()


def test_code_of_a_bundle_is_not_run_by_the_copy_outside(bundle: Path, exported: Exported, marker: Path) -> None:
    for name in ("inputs.py", "reference.py", "verify.py"):
        (bundle / name).write_text(f"open({str(marker)!r}, 'w')\n")
    reseal(bundle)
    process = run("-I", verifier(exported.bundle), bundle)
    assert process.returncode == 0 and not marker.exists()
    process = run("-I", verifier(exported.bundle), bundle, exported.manifest["digest"])
    assert process.returncode == 5 and "this is another bundle" in process.stderr


def link(folder: Path) -> Path:
    os.symlink("/etc/hostname", folder / "more.txt")
    return folder / "more.txt"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "more")
    return folder / "more"


def cache(folder: Path) -> Path:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/inputs.cpython-311.pyc").write_bytes(b"x")
    return folder / "__pycache__"


def empty(folder: Path) -> Path:
    (folder / "golden/more").mkdir()
    return folder / "golden/more"


def linked(folder: Path) -> Path:
    shutil.move(folder / "tables.npz", folder.parent / "tables.npz")
    os.symlink(folder.parent / "tables.npz", folder / "tables.npz")
    return folder / "tables.npz"


@pytest.mark.parametrize("add", [link, pipe, cache, empty, linked])
def test_every_other_entry_of_a_bundle_is_refused(bundle: Path, add: Callable[[Path], Path]) -> None:
    place = add(bundle)
    with pytest.raises(verify.VerificationError, match=place.name):
        verify.read_manifest(bundle)
    with pytest.raises(IntegrityError, match=place.name):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "golden", "golden/../tables.npz", ""])
def test_a_manifest_lists_files_of_the_bundle_only(bundle: Path, name: str) -> None:
    (bundle.parent / "outside").write_text("x")
    manifest = json.loads((bundle / verify.MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    rewrite(bundle, json.dumps(manifest))
    with pytest.raises(verify.VerificationError, match="is missing"):
        verify.read_manifest(bundle)


def rewrite(bundle: Path, text: str) -> None:
    (bundle / verify.MANIFEST).write_text(text)
    (bundle / verify.SEAL).write_text(verify.sha256(bundle / verify.MANIFEST) + "\n")


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"format": 3}', '{"format": 3, "files": {"a": 1}}'])
def test_a_manifest_of_another_kind_is_refused(bundle: Path, text: str) -> None:
    rewrite(bundle, text)
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        open_bundle(bundle)
    assert run("-I", verify.__file__, bundle).returncode == 5


@pytest.mark.parametrize("name", ["model.onnx", "golden/events.json", "golden/inputs.npz", "tables.npz"])
def test_a_file_of_another_kind_with_recomputed_hashes_is_refused_by_the_script(
    bundle: Path, exported: Exported, name: str
) -> None:
    for content in ("{}", None):
        (bundle / name).unlink() if content is None else (bundle / name).write_text(content)
        reseal(bundle)
        process = run("-I", verifier(exported.bundle), bundle)
        assert process.returncode == 5 and process.stderr.startswith("propensity: "), process.stderr
