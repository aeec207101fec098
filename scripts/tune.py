"""Searches settings on the last label window before `data.end`: `python scripts/tune.py --help`."""

from propensity.config import TuneConfig, entry


@entry("tune")
def main(cfg: TuneConfig) -> None:
    from propensity.config import composer
    from propensity.evaluation.tune import OWN, tune
    from propensity.report.table import say, show_trials

    show_trials(tune(cfg, composer("train", OWN), say), cfg.out)


if __name__ == "__main__":
    main()
