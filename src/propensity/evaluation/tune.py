"""A search over settings and parts: Optuna proposes, Hydra composes, validation windows decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from propensity.champion.champion import NETWORK
from propensity.config import TrainConfig, TuneConfig
from propensity.errors import ConfigurationError
from propensity.metric.declaration import Metric
from propensity.mistake import suggest
from propensity.training.curve import final_metrics
from propensity.training.metric import by_name, validation_metrics
from propensity.training.run import train

if TYPE_CHECKING:
    from optuna import Study, Trial

Say = Callable[[str], None]
OWN = ("trials", "metric", "space", "out")  # settings of the search itself, not of a trial


def tune(cfg: TuneConfig, compose: Callable[[Sequence[str]], TrainConfig], say: Say) -> Study:
    """Runs trials until `cfg.trials` are done in `cfg.out`, and returns the study; a stopped search goes on.

    Each trial is judged by a metric of its validation windows, which it does not train on: those that
    `training.validation` names, or the last label window.
    """
    import optuna

    name, metric = objective_metric(cfg.metric, cfg.metrics)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out = Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{out / 'study.db'}",
        study_name="propensity",
        load_if_exists=True,
        direction="minimize" if metric.lower_is_better else "maximize",
        sampler=optuna.samplers.TPESampler(seed=cfg.seed),
    )
    while (done := len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))) < cfg.trials:
        trial = study.ask()
        overrides = [f"{key}={_propose(trial, key, choice)}" for key, choice in cfg.space.items()]
        say(f"trial {done + 1} of {cfg.trials}: {' '.join(overrides)}")
        study.tell(trial, _judge(compose(overrides), name, metric, out / "trials" / str(trial.number)))
    return study


def _propose(trial: Trial, key: str, choice: Mapping[str, Any]) -> Any:
    """A value of one setting: one of `choices`, or a number between `low` and `high`."""
    if "choices" in choice:
        return trial.suggest_categorical(key, list(choice["choices"]))
    low, high, log = choice["low"], choice["high"], choice.get("log", False)
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=log)
    return trial.suggest_float(key, low, high, log=log)


def objective_metric(name: str, own: Sequence[Any]) -> tuple[str, Metric]:
    """A metric of validation by its name, with or without `val/`: the name it is logged under, and its declaration.

    >>> objective_metric("auc", [])[0], objective_metric("val/never_bought/auc", [])[0]
    ('val/auc', 'val/never_bought/auc')
    """
    known = by_name(validation_metrics(own))
    for full in (name, f"val/{name}"):
        if full in known:
            return full, known[full]
    raise ConfigurationError(suggest(f"metric={name} is no metric of a validation", name, known))


def _judge(config: TrainConfig, name: str, metric: Metric, out: Path) -> float:
    if not config.training.get("validation"):
        config.training["validation"] = 1
    config.training["refit"], config.champion = False, NETWORK  # only the validation counts
    train(config, out)
    values = final_metrics(out)
    if name not in values:
        raise ConfigurationError(f"{name} is undefined, for want of buyers; give a longer data.horizon")
    return float(metric.objective(np.array(values[name])))
