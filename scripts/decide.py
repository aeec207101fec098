"""Makes a decision from scores: `propensity decide --help`."""

from propensity.command import entry
from propensity.config import DecideConfig


@entry("decide")
def main(cfg: DecideConfig) -> None:
    from propensity.decision.result import show
    from propensity.report.table import working
    from propensity.serving.decide import make_all_and_write

    with working("deciding") as say:
        decided = make_all_and_write(cfg, say)
    for result, written in decided:
        show(result, written)


if __name__ == "__main__":
    main()
