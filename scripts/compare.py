"""Compares variants of a training, in pairs: `python scripts/compare.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("compare")
def main(cfg: DictConfig) -> None:
    from propensity.evaluation.compare import compare
    from propensity.report.table import say, show_metrics

    show_metrics(compare(cfg, say), cfg.out)


if __name__ == "__main__":
    main()
