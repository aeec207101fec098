"""Scores every customer for every offer at a cutoff: `propensity score --help`."""

from propensity.command import entry
from propensity.config import ScoreConfig


@entry("score", interrupted="the same command continues; of a bundle, after the last finished part")
def main(cfg: ScoreConfig) -> None:
    from propensity.report.bundle import show_batch
    from propensity.report.table import show_scores, working
    from propensity.serving.batch import score_from_config
    from propensity.serving.score import uses_bundle
    from propensity.serving.score_offers import names_more, score_file

    if uses_bundle(cfg) and not names_more(cfg):
        out = cfg.out or "scores"
        with working("scoring") as say:
            result = score_from_config(cfg, out, say)
        return show_batch(result, out)
    out = cfg.out or "scores.parquet"
    with working("scoring") as say:
        scores = score_file(cfg, out, say)
    show_scores(scores, out)


if __name__ == "__main__":
    main()
