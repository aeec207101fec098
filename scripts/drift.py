"""Compares the inputs and scores of a cutoff with the training data of a bundle: `propensity drift --help`."""

from propensity.command import entry
from propensity.config import DriftConfig


@entry("drift")
def main(cfg: DriftConfig) -> None:
    from propensity.report.bundle import show_drift
    from propensity.report.table import working
    from propensity.serving.drift import drift

    with working("comparing") as say:
        report = drift(cfg, say)
    show_drift(report, cfg.out)
    report.require()


if __name__ == "__main__":
    main()
