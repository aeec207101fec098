"""Estimates the effect of the n-th message in a window, where it can be known: `propensity ab fatigue --help`."""

from propensity.command import entry
from propensity.config import FatigueConfig


@entry("ab_fatigue")
def main(cfg: FatigueConfig) -> None:
    from propensity.ab.command import fatigue_from, write
    from propensity.ab.fatigue import fatigue_table
    from propensity.ab.uplift import require_answer

    result = fatigue_from(cfg)
    write(cfg.out, "fatigue", result, fatigue_table(result))
    require_answer(result)


if __name__ == "__main__":
    main()
