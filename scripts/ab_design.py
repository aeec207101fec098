"""Designs an experiment from the log of a retailer: `propensity ab design --help`."""

from propensity.command import entry
from propensity.config import DesignConfig


@entry("ab_design")
def main(cfg: DesignConfig) -> None:
    from dataclasses import fields

    import polars as pl

    from propensity.ab.command import chosen_scores, write
    from propensity.ab.design import Plan, design, sentences
    from propensity.ab.factorial import factorial_arms
    from propensity.data.event_log import EventLog, to_day

    settings = {each.name: getattr(cfg, each.name) for each in fields(Plan)}
    plan, cutoff = Plan(**settings | {"arms": factorial_arms(cfg.factors, cfg.arms)}), to_day(cfg.cutoff)
    result = design(EventLog.open(cfg.log), cutoff, plan, chosen_scores(cfg.scores, cutoff - cfg.horizon))
    result |= {"notes": [], "sentences": sentences(result)}
    write(cfg.out, "design", result, pl.DataFrame(result["duration"]))


if __name__ == "__main__":
    main()
