"""Writes an event log with segments whole: `propensity compact --help`."""

from propensity.command import entry
from propensity.config import CompactConfig


@entry("compact")
def main(cfg: CompactConfig) -> None:
    from propensity.ingest.compact import compact
    from propensity.report.table import working

    with working(f"compacting {cfg.log}"):
        log = compact(cfg.log)
    print(f"{cfg.log}: {log.size:,} events without segments; fingerprint {log.fingerprint}")


if __name__ == "__main__":
    main()
