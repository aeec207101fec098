"""Scores every customer for every offer at a send date: `python scripts/score.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("score")
def main(cfg: DictConfig) -> None:
    from propensity.report.table import show_scores, working
    from propensity.serving.score import score

    with working("scoring") as say:
        scores = score(cfg.run, cfg.cutoff, cfg.out, cfg.log, say)
    show_scores(scores, cfg.out)


if __name__ == "__main__":
    main()
