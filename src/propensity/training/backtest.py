"""One model per send date, each trained only on label windows that closed by then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from propensity.data.cutoff import cutoff_of
from propensity.data.preparation import Occasion
from propensity.training.evaluate import NETWORK, Answers, Say, chosen, incumbents, judge, judged
from propensity.training.predict import predict
from propensity.training.run import train


def backtest(cfg: DictConfig, say: Say) -> dict[str, Any]:
    """Trains the network and the incumbents anew for every cutoff, and judges them together.

    A fold that was finished with the same code, configuration and data is not trained again. Leaves scores.parquet, a
    Parquet file per incumbent, metrics.json and a run folder per cutoff in `cfg.out`.
    """
    answers: Answers = {}
    occasions: list[Occasion] = []
    baselines = chosen(cfg)
    log = instantiate(cfg.data, _convert_="all").open()
    days = judged(cfg.cutoffs, log, cfg.data.horizon)
    out = Path(cfg.out)
    for day in days:
        say(f"training for {day}")
        model, preparation, examples, log = train(closed_by(cfg, day), out / "folds" / day, reuse=True)
        occasion = preparation.occasion(log, cutoff_of(log, day, preparation.horizon), examples.vocabulary)
        occasions.append(occasion)
        found = {NETWORK: [predict(model, occasion, NETWORK)]}
        found |= incumbents(baselines, examples, [occasion], cfg.seed, say)
        for name, scores in found.items():
            answers.setdefault(name, []).extend(scores)
    about = {"config": OmegaConf.to_container(cfg, resolve=True), "cutoffs": days, "data": log.fingerprint}
    return judge(log, occasions, answers, about, out, cfg.resamples, cfg.seed, say)


def closed_by(cfg: DictConfig, day: str) -> DictConfig:
    """The training configuration whose label windows close by `day`."""
    fold = cfg.copy()
    with open_dict(fold):
        for key in ("cutoffs", "baseline", "baselines", "resamples", "variants", "seeds"):
            fold.pop(key, None)
    fold.data.end = day
    return fold
