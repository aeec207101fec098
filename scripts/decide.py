"""Makes a decision from scores: `propensity decide --help`."""

from propensity.command import entry
from propensity.config import DecideConfig


@entry("decide")
def main(cfg: DecideConfig) -> None:
    from propensity.decision.result import show
    from propensity.report.table import working
    from propensity.serving.decide import make_and_write

    with working("deciding") as say:
        result, written = make_and_write(cfg, say)
    show(result, written)


if __name__ == "__main__":
    main()
