"""Removes a customer from a log and from scores: `python scripts/forget.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("forget")
def main(cfg: DictConfig) -> None:
    from propensity.ingest.erasure import erase_customer
    from propensity.report.table import show_forgotten

    show_forgotten(cfg.customer, erase_customer(str(cfg.customer), cfg.log, cfg.runs, cfg.pseudonym))


if __name__ == "__main__":
    main()
