"""A search over settings and parts: Optuna proposes, Hydra composes, the last label window decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.utils import instantiate

from propensity.config import TrainConfig, TuneConfig
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import to_date
from propensity.errors import ConfigurationError
from propensity.evaluation.evaluate import NETWORK, Say, labels, own_metrics
from propensity.metric.builtin import METRICS
from propensity.metric.declaration import Metric, declared
from propensity.metric.evaluation import evaluate as compare
from propensity.metric.labels import Prediction
from propensity.training.predict import predict
from propensity.training.run import train

if TYPE_CHECKING:
    from optuna import Study, Trial

OWN = ("trials", "metric", "metrics", "space", "out")  # settings of the search itself, not of a trial


def tune(cfg: TuneConfig, compose: Callable[[Sequence[str]], TrainConfig], say: Say) -> Study:
    """Runs trials until `cfg.trials` are done in `cfg.out`, and returns the study; a stopped search goes on.

    Each trial trains on label windows that close one horizon before `data.end` and is judged on the last one.
    """
    import optuna

    metric = objective_metric(cfg.metric, own_metrics(cfg.metrics))
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
        study.tell(trial, _judge(compose(overrides), metric, out / "trials" / str(trial.number)))
    return study


def objective_metric(name: str, own: Sequence[Metric]) -> Metric:
    """The declared metric of that name; ConfigurationError where there is none."""
    every = {metric.name: metric for metric in declared(METRICS, own)}
    if name not in every:
        raise ConfigurationError(f"metric={name} is not a metric; give one of {', '.join(every)}")
    return every[name]


def _propose(trial: Trial, key: str, choice: Mapping[str, Any]) -> Any:
    """A value of one setting: one of `choices`, or a number between `low` and `high`."""
    if "choices" in choice:
        return trial.suggest_categorical(key, list(choice["choices"]))
    low, high, log = choice["low"], choice["high"], choice.get("log", False)
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=log)
    return trial.suggest_float(key, low, high, log=log)


def _judge(config: TrainConfig, metric: Metric, out: Path) -> float:
    task = instantiate(config.data, _convert_="all")
    log = task.open()
    judged = Cutoff(task.end_day(log) - task.horizon, task.horizon)
    config.data["end"] = to_date(judged.day).isoformat()
    model, task, training_set, log = train(config, out)
    cutoff_data = task.cutoff_data(log, judged, training_set.vocabulary)
    scores = predict(model, cutoff_data, NETWORK)
    report = compare(
        [labels(log, cutoff_data)],
        {NETWORK: [Prediction(scores.probability, scores.revenue)]},
        reference=NETWORK,
        resamples=0,
        metrics=() if metric in METRICS else (metric,),
    )
    cell = report["models"][NETWORK]["mean"]["all"][metric.name]
    if cell["value"] is None:
        raise ConfigurationError(f"{metric.name} is undefined: {cell['reason']}; give another metric or data.horizon")
    return float(metric.objective(np.array(cell["value"])))
