"""The network of pairs: an ensemble of perceptrons on the columns of a request and an offer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from propensity.catalogue.kernel.scale import scale
from propensity.catalogue.sample import Sample
from propensity.data.catalogue import CatalogueConfig
from propensity.errors import DamageError
from propensity.model.inference import one_thread
from propensity.training.storage import check_checkpoint, save_checkpoint

FILE = "network.ckpt"
KNOTS, ROWS = 48, 100_000  # quantiles of a column, and rows that they are estimated from
WARM_UP = 0.1  # share of the steps in which the learning rate rises
BLOCK = 65_536  # pairs whose scaled columns are in memory at a time


@dataclass(frozen=True)
class Scaler:
    """Ranks, standardised signed logs and flags of F columns, see `kernel.scale`."""

    knots: np.ndarray
    size: np.ndarray
    unit: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    flagged: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, weight: np.ndarray, random: np.random.Generator) -> Self:
        """Estimate quantiles and moments from rows (P, F), each drawn by its weight."""
        rows = random.choice(len(x), min(len(x), ROWS), replace=True, p=weight / weight.sum())
        table = x[rows].astype(np.float64)
        width = table.shape[1]
        knots, size = np.zeros((width, KNOTS)), np.zeros(width, np.int64)
        unit, mean, deviation = np.ones(width), np.zeros(width), np.ones(width)
        for c in range(width):
            values = table[~np.isnan(table[:, c]), c]
            if values.size == 0:
                continue
            quantiles = np.unique(np.quantile(values, np.linspace(0, 1, KNOTS)))
            knots[c, : quantiles.size], size[c] = quantiles, quantiles.size
            unit[c] = np.median(np.abs(quantiles)) / 2 + 1e-6
            logs = np.sign(values) * np.log1p(np.abs(values) / unit[c])
            mean[c], deviation[c] = logs.mean(), max(logs.std(), 1e-6)
        return cls(knots, size, unit, mean, deviation, np.flatnonzero(np.isnan(table).any(axis=0)))

    @property
    def width(self) -> int:
        """Number of scaled columns."""
        return 2 * self.size.size + self.flagged.size

    def __call__(self, x: np.ndarray) -> Tensor:
        """The scaled columns (P, width) of rows (P, F)."""
        out = np.empty((len(x), self.width), np.float32)
        scale(x, self.knots, self.size, self.unit, self.mean, self.deviation, self.flagged, out)
        return torch.from_numpy(out)


def perceptron(width: int, hidden: tuple[int, ...], dropout: float) -> nn.Sequential:
    """Hidden layers with SiLU and dropout, and one output: the log-odds of a purchase."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(width, units), nn.SiLU(), nn.Dropout(dropout)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, 1))


@dataclass
class PairNetwork:
    """Log-odds of a purchase, the mean of several perceptrons.

    Parameters
    ----------
    scaler : Scaler
        Of the columns.
    members : list of nn.Sequential
        In evaluation mode.
    """

    scaler: Scaler
    members: list[nn.Sequential]
    hidden: tuple[int, ...]

    @classmethod
    def fit(cls, sample: Sample, config: CatalogueConfig, seed: int) -> Self:
        """Fit to importance-weighted pairs.

        Parameters
        ----------
        sample : Sample
            P pairs.
        config : CatalogueConfig
            Layers, passes and rates.
        seed : int
            Of the rows for the scaler, the initial weights and the batches.
        """
        random = np.random.default_rng(seed)
        scaler = Scaler.fit(sample.x, sample.weight, random)
        bought = torch.from_numpy(sample.bought.astype(np.float32))
        weight = torch.from_numpy((sample.weight / sample.weight.mean()).astype(np.float32))
        with one_thread(), torch.random.fork_rng(devices=[]):
            members = []
            for member in range(config.members):
                torch.manual_seed(seed * 1_009 + member)
                members.append(_fitted(scaler, sample.x, bought, weight, config))
        return cls(scaler, members, config.hidden)

    def logit(self, x: np.ndarray) -> np.ndarray:
        """Log-odds (P,) float64 of rows (P, F)."""
        out = np.empty(len(x))
        with one_thread(), torch.inference_mode():
            for start in range(0, len(x), BLOCK):
                part = self.scaler(x[start : start + BLOCK])
                terms = [member(part).squeeze(-1).double() for member in self.members]
                out[start : start + BLOCK] = torch.stack(terms).mean(dim=0).numpy()
        return out

    def save(self, folder: Path) -> None:
        """Write `network.ckpt`."""
        scaler = {name: torch.from_numpy(values) for name, values in vars(self.scaler).items()}
        content = {"scaler": scaler, "hidden": list(self.hidden), "members": [m.state_dict() for m in self.members]}
        save_checkpoint(content, folder / FILE)

    @classmethod
    def load(cls, folder: Path, width: int) -> Self:
        """Read what `save` wrote for `width` columns; DamageError if it is damaged."""
        path = folder / FILE
        check_checkpoint(path)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            scaler = Scaler(**{name: values.numpy() for name, values in content["scaler"].items()})
            if scaler.size.size != width:
                raise KeyError(f"it has {scaler.size.size} columns, not {width}")
            hidden, members = tuple(content["hidden"]), []
            for state in content["members"]:
                members.append(perceptron(scaler.width, hidden, 0.0).eval())
                members[-1].load_state_dict(state)
        except (RuntimeError, KeyError, TypeError, EOFError) as error:
            reason = str(error).partition("\n")[0]
            raise DamageError(f"{path} is no network of pairs ({reason}); train again") from None
        return cls(scaler, members, hidden)


def _fitted(scaler: Scaler, x: np.ndarray, bought: Tensor, weight: Tensor, config: CatalogueConfig) -> nn.Sequential:
    """One perceptron that starts from the base rate; columns are scaled batch by batch to save memory."""
    network = perceptron(scaler.width, config.hidden, config.dropout)
    output = network[-1]
    assert isinstance(output, nn.Linear)
    rate = float((bought * weight).sum() / weight.sum())
    with torch.no_grad():
        output.weight.zero_()
        output.bias.fill_(float(np.log(rate / (1 - rate))))
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    size = min(config.batch, len(x))
    batches = max(len(x) // size, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.lr, total_steps=config.epochs * batches + 1, pct_start=WARM_UP
    )
    for _ in range(config.epochs):
        order = torch.randperm(len(x))
        for rows in order[: batches * size].view(batches, size):
            logit = network(scaler(x[rows.numpy()])).squeeze(-1)
            loss = (cross_entropy(logit, bought[rows], reduction="none") * weight[rows]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()
