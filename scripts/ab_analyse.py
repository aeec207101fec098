"""Analyses an experiment: checks, effects with intervals, and verdicts: `propensity ab analyse --help`."""

from propensity.command import entry
from propensity.config import AnalyseConfig


@entry("ab_analyse")
def main(cfg: AnalyseConfig) -> None:
    from propensity.ab.analyse import Rules, analyse, effect_table
    from propensity.ab.command import experiment_from, write
    from propensity.ab.uplift import require_answer
    from propensity.report.experiment import experiment_page

    rules = Rules(cfg.alpha, cfg.power, cfg.relevant, cfg.planned, tuple(cfg.lower_is_better))
    if cfg.messages is None and cfg.run is None:
        experiment = experiment_from(cfg, "analysis")
    else:
        from propensity.evaluation.message_experiment import messages_from

        experiment = messages_from(cfg, "analysis", None, print).experiment
    result = analyse(experiment, rules)
    write(cfg.out, "analysis", result, effect_table(result), experiment_page(result))
    require_answer(result)


if __name__ == "__main__":
    main()
