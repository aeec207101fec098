"""Scores every customer for every offer at a cutoff: `propensity score --help`."""

from propensity.command import entry
from propensity.config import ScoreConfig


@entry("score", interrupted="the same command continues; of a bundle, after the last finished part")
def main(cfg: ScoreConfig) -> None:
    from propensity.report.bundle import show_batch
    from propensity.report.table import show_scores, working
    from propensity.serving.score import score, uses_bundle

    bundled = uses_bundle(cfg)
    if cfg.offers is not None or cfg.horizons is not None:
        from propensity.serving.score_offers import score_offers

        out = cfg.out or "scores.parquet"
        with working("scoring") as say:
            scores = score_offers(cfg, out, say)
        return show_scores(scores[max(scores)], out)
    if bundled:
        from propensity.serving.batch import score_from_config

        out = cfg.out or "scores"
        with working("scoring") as say:
            result = score_from_config(cfg, out, say)
        return show_batch(result, out)
    out = cfg.out or "scores.parquet"
    assert cfg.run is not None  # uses_bundle has seen to it
    with working("scoring") as say:
        scores = score(cfg.run, cfg.cutoff, out, cfg.log, say, cfg.data.verify)
    show_scores(scores, out)


if __name__ == "__main__":
    main()
