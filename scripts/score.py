"""Scores every customer for every offer at a send date: `propensity score --help`."""

from propensity.command import entry
from propensity.config import ScoreConfig


@entry("score", interrupted="the same command continues; of a bundle, after the last finished part")
def main(cfg: ScoreConfig) -> None:
    from propensity.report.bundle import show_stream
    from propensity.report.table import show_scores, working
    from propensity.serving.score import by_bundle, score

    if by_bundle(cfg):
        from propensity.serving.batch import score_as

        out = cfg.out or "scores"
        with working("scoring") as say:
            stream = score_as(cfg, out, say)
        return show_stream(stream, out)
    out = cfg.out or "scores.parquet"
    assert cfg.run is not None  # by_bundle has seen to it
    with working("scoring") as say:
        scores = score(cfg.run, cfg.cutoff, out, cfg.log, say)
    show_scores(scores, out)


if __name__ == "__main__":
    main()
