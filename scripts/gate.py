"""Checks a run before it is used: `propensity gate --help`."""

from propensity.command import entry
from propensity.config import GateConfig


@entry("gate")
def main(cfg: GateConfig) -> None:
    from propensity.errors import GateError
    from propensity.evaluation.gate import gate
    from propensity.report.table import show_checks, working

    with working("checking"):
        results = gate(cfg)
    show_checks(results)
    if failed := [result for result in results if not result.passed]:
        raise GateError(f"{cfg.run} fails " + "; ".join(f"{each.check}: {each.message}" for each in failed))


if __name__ == "__main__":
    main()
