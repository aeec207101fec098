"""Compares a send date with the training window of a bundle: `python scripts/drift.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("drift")
def main(cfg: DictConfig) -> None:
    from propensity.report.bundle import show_drift
    from propensity.report.table import working
    from propensity.serving.drift import drift

    with working("comparing") as say:
        report = drift(cfg, say)
    show_drift(report, cfg.out)
    report.require()


if __name__ == "__main__":
    main()
