"""Arrays that grow while a kernel fills them."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def resized(array: np.ndarray, size: int) -> np.ndarray:
    """A copy of array (K,) with room for `size` entries, at least K; those after the K-th hold anything."""
    larger = np.empty(size, array.dtype)
    larger[: array.size] = array
    return larger
