"""Averaging of weights over the last part of a training, whatever its length."""

from __future__ import annotations

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class PolynomialAveraging(WeightAveraging):
    """Weights averaged with a window that grows with the number of steps.

    Parameters
    ----------
    degree : float
        Step s of t has a weight of about (s / t) ** degree: the average covers about the last 1 / (1 + degree) of the
        steps.

    Notes
    -----
    The average has no bias towards the initial weights after any number of steps. Source: Shamir and Zhang, Stochastic
    Gradient Descent for Non-smooth Optimization, ICML 2013, section 4.
    """

    def __init__(self, degree: float) -> None:
        def update(average: list[Tensor], current: list[Tensor], steps: Tensor) -> None:
            share = (degree + 1.0) / (float(steps) + degree + 1.0)
            torch._foreach_lerp_(average, current, share)

        super().__init__(use_buffers=False, multi_avg_fn=torch.no_grad()(update))

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None
