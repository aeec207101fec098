"""Appends a delivery to an event log: `propensity append --help`."""

from propensity.command import entry
from propensity.config import AppendConfig


@entry("append")
def main(cfg: AppendConfig) -> None:
    from hydra.utils import instantiate

    from propensity.report.table import show_appended, working

    task = instantiate(cfg.data, _convert_="all")
    with working(f"adding to {cfg.log}", "append", cfg.log):
        log = task.append(cfg.log)
    show_appended(log, cfg.log)


if __name__ == "__main__":
    main()
