"""A network head for uplift: the treatment is an input of its state, and its output is the outcome.

Legend: n customers, C covariates, H units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from propensity.ab.effect import is_binary

if TYPE_CHECKING:
    import torch
    from torch import nn

UNITS, MEMBERS = 8, 2  # hidden units, and networks whose mean is the head
EPOCHS, BATCH, RATE, DECAY = 8, 2048, 0.01, 0.05
FEWEST_STEPS = 100  # gradient steps of a small experiment
PRIOR = 400.0  # half the inverse prior variance of what a covariate adds to the effect: standard deviation .035


class Rows(NamedTuple):
    """Covariates x (n, C), outcomes y (n,), treatment t (n,) and weights w (n,) as float32 tensors."""

    x: torch.Tensor
    y: torch.Tensor
    t: torch.Tensor
    w: torch.Tensor


class Head:
    """The mean of a few networks with one hidden layer.

    Parameters
    ----------
    members : list of nn.Module
        From inputs (n, 2 C + 1) to the outcome's logit or amount (n,).
    binary : bool
        Whether outcomes are 0 and 1, and the output a logit.
    scale : float
        Unit of the outcomes, 1 for binary ones.
    """

    def __init__(self, members: list[nn.Module], binary: bool, scale: float) -> None:
        self.members, self.binary, self.scale = members, binary, scale

    def uplift(self, x: np.ndarray) -> np.ndarray:
        """(n,) the outcome with treatment minus that without."""
        import torch

        rows = torch.as_tensor(x, dtype=torch.float32)
        with torch.inference_mode():
            one, two = (
                torch.stack([self._outcome(member, rows, t) for member in self.members]).mean(0) for t in (1.0, 0.0)
            )
        return np.asarray((one - two).double().numpy()) * self.scale

    def _outcome(self, member: nn.Module, x: torch.Tensor, t: float) -> torch.Tensor:
        import torch

        output: torch.Tensor = member(inputs(x, torch.full((len(x),), t))).squeeze(-1)
        return output.sigmoid() if self.binary else output


def inputs(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Covariates (n, C) and treatment (n,) -> (n, 2 C + 1): both, and their products."""
    import torch

    centred = t[:, None] - 0.5  # so that the weights of x are the mean of both arms
    return torch.cat([x, centred, centred * x], dim=1)


def fit_head(x: np.ndarray, y: np.ndarray, t: np.ndarray, w: np.ndarray, seed: int) -> Head:
    """Fit the network head.

    Parameters
    ----------
    x : np.ndarray
        (n, C) standardised covariates, such as windows and the state of a network.
    y, w : np.ndarray
        (n,) outcomes and weights.
    t : np.ndarray
        (n,) bool, treated.
    seed : int
        Of initial weights and batches.

    Returns
    -------
    Head
        Log loss for outcomes of 0 and 1, squared error for others.

    Notes
    -----
    The inputs reach the outcome through the hidden units and directly. The weights of the last steps are averaged
    (Polyak and Juditsky, SIAM Journal on Control and Optimization 1992), and those of the hidden units decay, so that
    a treatment without effect leaves no uplift that the data do not show.
    """
    import torch

    binary = is_binary(y)
    scale = 1.0 if binary else float(y.std()) or 1.0
    values = (x, y / scale, t, w / w.mean())
    rows = Rows(*(torch.as_tensor(np.asarray(each, np.float32)) for each in values))
    base = float(np.average(y / scale, weights=w))
    base = float(np.log(np.clip(base, 1e-4, 1 - 1e-4) / (1 - np.clip(base, 1e-4, 1 - 1e-4)))) if binary else base
    return Head([_fitted(rows, binary, base, seed + k) for k in range(MEMBERS)], binary, scale)


def _fitted(rows: Rows, binary: bool, base: float, seed: int) -> nn.Module:
    """One member after all its steps, with averaged weights."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        member = _head_network(2 * rows.x.shape[1] + 1, base)
        average = torch.optim.swa_utils.AveragedModel(member)
        epochs = max(EPOCHS, -(-FEWEST_STEPS * BATCH // len(rows.y)))
        optimiser = torch.optim.AdamW(member.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
        loss = torch.nn.BCEWithLogitsLoss(reduction="none") if binary else torch.nn.MSELoss(reduction="none")
        for epoch in range(epochs):
            for place in torch.randperm(len(rows.y)).split(BATCH):
                part = Rows(*(each[place] for each in rows))
                error = loss(member(inputs(part.x, part.t)).squeeze(-1), part.y)
                optimiser.zero_grad()
                ((error * part.w).mean() + PRIOR / len(rows.y) * effect_size(member, rows.x.shape[1])).backward()
                optimiser.step()
                if epoch >= epochs // 2:
                    average.update_parameters(member)
            schedule.step()
    fitted: nn.Module = average.module
    return fitted


def effect_size(member: nn.Module, covariates: int) -> torch.Tensor:
    """Sum of squares of the weights of products of treatment and covariates."""
    layers: Any = (member.direct, member.state[0])  # type: ignore[index]
    direct, state = (layer.weight[:, covariates + 1 :].square().sum() for layer in layers)
    total: torch.Tensor = direct + state
    return total


def _head_network(width: int, base: float) -> nn.Module:
    """Hidden units beside a direct path; both start at zero effect."""
    from torch import nn

    class HeadNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.state = nn.Sequential(nn.Linear(width, UNITS), nn.ReLU(), nn.Linear(UNITS, 1))
            self.direct = nn.Linear(width, 1)
            layers: Any = (self.state[2], self.direct)
            for layer in layers:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
            nn.init.constant_(self.direct.bias, base)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.state(x) + self.direct(x)
            return output

    return HeadNetwork()
