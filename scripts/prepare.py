"""From raw tables to an event log: `python scripts/prepare.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("prepare")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from propensity.report.table import show_log

    preparation = instantiate(cfg.data, _convert_="all")
    out = cfg.out or preparation.default_log
    show_log(preparation.prepare(out), out)


if __name__ == "__main__":
    main()
