"""Makes a decision from scores: `propensity decide --help`."""

from propensity.command import entry
from propensity.config import DecideConfig


@entry("decide")
def main(cfg: DecideConfig) -> None:
    from hydra.utils import instantiate

    from propensity.decision.arms import decided, read_arms
    from propensity.decision.context import gather
    from propensity.decision.objective import objective_of
    from propensity.decision.result import in_currency, record, save, show
    from propensity.decision.setting import check_decision
    from propensity.report.table import working
    from propensity.serving.explain import with_reasons

    check_decision(cfg.decision)
    objective, arms = objective_of(cfg.objective, cfg.discovery, cfg.uplift, cfg.decision), read_arms(cfg.arms)
    decision = instantiate(cfg.decision, _convert_="all")
    with working("deciding") as say:
        context = gather(cfg.scores, cfg.cutoff, cfg.customers, cfg.contacts, cfg.log, cfg.seed, say)
        result = in_currency(decided(decision, context, objective, arms), context.currency)
        result = with_reasons(result, context.scores.cutoff, cfg, say)
        save(result, cfg.out)
        record(cfg.scores, cfg.out, context.event_log, result.name)
    show(result, cfg.out)


if __name__ == "__main__":
    main()
