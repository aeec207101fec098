"""Builds an event log from raw tables: `propensity prepare --help`."""

from propensity.command import entry, project_folder
from propensity.config import PrepareConfig


@entry("prepare")
def main(cfg: PrepareConfig) -> None:
    from pathlib import Path

    from hydra.utils import instantiate

    from propensity.ingest.prepared import prepared
    from propensity.ingest.source.suggestion import suggest
    from propensity.report.table import show_appended, show_log, working

    if cfg.suggest:
        print(suggest(cfg.suggest, project_folder() or Path("conf")))
        return
    task = instantiate(cfg.data, _convert_="all")
    out = cfg.out or task.log or task.default_log
    action = "checking" if cfg.check else "adding to" if cfg.append else "preparing"
    with working(f"{action} {out}", "append" if cfg.append else "prepare", None if cfg.check else out):
        log = prepared(task, cfg, out)
    (show_appended if cfg.append and not cfg.check else show_log)(log, None if cfg.check else out)


if __name__ == "__main__":
    main()
