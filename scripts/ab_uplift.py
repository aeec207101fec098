"""Learns who is moved by a message, and tests the ranking against random orderings: `propensity ab uplift --help`."""

from propensity.command import entry
from propensity.config import UpliftConfig


@entry("ab_uplift")
def main(cfg: UpliftConfig) -> None:
    from propensity.ab.command import experiment_from, uplift_rules, write
    from propensity.ab.uplift import learn_uplift, require_answer

    if any(each is not None for each in (cfg.messages, cfg.run, cfg.at)):
        from propensity.evaluation.message_uplift import learn_messages
        from propensity.report.table import working

        with working("learning uplift") as say:
            result = learn_messages(cfg, say)
    else:
        result, table = learn_uplift(experiment_from(cfg, "uplift"), uplift_rules(cfg))
        write(cfg.out, "uplift", result, table)
    require_answer(result)


if __name__ == "__main__":
    main()
