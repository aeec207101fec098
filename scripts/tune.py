"""Searches settings on the last label window before `data.end`: `propensity tune --help`."""

from propensity.command import entry
from propensity.config import TuneConfig


@entry("tune", interrupted="the same command continues after the last finished trial")
def main(cfg: TuneConfig) -> None:
    from propensity.command import composer
    from propensity.evaluation.tune import OWN, tune
    from propensity.report.table import say, show_trials

    show_trials(tune(cfg, composer("train", OWN), say), cfg.out)


if __name__ == "__main__":
    main()
