"""Searches settings on the last label window before `data.end`: `python scripts/tune.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("tune")
def main(cfg: DictConfig) -> None:
    from propensity.evaluation.tune import tune
    from propensity.report.table import say, show_trials

    show_trials(tune(cfg, say), cfg.out)


if __name__ == "__main__":
    main()
