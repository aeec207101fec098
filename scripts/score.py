"""Scores every customer for every offer at a cutoff: `propensity score --help`."""

from propensity.command import entry
from propensity.config import ScoreConfig


@entry("score", interrupted="the same command continues; of a bundle, after the last finished part")
def main(cfg: ScoreConfig) -> None:
    from propensity.report.bundle import show_batch
    from propensity.report.table import show_request_scores, show_scores, working
    from propensity.serving.score import by_offer, by_request, score_from_config, uses_bundle

    if uses_bundle(cfg) and not by_offer(cfg):
        from propensity.serving.batch import score_from_config as score_bundle

        with working("scoring", "score", cfg.run, cfg.out or "scores") as say:
            result = score_bundle(cfg, cfg.out or "scores", say)
        return show_batch(result, cfg.out or "scores")
    out = cfg.out or "scores.parquet"
    with working("scoring", "score", cfg.run, out) as say:
        scores = score_from_config(cfg, out, say)
    show_request_scores(scores, out) if by_request(cfg) else show_scores(scores, out)


if __name__ == "__main__":
    main()
