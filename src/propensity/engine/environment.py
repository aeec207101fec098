"""The versions that a result depends on: workers must have those of the command."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import propensity

LIBRARIES = (
    "numpy",
    "polars",
    "numba",
    "torch",
    "onnxruntime",
    "lightgbm",
)  # whose version can change a bit of a result


@cache
def environment() -> dict[str, str]:
    """Versions of this process.

    Returns
    -------
    dict of str to str
        `propensity`, `source` (a hash of its modules), `python` and the installed ones of `LIBRARIES`.
    """
    found = {
        "propensity": propensity.__version__,
        "source": source_digest(Path(propensity.__file__).parent),
        "python": platform.python_version(),
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def source_digest(folder: Path) -> str:
    """Hash the modules of a package.

    Parameters
    ----------
    folder : Path
        Folder of the package.

    Returns
    -------
    str
        12 hexadecimal digits, of names and contents.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def difference(command: Mapping[str, str], worker: Mapping[str, str]) -> str | None:
    """Describe the first version in which a worker differs from a command.

    Parameters
    ----------
    command, worker : mapping of str to str
        What `environment` returned in each.

    Returns
    -------
    str or None
        None if all are equal.

    Examples
    --------
    >>> difference({"propensity": "2.0", "numpy": "2.4"}, {"propensity": "2.0", "numpy": "2.3"})
    'numpy 2.3, the command numpy 2.4'
    """
    for name in (*command, *worker):
        if command.get(name) != worker.get(name):
            return f"{name} {worker.get(name)}, the command {name} {command.get(name)}"
    return None
