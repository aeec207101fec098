"""Verifies the audit log: `propensity audit --help`."""

from pathlib import Path

from propensity.command import entry
from propensity.config import AuditConfig


@entry("audit")
def main(cfg: AuditConfig) -> None:
    from propensity.audit import audit_log, verify

    path = Path(cfg.runs) if Path(cfg.runs).is_file() else audit_log(cfg.runs)
    state = verify(path, cfg.digest)
    older = f", {state.unchained} of them by an earlier version" if state.unchained else ""
    print(f"{path}: {state.lines} lines unchanged{older}")
    print(f"digest {state.digest}" + ("" if cfg.digest else " (keep it elsewhere; digest=... compares it later)"))


if __name__ == "__main__":
    main()
