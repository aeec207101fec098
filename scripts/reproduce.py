"""Trains a run again and compares weights and metrics: `propensity reproduce --help`."""

from propensity.command import entry
from propensity.config import ReproduceConfig


@entry("reproduce")
def main(cfg: ReproduceConfig) -> None:
    from propensity.errors import GateError
    from propensity.evaluation.reproduce import reproduce
    from propensity.report.table import say, show_reproduction

    reproduction = reproduce(cfg, say)
    show_reproduction(reproduction, cfg.run)
    if differences := reproduction.differences:
        more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
        raise GateError(f"{cfg.run} is not reproduced: {differences[0]}{more}")


if __name__ == "__main__":
    main()
