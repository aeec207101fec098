"""Makes a decision from scores: `propensity decide --help`."""

from propensity.command import entry
from propensity.config import DecideConfig


@entry("decide")
def main(cfg: DecideConfig) -> None:
    from propensity.decision.arms import decided, read_arms
    from propensity.decision.context import gather
    from propensity.decision.objective import objective_of
    from propensity.decision.result import save_and_record, show
    from propensity.decision.setting import build_decision
    from propensity.report.table import working
    from propensity.serving.explain import with_reasons

    decision = build_decision(cfg.decision)
    objective, arms = objective_of(cfg.objective, cfg.discovery, cfg.uplift, cfg.decision), read_arms(cfg.arms)
    with working("deciding") as say:
        context = gather(cfg.scores, cfg.cutoff, cfg.customers, cfg.contacts, cfg.log, cfg.seed, say)
        result = decided(decision, context, objective, arms)
        result = with_reasons(result, context.scores.cutoff, cfg, say)
        save_and_record(result, cfg.out, cfg.scores, context.event_log)
    show(result, cfg.out)


if __name__ == "__main__":
    main()
