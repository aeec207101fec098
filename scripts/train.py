"""Trains a network: `python scripts/train.py --help`."""

from propensity.config import TrainConfig, entry


@entry("train")
def main(cfg: TrainConfig) -> None:
    from propensity.report.table import show_run
    from propensity.training.run import train

    train(cfg)
    show_run(cfg.out)


if __name__ == "__main__":
    main()
