"""Designs an experiment from the log of a retailer: `propensity ab design --help`."""

from propensity.command import entry
from propensity.config import DesignConfig


@entry("ab_design")
def main(cfg: DesignConfig) -> None:
    from dataclasses import fields

    import polars as pl

    from propensity.ab.command import chosen_scores, write
    from propensity.ab.design import Plan, design, sentences
    from propensity.data.event_log import EventLog, to_day

    plan, cutoff = Plan(**{each.name: getattr(cfg, each.name) for each in fields(Plan)}), to_day(cfg.cutoff)
    result = design(EventLog.open(cfg.log), cutoff, plan, chosen_scores(cfg.scores, cutoff - cfg.horizon))
    result |= {"notes": [], "sentences": sentences(result)}
    write(cfg.out, "design", result, pl.DataFrame(result["duration"]))


if __name__ == "__main__":
    main()
