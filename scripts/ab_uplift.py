"""Learns who is moved by a message, and tests the ranking against random orderings: `propensity ab uplift --help`."""

from propensity.command import entry
from propensity.config import UpliftConfig


@entry("ab_uplift")
def main(cfg: UpliftConfig) -> None:
    from propensity.ab.command import experiment_from, write
    from propensity.ab.uplift import UpliftRules, learn_uplift, require_answer

    rules = UpliftRules(cfg.learners, cfg.regressor, cfg.folds, cfg.orderings, cfg.resamples, cfg.seed)
    result, table = learn_uplift(experiment_from(cfg, "uplift"), rules)
    write(cfg.out, "uplift", result, table)
    require_answer(result)


if __name__ == "__main__":
    main()
