"""Says which customers of a log are leaving, and since when: `propensity churn --help`."""

from propensity.command import entry
from propensity.config import ChurnConfig


@entry("churn")
def main(cfg: ChurnConfig) -> None:
    from propensity.report.table import working
    from propensity.report.value import churn_page
    from propensity.value.output import check_folder, save_churn, show
    from propensity.value.run import churned

    check_folder(cfg.out)
    with working("looking for churn"):
        churn = churned(cfg)
        save_churn(churn, cfg.out, churn_page(churn))
    show(churn.summary, cfg.out)


if __name__ == "__main__":
    main()
