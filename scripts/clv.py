"""Values the customers of a log: `propensity clv --help`."""

from propensity.command import entry
from propensity.config import ClvConfig


@entry("clv")
def main(cfg: ClvConfig) -> None:
    from propensity.report.table import working
    from propensity.report.value import value_page
    from propensity.value.output import check_folder, save_values, show
    from propensity.value.run import values

    check_folder(cfg.out)
    with working("valuing customers", "clv", cfg.out) as say:
        valuation = values(cfg)
        say("writing tables and page")
        save_values(valuation, cfg.out, value_page(valuation))
    show(valuation.summary, cfg.out)


if __name__ == "__main__":
    main()
