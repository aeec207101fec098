"""Verifies a bundle: every file has the hash of the export, and the model reproduces the trained network's outputs.

    python bundle/verify.py            needs NumPy and ONNX Runtime, nothing else
    python bundle/verify.py DIGEST     also compares the digest with the one that the export printed

A bundle that differs ends with exit code 5 and the name of the file. If a weight is changed and all hashes are
recomputed, the model no longer reproduces the golden outputs, which the trained network computed before the export. If
the golden outputs are replaced too, only a digest that is stored elsewhere shows the difference.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FORMAT = 3
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
TOLERANCE = 1e-5  # absolute for probabilities; relative for expected revenues above 1
NETWORK_OUTPUTS = ("network_probability", "network_expected_revenue")  # if the champion is not the network alone
NETWORK_INPUTS = ("network_logit", "network_log_amount")  # of champion.onnx, if the champion uses the network
SMALLEST = 1e-30  # revenue whose logarithm is taken for 0
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
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (MANIFEST, SEAL) and "__pycache__" not in path.parts:
            yield name


def read_manifest(folder: Path, digest: str | None = None) -> dict[str, Any]:
    """Read the manifest and compare the hash of every file with it.

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
        For a missing, changed or additional file, another format or another digest.
    """
    for name in (MANIFEST, SEAL):
        if not (folder / name).is_file():
            raise VerificationError(f"{folder / name} is missing; export again")
    actual = sha256(folder / MANIFEST)
    if actual.encode() != (folder / SEAL).read_bytes().strip():
        raise VerificationError(f"{folder / MANIFEST} was changed: its hash is not the one in {SEAL}; export again")
    if digest is not None and actual != digest:
        raise VerificationError(
            f"{folder / MANIFEST} has digest {actual}, not {digest}: "
            "this is another bundle; use the bundle with that digest"
        )
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    if manifest.get("format") != FORMAT:
        raise VerificationError(f"{folder / MANIFEST} has format {manifest.get('format')}, not {FORMAT}; export again")
    present = set(bundle_files(folder))
    for name, expected in manifest["files"].items():
        if name not in present:
            raise VerificationError(f"{folder / name} is missing; export again")
        if sha256(folder / name) != expected:
            raise VerificationError(f"{folder / name} was changed; export again")
    if additional := sorted(present - set(manifest["files"])):
        raise VerificationError(f"{folder / additional[0]} is not part of the bundle; remove it or export again")
    return manifest


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
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
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
    sys.path.insert(0, str(folder))
    from inputs import event_columns, rebuild_inputs

    sys.path.pop(0)
    tables, expected = load_arrays(folder / "tables.npz"), load_arrays(folder / "golden/inputs.npz")
    golden = json.loads((folder / "golden/events.json").read_text())
    item_code = {item: code for code, item in enumerate(tables["item"].tolist())}
    settings = manifest["features"]
    log = event_columns(golden["customers"], item_code, settings["channels"])
    inputs = rebuild_inputs(log, settings, tables, golden["launched"])
    differences = {name: max_difference(inputs[name], expected[name]) for name in expected}
    name = max(differences, key=lambda each: differences[each])
    if not differences[name] <= TOLERANCE:
        raise VerificationError(
            f"{folder / 'golden/inputs.npz'} differs by {differences[name]:.2g} in {name} from golden/events.json; "
            "export again"
        )
    return differences[name]


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
    try:
        manifest = read_manifest(folder, digest)
        input_difference = verify_inputs(folder, manifest)
        import onnxruntime

        output_difference = verify_outputs(folder, onnxruntime.InferenceSession(folder / "model.onnx"))
    except VerificationError as error:
        print(f"propensity: {error}", file=sys.stderr)
        return 5
    golden = manifest["golden"]
    print(f"{len(manifest['files'])} files unchanged since the export")
    print(f"golden data of {golden['customers']} customers x {golden['offers']} offers, largest differences:")
    print(f"  inputs computed from raw events {input_difference:.2g}, outputs of the model {output_difference:.2g}")
    print(f"digest {sha256(folder / MANIFEST)}" + ("" if digest else " (compare it with the one the export printed)"))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent, sys.argv[1] if len(sys.argv) > 1 else None))
