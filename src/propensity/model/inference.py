"""What every use of a trained network needs: inputs as tensors, and sums in one order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from propensity.data.batch import Inputs, Outcomes

Fields = TypeVar("Fields", Inputs, Outcomes)


def to_tensors(fields: Fields) -> Fields:
    """Tensors that share memory with the arrays of a named tuple."""
    return type(fields)(*(torch.from_numpy(np.ascontiguousarray(array)) for array in fields))


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch CPU thread, so that sums are computed in one order everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
