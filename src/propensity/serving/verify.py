"""Proves a bundle: every file is the one that was exported, and the model answers as the trained network did.

    python bundle/verify.py            needs numpy and onnxruntime, nothing else
    python bundle/verify.py DIGEST     also holds the bundle against the digest that the export printed

Exit code 5, and the name of what is wrong, for a bundle that is not as it was written.

A changed weight whose hashes were all redone still answers otherwise than the golden outputs, which the trained network
gave before it was exported. Whoever redoes those too makes another bundle, which only a digest kept elsewhere can tell.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FORMAT = 2
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
TOLERANCE = 1e-5  # of a probability; of an expected revenue, relative to it where it exceeds 1
OUTPUTS = ("probability", "expected_revenue", "visit", "channel_share")


class RefusedError(Exception):
    """A bundle is not what it says it is; the message names the file."""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(folder: Path) -> Iterator[str]:
    """Every file of a bundle but its manifest and seal, by its path inside."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (MANIFEST, SEAL) and "__pycache__" not in path.parts:
            yield name


def manifest(folder: Path, digest: str | None = None) -> dict[str, Any]:
    """The manifest of an untouched bundle; `RefusedError` for a missing, changed, added or older part."""
    for name in (MANIFEST, SEAL):
        if not (folder / name).is_file():
            raise RefusedError(f"{folder / name} is missing")
    found = sha256(folder / MANIFEST)
    if found != (folder / SEAL).read_text().strip():
        raise RefusedError(f"{folder / MANIFEST} is not the one that was sealed")
    if digest is not None and found != digest:
        raise RefusedError(f"{folder / MANIFEST} has digest {found}, not {digest}: this is another bundle")
    about: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    if about.get("format") != FORMAT:
        raise RefusedError(f"{folder / MANIFEST} has format {about.get('format')}, not {FORMAT}; export again")
    present = set(files(folder))
    for name, expected in about["files"].items():
        if name not in present:
            raise RefusedError(f"{folder / name} is missing")
        if sha256(folder / name) != expected:
            raise RefusedError(f"{folder / name} was changed")
    if added := sorted(present - set(about["files"])):
        raise RefusedError(f"{folder / added[0]} does not belong to the bundle")
    return about


def arrays(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file; pickled ones are refused."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError) as error:
        raise RefusedError(f"{path} holds no plain arrays ({str(error).splitlines()[0]})") from None


def answer(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The network's outputs by name; inputs that its graph does not need are left out."""
    asked = {each.name: inputs[each.name] for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, asked), strict=True))


def difference(found: Any, expected: Any) -> float:
    """The largest difference of two arrays, relative to values beyond 1; infinite where only one is a number."""
    import numpy as np

    if found.shape != expected.shape or (np.isnan(found) != np.isnan(expected)).any():
        return float("inf")
    apart = np.abs(found.astype(np.float64) - expected) / np.maximum(np.abs(expected), 1.0)
    return float(np.nan_to_num(apart).max(initial=0.0))


def replay(folder: Path, session: Any) -> float:
    """The largest difference between the model's answers to the golden inputs and the golden outputs."""
    inputs, outputs = arrays(folder / "golden/inputs.npz"), arrays(folder / "golden/outputs.npz")
    found = answer(session, inputs)
    worst = max(difference(found[name], outputs[name]) for name in found)
    if not worst <= TOLERANCE:
        raise RefusedError(f"{folder / 'model.onnx'} differs by {worst:.2g} from golden/outputs.npz")
    return worst


def rebuilt(folder: Path, about: Mapping[str, Any]) -> float:
    """The largest difference between the golden inputs and those made again from the golden events."""
    sys.path.insert(0, str(folder))
    from inputs import event_columns, rebuild

    sys.path.pop(0)
    tables, wanted = arrays(folder / "tables.npz"), arrays(folder / "golden/inputs.npz")
    golden = json.loads((folder / "golden/events.json").read_text())
    code = {item: number for number, item in enumerate(tables["item"].tolist())}
    log = event_columns(golden["customers"], code, about["rule"]["channels"])
    made = rebuild(log, about["rule"], tables, golden["launched"])
    apart = {name: difference(made[name], wanted[name]) for name in wanted}
    name = max(apart, key=lambda each: apart[each])
    if not apart[name] <= TOLERANCE:
        raise RefusedError(
            f"{folder / 'golden/inputs.npz'} differs by {apart[name]:.2g} in {name} from golden/events.json"
        )
    return apart[name]


def main(folder: Path, digest: str | None) -> int:
    sys.dont_write_bytecode = True
    try:
        about = manifest(folder, digest)
        inputs = rebuilt(folder, about)
        import onnxruntime

        outputs = replay(folder, onnxruntime.InferenceSession(folder / "model.onnx"))
    except RefusedError as error:
        print(f"propensity: {error}", file=sys.stderr)
        return 5
    shape = f"{about['golden']['customers']} customers x {about['golden']['offers']} offers"
    print(f"{len(about['files'])} files as exported; golden rows of {shape}")
    print(f"largest difference: {inputs:.2g} of inputs made from raw events, {outputs:.2g} of outputs")
    print(f"digest {sha256(folder / MANIFEST)}" + ("" if digest else " (compare it with the one the export printed)"))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent, sys.argv[1] if len(sys.argv) > 1 else None))
