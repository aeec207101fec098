"""Verifies a bundle: every file has the hash of the export, and the model reproduces the trained network's outputs.

    python -I verifier/verify.py bundle           needs NumPy and ONNX Runtime, nothing else
    python -I verifier/verify.py bundle DIGEST    also compares the digest with the one that the export printed

Run it from a copy outside the bundle, which `propensity export` writes to `<bundle>.verifier`: a copy inside a bundle
is as trustworthy as the bundle. Nothing of the bundle is imported; its files are read as data, and only those that its
manifest lists. A bundle that differs ends with exit code 5 and the name of the file. If a weight is changed and all
hashes are recomputed, the model no longer reproduces the golden outputs, which the trained network computed before the
export. If the golden outputs are replaced too, only a digest that is stored elsewhere shows the difference.

The file imports nothing of the package, because it is copied beside bundles; it reads and hashes files by itself.
"""

# No import before the next two statements, not even of __future__: Python searches the folder of a script first, and
# this one may lie in a bundle that holds a module of the same name.
import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]
    sys.path[:] = [entry for entry in sys.path if entry and entry != __file__.rpartition("/")[0]]
    sys.dont_write_bytecode = True

import hashlib
import json
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

FORMAT = 3
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
TOLERANCE = 1e-5  # absolute for probabilities; relative for expected revenues above 1
NETWORK_OUTPUTS = ("network_probability", "network_expected_revenue")  # if the champion is not the network alone
NETWORK_INPUTS = ("network_logit", "network_log_amount")  # of champion.onnx, if the champion uses the network
SMALLEST = 1e-30  # revenue whose logarithm is taken for 0
RATIO, FREE_BYTES = 200, 256 << 20  # an archive of arrays unfolds to RATIO times its size, or to FREE_BYTES
OUTPUTS = ("probability", "expected_revenue", "visit", "channel_share", *NETWORK_OUTPUTS)


class VerificationError(Exception):
    """A bundle differs from what was exported; the message names the file and says what to do."""


def sha256(path: Path) -> str:
    """Hash of a file.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    str
        SHA-256 as 64 hexadecimal digits.
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def bundle_entries(folder: Path) -> Iterator[tuple[str, bool]]:
    """Every entry of a bundle except its manifest and the manifest's hash; links are not followed.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.

    Yields
    ------
    name : str
        Path inside the bundle, with forward slashes, in sorted order.
    is_folder : bool
        Whether it is a folder rather than a file.

    Raises
    ------
    VerificationError
        For a link, a pipe or another entry that is neither a file nor a folder.
    """
    for path in sorted(folder.rglob("*")):
        mode, name = path.lstat().st_mode, path.relative_to(folder).as_posix()
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise VerificationError(f"{path} is a link or no regular file; remove it or export again")
        if name not in (MANIFEST, SEAL):
            yield name, stat.S_ISDIR(mode)


def bundle_files(folder: Path) -> Iterator[str]:
    """Files of a bundle, without its manifest and the manifest's hash.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.

    Yields
    ------
    str
        Path inside the bundle, with forward slashes, in sorted order.
    """
    for name, is_folder in bundle_entries(folder):
        if not is_folder:
            yield name


def read_manifest(folder: Path, digest: str | None = None) -> dict[str, Any]:
    """Read the manifest and compare every entry of the folder with it.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    digest : str, optional
        Required SHA-256 of the manifest, as the export printed it.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    VerificationError
        For a missing, changed or additional entry, another format or another digest.
    """
    for name in (MANIFEST, SEAL):
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise VerificationError(f"{folder / name} is missing; export again")
    actual = sha256(folder / MANIFEST)
    if actual.encode() != (folder / SEAL).read_bytes()[:100].strip():
        raise VerificationError(f"{folder / MANIFEST} was changed: its hash is not the one in {SEAL}; export again")
    if digest is not None and actual != digest:
        raise VerificationError(
            f"{folder / MANIFEST} has digest {actual}, not {digest}: "
            "this is another bundle; use the bundle with that digest"
        )
    manifest = _json_object(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise VerificationError(f"{folder / MANIFEST} has format {manifest.get('format')}, not {FORMAT}; export again")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(each, str) for each in files.values()):
        raise VerificationError(f"{folder / MANIFEST} lists no files; export again")
    parents = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    present = dict(bundle_entries(folder))
    for name, expected in files.items():
        if present.get(name, True):
            raise VerificationError(f"{folder / name} is missing; export again")
        if sha256(folder / name) != expected:
            raise VerificationError(f"{folder / name} was changed; export again")
    for name, is_folder in present.items():
        if name not in (parents if is_folder else files):
            raise VerificationError(f"{folder / name} is not part of the bundle; remove it or export again")
    return manifest


def _json_object(path: Path) -> dict[str, Any]:
    """A JSON object in a file; VerificationError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VerificationError(f"{path} is no JSON ({type(error).__name__}); export again") from None
    if not isinstance(content, dict):
        raise VerificationError(f"{path} holds no JSON object; export again")
    return content


def load_arrays(path: Path) -> dict[str, Any]:
    """Read an .npz file without unpickling.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    dict of str to ndarray
        Arrays by name.

    Raises
    ------
    VerificationError
        If the file is damaged or has pickled objects.
    """
    import zipfile
    import zlib

    import numpy as np

    try:
        limit = max(FREE_BYTES, RATIO * path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > limit:
                raise ValueError(f"it unfolds to more than {limit >> 20} MiB")
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise VerificationError(f"{path} is not an archive of plain arrays ({reason}); export again") from None


def run_session(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Run an ONNX model.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        The model.
    inputs : mapping of str to ndarray
        Arrays by name; those that the model does not use are ignored.

    Returns
    -------
    dict of str to ndarray
        Outputs by name.
    """
    feed = {node.name: inputs[node.name] for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def max_difference(actual: Any, expected: Any) -> float:
    """Largest difference of two arrays: absolute up to an expected magnitude of 1, relative above it.

    Parameters
    ----------
    actual, expected : ndarray
        Arrays to compare. NaN equals NaN.

    Returns
    -------
    float
        Infinite if the shapes differ or only one array has NaN at a place.

    Examples
    --------
    >>> import numpy as np
    >>> max_difference(np.array([0.5, 102.0]), np.array([0.5, 100.0]))
    0.02
    """
    import numpy as np

    if actual.shape != expected.shape or (np.isnan(actual) != np.isnan(expected)).any():
        return float("inf")
    difference = np.abs(actual.astype(np.float64) - expected) / np.maximum(np.abs(expected), 1.0)
    return float(np.nan_to_num(difference).max(initial=0.0))


def verify_outputs(folder: Path, session: Any) -> float:
    """Compare the model's outputs for the golden inputs with the golden outputs.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    session : onnxruntime.InferenceSession
        The bundle's model.onnx.

    Returns
    -------
    float
        Largest difference, see `max_difference`.

    Raises
    ------
    VerificationError
        If it exceeds `TOLERANCE`.
    """
    inputs, expected = load_arrays(folder / "golden/inputs.npz"), load_arrays(folder / "golden/outputs.npz")
    outputs = run_session(session, inputs)
    largest = max(max_difference(outputs[name], expected[name]) for name in outputs)
    if not largest <= TOLERANCE:
        raise VerificationError(
            f"{folder / 'model.onnx'} differs by {largest:.2g} from golden/outputs.npz; export again"
        )
    return largest


def verify_inputs(folder: Path, manifest: Mapping[str, Any]) -> float:
    """Compute the golden inputs again from the golden raw events, in plain NumPy, and compare them.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    manifest : mapping
        Its manifest.

    Returns
    -------
    float
        Largest difference, see `max_difference`.

    Raises
    ------
    VerificationError
        If it exceeds `TOLERANCE`.
    """
    inputs_module = own_module("inputs")
    tables, expected = load_arrays(folder / "tables.npz"), load_arrays(folder / "golden/inputs.npz")
    golden = _json_object(folder / "golden/events.json")
    item_code = {item: code for code, item in enumerate(tables["item"].tolist())}
    settings = manifest["features"]
    log = inputs_module.event_columns(golden["customers"], item_code, settings["channels"])
    inputs = inputs_module.rebuild_inputs(log, settings, tables, golden["launched"])
    differences = {name: max_difference(inputs[name], expected[name]) for name in expected}
    name = max(differences, key=lambda each: differences[each])
    if not differences[name] <= TOLERANCE:
        raise VerificationError(
            f"{folder / 'golden/inputs.npz'} differs by {differences[name]:.2g} in {name} from golden/events.json; "
            "export again"
        )
    return differences[name]


def own_module(name: str) -> Any:
    """Module `inputs` of the verifier: that of the package, or the file beside this one with `reference` beside it.

    The file is compiled here. Python's import would search other folders and accept compiled copies in `__pycache__`.
    """
    if __name__ == "propensity.serving.verify":
        import importlib

        return importlib.import_module(f"propensity.serving.{name}")
    for each in ("reference", name):
        path = Path(__file__).resolve().parent / f"{each}.py"
        module = ModuleType(each)
        sys.modules[each] = module
        try:
            exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
        except OSError:
            raise VerificationError(f"{path} is missing; copy the whole folder of the verifier") from None
    return sys.modules[name]


def main(folder: Path, digest: str | None) -> int:
    """Verify a bundle and print the result.

    Parameters
    ----------
    folder : Path
        Folder of the bundle.
    digest : str, optional
        Required SHA-256 of the manifest.

    Returns
    -------
    int
        Exit code: 0, or 5 for a bundle that differs from its export.
    """
    sys.dont_write_bytecode = True
    sys.path[:] = [entry for entry in sys.path if not _within(entry, folder)]
    try:
        manifest = read_manifest(folder, digest)
        try:
            input_difference = verify_inputs(folder, manifest)
            output_difference = verify_outputs(folder, _session(folder / "model.onnx"))
            golden = manifest["golden"]
            size = f"{golden['customers']} customers x {golden['offers']} offers"
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise VerificationError(f"{folder} holds golden data of another kind ({error!r}); export again") from None
    except VerificationError as error:
        print(f"propensity: {error}", file=sys.stderr)
        return 5
    print(f"{len(manifest['files'])} files unchanged since the export")
    print(f"golden data of {size}, largest differences:")
    print(f"  inputs computed from raw events {input_difference:.2g}, outputs of the model {output_difference:.2g}")
    print(f"digest {sha256(folder / MANIFEST)}" + ("" if digest else " (compare it with the one the export printed)"))
    if _within(__file__, folder):
        print(f"this verifier lies in the bundle; python -I <a copy outside it>/verify.py {folder} proves more")
    return 0


def _session(path: Path) -> Any:
    """The model in ONNX Runtime; VerificationError for a file that it does not accept."""
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(path)
    except Exception as error:  # its classes have no common base
        raise VerificationError(f"{path} is no model ({type(error).__name__}); export again") from None


def _within(entry: str, folder: Path) -> bool:
    """Whether a path is a folder or lies in it."""
    path = Path(entry).resolve()
    return path == folder.resolve() or folder.resolve() in path.parents


def arguments(words: list[str]) -> tuple[Path, str | None]:
    """Bundle and digest of a command line; without a bundle, the folder of this file."""
    folders = [Path(word) for word in words if not re.fullmatch("[0-9a-f]{64}", word) and Path(word).is_dir()]
    digests = [word for word in words if Path(word) not in folders]
    folder = folders[0] if folders else Path(__file__).parent
    return folder.resolve(), digests[0] if digests else None


if __name__ == "__main__":
    sys.exit(main(*arguments(sys.argv[1:])))
