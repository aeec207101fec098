"""Searches settings by a metric of validation windows: `propensity tune --help`."""

from propensity.command import entry
from propensity.config import TuneConfig


@entry("tune", interrupted="the same command continues after the last finished trial")
def main(cfg: TuneConfig) -> None:
    from propensity.command import composer
    from propensity.evaluation.tune import OWN, objective_metric, tune
    from propensity.report.sweep import save_trials
    from propensity.report.table import say, show_trials

    study = tune(cfg, composer("train", OWN), say)
    save_trials(study, *objective_metric(cfg.metric, cfg.metrics), cfg.out)
    show_trials(study, cfg.out)


if __name__ == "__main__":
    main()
