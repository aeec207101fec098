"""How much of a training step is waiting for its batch: the loader alone, against steps on a batch that is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch.nn.utils import clip_grad_norm_

import propensity.command  # noqa: F401  (registers the schemas)
from benchmarks.market import Market
from benchmarks.race import cpu_seconds, median_seconds
from propensity.config import conf_folder
from propensity.data.batch import Batch
from propensity.feature.history_mask import HistoryMask
from propensity.training.data_module import PropensityDataModule
from propensity.training.module import mean_terms, parameter_groups

DATES = 2


def loading(market: Market, rounds: int) -> dict[str, Any]:
    """Medians of `rounds` batches and steps in turns, in CPU-seconds, by the settings that training has by default.

    load_s: a batch; step_s: forward, loss, backward and update on a batch that is there; waiting: the first over both;
    parts: what a batch is made of.
    """
    overrides = ["data.offer.column=category", f"data.cutoff.count={DATES}", "data.offer.min_buyers=1", "out=none"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = compose("train", overrides=[f"data.log={market.raw.parent / 'log'}", *overrides])
    task, settings = (instantiate(part, _convert_="all") for part in (cfg.data, cfg.training))
    training_set = task.training_set(task.open())
    loader = settings.data_module(training_set, task, cfg.seed)
    model, loss = instantiate(cfg.model, sizes=task.feature.sizes(training_set.vocabulary)), instantiate(cfg.loss)
    model.fit_scales(loader.sample(1))
    optimizer = instantiate(cfg.optimizer, _convert_="all")(parameter_groups(model))
    batches: list[Batch] = []

    def step() -> None:
        optimizer.zero_grad()
        mean_terms(model, loss, batches[-1]).total.backward()
        clip_grad_norm_(model.parameters(), cfg.trainer.gradient_clip_val)
        optimizer.step()

    training = loader.train_dataloader()
    ready = iter(training)
    turns = [
        (cpu_seconds(lambda: batches.append(next(ready))), cpu_seconds(step))
        for _ in range(min(1 + rounds, len(training)))
    ]
    load, trained = np.median(turns[min(1, len(turns) - 1) :], axis=0)  # the first warms up
    about = {
        "batch": loader.batch_size,
        "offers": len(training_set.features.offers),
        "events": int(training_set.features.config.history),
    }
    shares = {"load_s": float(load), "step_s": float(trained), "waiting": float(load / (load + trained))}
    return about | shares | {"parts": parts(loader, rounds)}


def parts(loader: PropensityDataModule, rounds: int) -> dict[str, float]:
    """CPU-seconds of what a batch is made of."""
    features, market_stats, customer = loader.training_set.cutoffs_data[0]
    rows = np.random.default_rng(0).choice(customer, min(loader.batch_size, customer.size), replace=False)
    whole = median_seconds(lambda: features.inputs(market_stats, rows), rounds)
    history = median_seconds(
        lambda: features.histories(market_stats.cutoff, rows, HistoryMask.nothing(rows.size)), rounds
    )
    outcome = median_seconds(lambda: features.outcomes(market_stats.cutoff, rows), rounds)
    return {"pairs and customers": whole - history, "histories": history, "outcomes": outcome}


def section(found: dict[str, Any]) -> str:
    """In words and figures, for results.md."""
    made = ", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in found["parts"].items())
    pairs = found["batch"] * found["offers"]
    loader, steps = (f"{s:.4f} | {1 / s:.1f} | {pairs / s:,.0f}" for s in (found["load_s"], found["step_s"]))
    return f"""### Training and its data

Training by its default settings, {found["batch"]} customers a batch, {found["offers"]} offers, the last
{found["events"]} events of each; loader and steps in turns.

| | CPU-seconds a batch | batches a second | pairs a second |
|---|---:|---:|---:|
| the loader alone | {loader} |
| training steps on a batch that is there | {steps} |

On one core of a CPU training waits for its data {found["waiting"]:.1%} of the time. A batch is made of {made}.
"""
