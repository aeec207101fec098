"""The pair columns of the logistic regressions of a bundle, and the file that holds their coefficients.

Shapes: B customers, M offers, P pair columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from propensity.baseline.logistic import WIDEST
from propensity.kernel.linear import linear_sums

if TYPE_CHECKING:
    from propensity.serving.champion import LinearBlock

FILE = "linear.npz"
ARRAYS = ("factor", "mean", "deviation", "coefficient", "when_missing", "when_present")


class LinearScorer:
    """What the pair columns contribute to the log-odds of a logistic regression.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        By the names `ARRAYS`, each of shape (P,) but the last, a number; see `propensity.serving.champion.LinearBlock`.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        factor, mean, deviation, coefficient, missing, present = (arrays[name] for name in ARRAYS)
        at_zero = np.clip(-mean / deviation, -WIDEST, WIDEST) * coefficient
        columns = (factor, mean, 1 / deviation, coefficient, missing + at_zero)
        self.columns = [np.ascontiguousarray(each, np.float32) for each in columns]
        self.present = float(present)

    def __call__(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Contributions (B, M), float32, of `pair` (B, M, P), float32."""
        pair = np.ascontiguousarray(inputs["pair"])
        out = np.empty(pair.shape[:2], np.float32)
        factor, mean, inverse, coefficient, missing = self.columns
        linear_sums(pair, factor, mean, inverse, coefficient, missing, self.present, WIDEST, out)
        return out


def linear_arrays(blocks: Mapping[str, LinearBlock]) -> dict[str, np.ndarray]:
    """Content of `FILE`.

    Parameters
    ----------
    blocks : mapping of str to LinearBlock
        By the name of the input of the graph that they replace.

    Returns
    -------
    dict of str to ndarray
        What `read_linear_scorers` reads.
    """
    arrays = {"names": np.array(list(blocks), np.str_)}
    for name, block in blocks.items():
        arrays |= {f"{name}_{part}": getattr(block, part).numpy() for part in ARRAYS}
    return arrays


def read_linear_scorers(arrays: Mapping[str, np.ndarray]) -> dict[str, LinearScorer]:
    """The logistic regressions of a bundle.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Content of `FILE`.

    Returns
    -------
    dict of str to LinearScorer
        By the name of the input of the graph that they replace.
    """
    return {
        name: LinearScorer({part: arrays[f"{name}_{part}"] for part in ARRAYS}) for name in arrays["names"].tolist()
    }
