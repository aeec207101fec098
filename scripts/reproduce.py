"""Trains a run again and compares: `propensity reproduce --help`."""

from propensity.command import entry
from propensity.config import ReproduceConfig


@entry("reproduce")
def main(cfg: ReproduceConfig) -> None:
    from propensity.errors import GateError
    from propensity.evaluation.reproduce import reproduce
    from propensity.report.table import say, show_copy

    copy = reproduce(cfg, say)
    show_copy(copy, cfg.run)
    if copy.differences:
        more = f", and {len(copy.differences) - 1} more" if len(copy.differences) > 1 else ""
        raise GateError(f"{cfg.run} is not reproduced: {copy.differences[0]}{more}")


if __name__ == "__main__":
    main()
