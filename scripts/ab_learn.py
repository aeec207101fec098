"""Learns from what was sent: effects, uplift again, and the better ranking: `propensity ab learn --help`."""

from propensity.command import entry
from propensity.config import LearnConfig


@entry("ab_learn")
def main(cfg: LearnConfig) -> None:
    from pathlib import Path

    from propensity.ab.command import experiment_from, uplift_rules, write
    from propensity.ab.learn import learn
    from propensity.ab.sent import entered
    from propensity.ab.table import read_data
    from propensity.ab.uplift import require_answer

    champion = None if cfg.champion is None else read_data(Path(cfg.champion) / "uplift.parquet")
    cfg, notes = entered(cfg)
    effects, result, table = learn(experiment_from(cfg, "uplift"), uplift_rules(cfg), champion)
    result |= {"campaign": cfg.campaign, "notes": [*notes, *result["notes"]]}
    result["sentences"] = [*effects["sentences"], *result["sentences"]]
    write(cfg.out, "uplift", result, table, also={"analysis": effects})
    require_answer(result)


if __name__ == "__main__":
    main()
