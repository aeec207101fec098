"""Explains scores in words: `propensity explain --help`."""

from propensity.command import entry
from propensity.config import ExplainConfig


@entry("explain")
def main(cfg: ExplainConfig) -> None:
    from propensity.report.explain import show_reasons, show_reliance
    from propensity.report.table import working
    from propensity.serving.explain import explain

    with working("explaining") as say:
        result = explain(cfg, say)
    if result.reasons is not None:
        show_reasons(result.reasons, result.largest)
    if result.section is not None:
        show_reliance(result.section, cfg.out)


if __name__ == "__main__":
    main()
