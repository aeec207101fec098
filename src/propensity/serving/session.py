"""ONNX Runtime sessions whose outputs are bitwise reproducible for the same block of inputs."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort


def session(path: str | Path, threads: int = 1) -> ort.InferenceSession:
    """Open a model on the CPU.

    Parameters
    ----------
    path : str or Path
        ONNX file.
    threads : int, default=1
        Threads within one call; several calls may run concurrently.

    Returns
    -------
    onnxruntime.InferenceSession
        The model, without spinning threads and with warnings off.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
