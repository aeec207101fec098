"""The average of weights: a plain weighted mean over the steps of a training, whatever its length."""

from __future__ import annotations

from math import exp, lgamma
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from propensity.training.averaging import PolynomialAveraging


class Weights(pl.LightningModule):
    """A module that is a few weights."""

    def __init__(self, value: list[float]) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


def averaged(degree: float, initial: list[float], steps: list[list[float]]) -> np.ndarray:
    """The weights that a training keeps whose weights after each step were these."""
    module, callback = Weights(initial), PolynomialAveraging(degree)
    trainer: Any = SimpleNamespace(global_step=0, current_epoch=0)
    callback.setup(trainer, module, "fit")
    for step, value in enumerate(steps, 1):
        trainer.global_step = step
        with torch.no_grad():
            module.value.copy_(torch.tensor(value))
        callback.on_train_batch_end(trainer, module, None, None, step - 1)
        callback.on_train_epoch_end(trainer, module)
    callback.on_train_end(trainer, module)
    return module.value.detach().numpy()


def share(degree: float, steps: int) -> np.ndarray:
    """The plain definition: step s weighs as s (s + 1) ... (s + degree - 1), about s ** degree."""
    weight = np.array([exp(lgamma(s + degree) - lgamma(s)) for s in range(1, steps + 1)])
    return weight / weight.sum()


@pytest.mark.parametrize("degree", [0.0, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 60])
def test_the_average_equals_its_definition(degree: float, steps: int) -> None:
    values = np.random.default_rng(steps).normal(size=(steps, 4))
    found = averaged(degree, [1e6] * 4, values.tolist())
    np.testing.assert_allclose(found, share(degree, steps) @ values, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("steps", [1, 5, 100])
def test_the_average_of_constant_weights_is_constant(steps: int) -> None:
    np.testing.assert_allclose(averaged(8.0, [7.0, 7.0], [[0.1, -3.0]] * steps), [0.1, -3.0], rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_initial_weights_have_no_weight(steps: int) -> None:
    values = np.random.default_rng(0).normal(size=(steps, 2)).tolist()
    np.testing.assert_array_equal(averaged(8.0, [1e9, -1e9], values), averaged(8.0, [0.0, 0.0], values))


@pytest.mark.parametrize("steps", [90, 900])
def test_most_of_the_weight_lies_on_the_same_last_share_of_the_steps_whatever_their_number(steps: int) -> None:
    marks = [[float(step > steps * 8 / 9)] for step in range(1, steps + 1)]
    assert averaged(8.0, [0.0], marks)[0] == pytest.approx(1 - (8 / 9) ** 9, abs=0.03)
