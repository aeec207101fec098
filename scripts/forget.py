"""Removes a customer from a log and from scores: `propensity forget --help`."""

from propensity.command import entry
from propensity.config import ForgetConfig


@entry("forget")
def main(cfg: ForgetConfig) -> None:
    from propensity.ingest.erasure import erase_customer, lift_tombstone
    from propensity.report.table import show_forgotten

    if cfg.lift:
        lift_tombstone(str(cfg.customer), cfg.log, cfg.runs, cfg.pseudonym)
        print(f"later deliveries of customer {cfg.customer} to {cfg.log} are accepted again")
        return
    show_forgotten(cfg.customer, erase_customer(str(cfg.customer), cfg.log, cfg.runs, cfg.pseudonym, cfg.folders))


if __name__ == "__main__":
    main()
