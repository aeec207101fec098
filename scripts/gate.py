"""Puts a run through its checks: `propensity gate --help`."""

from propensity.command import entry
from propensity.config import GateConfig


@entry("gate")
def main(cfg: GateConfig) -> None:
    from propensity.errors import GateError
    from propensity.evaluation.gate import gate
    from propensity.report.table import show_findings, working

    with working("checking"):
        findings = gate(cfg)
    show_findings(findings)
    if failed := [finding for finding in findings if not finding.passed]:
        raise GateError(f"{cfg.run} fails " + "; ".join(f"{each.check}: {each.sentence}" for each in failed))


if __name__ == "__main__":
    main()
