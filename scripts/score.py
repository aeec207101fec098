"""Scores every customer for every offer at a send date: `python scripts/score.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("score")
def main(cfg: DictConfig) -> None:
    from propensity.report.bundle import show_batch
    from propensity.report.table import show_scores, working
    from propensity.serving.score import score, uses_bundle

    if uses_bundle(cfg):
        from propensity.serving.batch import score_from_config

        out = cfg.out or "scores"
        with working("scoring") as say:
            result = score_from_config(cfg, out, say)
        return show_batch(result, out)
    out = cfg.out or "scores.parquet"
    with working("scoring") as say:
        scores = score(cfg.run, cfg.cutoff, out, cfg.log, say)
    show_scores(scores, out)


if __name__ == "__main__":
    main()
