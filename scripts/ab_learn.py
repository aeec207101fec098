"""Learns from what was sent: effects, uplift again, and the better ranking: `propensity ab learn --help`."""

from propensity.command import entry
from propensity.config import LearnConfig


@entry("ab_learn")
def main(cfg: LearnConfig) -> None:
    from propensity.ab.uplift import require_answer

    if cfg.run is None:
        from propensity.ab.command import learn_from

        result = learn_from(cfg)
    else:
        from propensity.evaluation.message_uplift import learn_what_was_sent

        result = learn_what_was_sent(cfg, print)
    require_answer(result)


if __name__ == "__main__":
    main()
