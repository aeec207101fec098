"""Trains and evaluates one model per cutoff: `propensity backtest --help`."""

from propensity.command import entry
from propensity.config import BacktestConfig


@entry("backtest", interrupted="the same command continues after the last finished fold")
def main(cfg: BacktestConfig) -> None:
    from propensity.evaluation.backtest import backtest
    from propensity.report.markdown import write_report
    from propensity.report.table import show_metrics, working

    with working("preparing the backtest", "backtest", cfg.out, bar=False) as say:
        metrics = backtest(cfg, say)
        say("writing the report")
        write_report(metrics, cfg.out)
    show_metrics(metrics, cfg.out)


if __name__ == "__main__":
    main()
