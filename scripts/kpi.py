"""Computes the key figures of a log as of a cutoff: `propensity kpi --help`."""

from propensity.command import entry
from propensity.config import KpiConfig


@entry("kpi")
def main(cfg: KpiConfig) -> None:
    from propensity.key_figures.figures import kpi, save
    from propensity.report.kpi import kpi_page, show_kpi
    from propensity.report.table import working

    with working("counting", "kpi", cfg.out) as say:
        result = kpi(cfg, say)
        save(result, cfg.out, kpi_page(result))
    show_kpi(result, cfg.out)


if __name__ == "__main__":
    main()
