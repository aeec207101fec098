"""ONNX Runtime, set up to give the same bits for the same block."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort


def session(path: str | Path, threads: int = 1) -> ort.InferenceSession:
    """A session on the CPU. threads: of each call; several calls may run side by side."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
