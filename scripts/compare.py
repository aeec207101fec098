"""Compares variants of a training, paired: `propensity compare --help`."""

from propensity.command import entry
from propensity.config import CompareConfig


@entry("compare", interrupted="the same command continues after the last finished training")
def main(cfg: CompareConfig) -> None:
    from propensity.command import composer
    from propensity.evaluation.compare import OWN, compare
    from propensity.report.table import say, show_metrics

    show_metrics(compare(cfg, composer("compare", OWN), say), cfg.out)


if __name__ == "__main__":
    main()
