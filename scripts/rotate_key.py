"""Stores the customer ids of a log under a new key: `propensity rotate-key --help`."""

from propensity.command import entry
from propensity.config import RotateKeyConfig


@entry("rotate_key")
def main(cfg: RotateKeyConfig) -> None:
    from propensity.ingest.rotation import rotate_key
    from propensity.report.table import show_rotated

    show_rotated(cfg.log, rotate_key(cfg.log, cfg.pseudonym, cfg.new_pseudonym, cfg.runs))


if __name__ == "__main__":
    main()
