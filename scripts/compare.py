"""Compares variants of a training, in pairs: `python scripts/compare.py --help`."""

from propensity.config import CompareConfig, entry


@entry("compare")
def main(cfg: CompareConfig) -> None:
    from propensity.config import composer
    from propensity.evaluation.compare import OWN, compare
    from propensity.report.table import say, show_metrics

    show_metrics(compare(cfg, composer("compare", OWN), say), cfg.out)


if __name__ == "__main__":
    main()
