"""Explains scores in words: `propensity explain --help`."""

from propensity.command import entry
from propensity.config import ExplainConfig


@entry("explain")
def main(cfg: ExplainConfig) -> None:
    from propensity.explain.command import explain, show
    from propensity.report.table import working

    with working("explaining") as say:
        result = explain(cfg, say)
    show(result, cfg.out)


if __name__ == "__main__":
    main()
