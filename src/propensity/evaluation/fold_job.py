"""The folds of a backtest as blocks: a fold is a training and the scores of the cutoffs that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from propensity.champion.champion import NETWORK, Champion
from propensity.config import BacktestConfig, TrainConfig, training_config
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog, to_date
from propensity.engine.block import BLOCKS, Block, Engine, Write, block_folder, remove_blocks
from propensity.evaluation.evaluate import Say, baseline_scores, build_baselines, compared, cutoff_data_of
from propensity.evaluation.predict_job import read_arrays
from propensity.scores import Scores
from propensity.task import CutoffData
from propensity.training.checkpoint import load_trained
from propensity.training.predict import predict
from propensity.training.run import train
from propensity.trust import use_plugins

SAID = "said"  # sentences of a worker
PARTS = ("probability", "revenue", "mask")


class FoldPlan(NamedTuple):
    """A training whose label windows close by `end`, and the cutoffs that it scores.

    Attributes
    ----------
    end : int
        Days since 1970-01-01.
    weeks : dict of str to int
        ISO dates of the cutoffs, and their distance from `end`. A network of age 0 is compared with all models.
    """

    end: int
    weeks: dict[str, int]

    @property
    def date(self) -> str:
        """`end` as ISO date."""
        return to_date(self.end).isoformat()

    def folder(self, out: str | Path) -> Path:
        """Folder of the trained run."""
        return Path(out) / "folds" / self.date


class Fold(NamedTuple):
    """What a training gives at each of its cutoffs, by ISO date.

    Attributes
    ----------
    cutoffs_data : dict of str to CutoffData
        The cutoffs.
    scores : dict of str to dict of str to Scores
        Scores by model; of a network of another age than 0, its own alone.
    champion : Champion
        The models of the run.
    """

    cutoffs_data: dict[str, CutoffData]
    scores: dict[str, dict[str, Scores]]
    champion: Champion


def closed_by(config: TrainConfig, day: str) -> TrainConfig:
    """Limit a training to label windows that close by a day.

    Parameters
    ----------
    config : TrainConfig
        The training.
    day : str
        ISO date that no training label reaches.

    Returns
    -------
    TrainConfig
        A copy with `data.end` set.
    """
    fold = training_config(config)
    fold.data["end"] = day
    return fold


def train_fold(cfg: BacktestConfig, plan: FoldPlan, say: Say) -> Fold:
    """Train a fold, or read it if it is finished, and score its cutoffs.

    Parameters
    ----------
    cfg : BacktestConfig
        Of the backtest.
    plan : FoldPlan
        The fold.
    say : callable
        Called with a sentence of progress.

    Returns
    -------
    Fold
        Models and scores.
    """
    folder, baselines = plan.folder(cfg.out), build_baselines(cfg)
    model, task, training_set, log = train(closed_by(cfg, plan.date), folder, reuse=True)
    fold = Fold({}, {}, Champion.load(folder, model))
    for day, weeks in plan.weeks.items():
        cutoff_data = task.cutoff_data(log, parse_cutoff(log, day, task.horizon), training_set.vocabulary)
        fold.cutoffs_data[day] = cutoff_data
        if weeks > 0:
            fold.scores[day] = {NETWORK: predict(model, cutoff_data, NETWORK)}
            continue
        known = compared(fold.champion, baselines)
        models = {name: each for name, each in fold.champion.predict(cutoff_data).items() if name in known}
        unfitted = {name: each for name, each in baselines.items() if name not in models}
        fitted = baseline_scores(unfitted, training_set, [cutoff_data], cfg.seed, say)
        fold.scores[day] = models | {name: each for name, [each] in fitted.items()}
    return fold


@dataclass(frozen=True)
class FoldJob:
    """Trains folds and writes the scores of their cutoffs.

    Attributes
    ----------
    cfg : BacktestConfig
        Of the backtest.
    plans : list of FoldPlan
        The fold of each block.
    threads : int
        Torch threads of the command, on which sums depend.
    plugins : list of str
        Packages of the user whose parts the settings may name.
    """

    cfg: BacktestConfig
    plans: list[FoldPlan]
    threads: int
    plugins: list[str]

    def open(self) -> Write:
        """See `propensity.engine.block.Job`."""
        use_plugins(self.plugins)
        torch.set_num_threads(self.threads)
        return self.write

    def write(self, block: Block, draft: Path) -> None:
        """Train a fold, and write the scores of its cutoffs and what was said."""
        said: list[str] = []
        fold = train_fold(self.cfg, self.plans[block.number], said.append)
        with draft.open("wb") as file:
            arrays: dict[str, Any] = {**arrays_of(fold.scores), SAID: np.array(said, np.str_)}
            np.savez(file, **arrays)


def arrays_of(scores: Mapping[str, Mapping[str, Scores]]) -> dict[str, Any]:
    """Scores by cutoff and model as arrays `cutoff/model/part`."""
    return {
        f"{day}/{model}/{part}": values
        for day, models in scores.items()
        for model, each in models.items()
        for part in PARTS
        if (values := getattr(each, part)) is not None
    }


def scores_of(arrays: Mapping[str, np.ndarray], day: str, cutoff_data: CutoffData) -> dict[str, Scores]:
    """The scores of a cutoff by model, see `arrays_of`."""
    ids, offers = cutoff_data.customer_id, cutoff_data.features.offers.name
    models = dict.fromkeys(name.split("/", 1)[1].rpartition("/")[0] for name in arrays if name.startswith(f"{day}/"))
    return {
        model: Scores(
            *(ids, offers, arrays[f"{day}/{model}/probability"], arrays[f"{day}/{model}/revenue"], day, model),
            mask=arrays.get(f"{day}/{model}/mask"),
        )
        for model in models
    }


def folds_of(
    cfg: BacktestConfig, plans: Sequence[FoldPlan], log: EventLog, request: Mapping[str, Any], engine: Engine, say: Say
) -> Callable[[FoldPlan], Fold]:
    """Train the folds of a backtest.

    Parameters
    ----------
    cfg : BacktestConfig
        Of the backtest.
    plans : sequence of FoldPlan
        All folds.
    log : EventLog
        The log.
    request : mapping
        Everything that determines the folds, as plain values.
    engine : Engine
        Where the folds are trained.
    say : callable
        Receives messages about progress.

    Returns
    -------
    callable
        From a plan to its fold. In this process a fold is trained when it is asked for; an engine of several processes
        has trained all of them before.
    """
    if not engine.distributed:
        return lambda plan: train_fold(cfg, plan, say)
    folder = block_folder(Path(cfg.out) / BLOCKS, request)
    blocks = {plan.end: Block(index, folder / f"fold-{plan.date}.npz") for index, plan in enumerate(plans)}
    job = FoldJob(cfg, list(plans), torch.get_num_threads(), use_plugins())
    engine.write(job, list(blocks.values()), say)

    def read(plan: FoldPlan) -> Fold:
        trained = load_trained(plan.folder(cfg.out))
        arrays = read_arrays(blocks[plan.end].path)
        for sentence in arrays[SAID].tolist():
            say(sentence)
        cutoffs_data = {day: cutoff_data_of(trained, log, day) for day in plan.weeks}
        scores = {day: scores_of(arrays, day, each) for day, each in cutoffs_data.items()}
        return Fold(cutoffs_data, scores, Champion.load(plan.folder(cfg.out), trained.model))

    return read


def forget_folds(cfg: BacktestConfig) -> None:
    """Remove the files that workers wrote, once the backtest is complete."""
    remove_blocks(Path(cfg.out) / BLOCKS)
