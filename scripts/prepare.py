"""From raw tables to an event log: `python scripts/prepare.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("prepare")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from propensity.report.table import show_log, working

    preparation = instantiate(cfg.data, _convert_="all")
    out = cfg.out or preparation.default_log
    with working(f"{'adding to' if cfg.append else 'preparing'} {out}"):
        log = preparation.append(out) if cfg.append else preparation.prepare(out)
    show_log(log, out)


if __name__ == "__main__":
    main()
