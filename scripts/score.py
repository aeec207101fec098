"""Scores every customer for every offer at a cutoff: `propensity score --help`."""

from propensity.command import entry
from propensity.config import ScoreConfig


@entry("score", interrupted="the same command continues; of a bundle, after the last finished part")
def main(cfg: ScoreConfig) -> None:
    from propensity.report.bundle import show_batch
    from propensity.report.table import show_request_scores, show_scores, working
    from propensity.serving.score import by_request, score, uses_bundle

    if uses_bundle(cfg):
        from propensity.serving.batch import score_from_config

        out = cfg.out or "scores"
        with working("scoring") as say:
            result = score_from_config(cfg, out, say)
        return show_batch(result, out)
    out = cfg.out or "scores.parquet"
    assert cfg.run is not None  # uses_bundle has seen to it
    if by_request(cfg):
        from propensity.catalogue.score import score_requests

        with working("scoring") as say:
            options = cfg.log, cfg.top_per_customer, cfg.cutoff, say, cfg.data.verify
            table = score_requests(cfg.run, cfg.requests, out, *options)
        return show_request_scores(table, out)
    assert cfg.cutoff is not None
    with working("scoring") as say:
        scores = score(cfg.run, cfg.cutoff, out, cfg.log, say, cfg.data.verify)
    show_scores(scores, out)


if __name__ == "__main__":
    main()
