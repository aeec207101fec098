"""Trains a network: `propensity train --help`."""

from propensity.command import entry
from propensity.config import TrainConfig


@entry("train", interrupted="the same command continues after the last whole epoch")
def main(cfg: TrainConfig) -> None:
    from propensity.report.table import show_run
    from propensity.training.run import train

    train(cfg)
    show_run(cfg.out)


if __name__ == "__main__":
    main()
