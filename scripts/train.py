"""Trains a network: `python scripts/train.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("train")
def main(cfg: DictConfig) -> None:
    from propensity.report.table import show_run
    from propensity.training.run import train

    train(cfg)
    show_run(cfg.out)


if __name__ == "__main__":
    main()
