"""Removes a customer from a log and from scores: `propensity forget --help`."""

from propensity.command import entry
from propensity.config import ForgetConfig


@entry("forget")
def main(cfg: ForgetConfig) -> None:
    from propensity.ingest.erasure import erase_customer
    from propensity.report.table import show_forgotten

    show_forgotten(cfg.customer, erase_customer(str(cfg.customer), cfg.log, cfg.runs, cfg.pseudonym))


if __name__ == "__main__":
    main()
