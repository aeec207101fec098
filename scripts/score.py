"""Scores every customer for every offer at a send date: `python scripts/score.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("score")
def main(cfg: DictConfig) -> None:
    from propensity.report.bundle import show_stream
    from propensity.report.table import show_scores, working
    from propensity.serving.score import by_bundle, score

    with working("scoring") as say:
        if by_bundle(cfg):
            from propensity.serving.stream import Stream, score_bundle

            how, out = Stream(cfg.top, cfg.top_per_customer, cfg.part, cfg.threads), cfg.out or "scores"
            stream = score_bundle(cfg.bundle, cfg.log, cfg.cutoff, out, how, say, cfg.digest)
        else:
            scores, out = score(cfg.run, cfg.cutoff, cfg.out or "scores.parquet", cfg.log, say), cfg.out
    show_stream(stream, out) if cfg.bundle else show_scores(scores, cfg.out or "scores.parquet")


if __name__ == "__main__":
    main()
