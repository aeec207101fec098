"""Probabilities of rare events in an exported graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from propensity.model.member import within_visit
from propensity.model.outputs import probability_of


class Rare(nn.Module):
    """The probability of a purchase and of one within a visit."""

    def forward(self, logit: Tensor, visit: Tensor) -> tuple[Tensor, Tensor]:
        return probability_of(logit), probability_of(within_visit(visit, logit))


def test_a_graph_has_the_probability_of_a_rare_event_with_a_small_relative_error(tmp_path: Path) -> None:
    logit = np.linspace(-18, 8, 2001, dtype=np.float32)
    visit = logit[::-1].copy()
    torch.onnx.export(
        Rare().eval(),
        (torch.from_numpy(logit), torch.from_numpy(visit)),
        tmp_path / "rare.onnx",
        dynamo=True,
        verbose=False,
    )
    session = ort.InferenceSession(tmp_path / "rare.onnx")
    names = [each.name for each in session.get_inputs()]
    alone, within = session.run(None, dict(zip(names, (logit, visit), strict=True)))
    exact, of_visit = (1 / (1 + np.exp(-each.astype(np.float64))) for each in (logit, visit))
    np.testing.assert_allclose(alone, exact, rtol=3e-6)
    np.testing.assert_allclose(within, exact * of_visit, rtol=1e-5)
