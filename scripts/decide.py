"""Makes a decision from scores: `propensity decide --help`."""

from propensity.command import entry
from propensity.config import DecideConfig


@entry("decide")
def main(cfg: DecideConfig) -> None:
    from hydra.utils import instantiate

    from propensity.decision.arms import held_out, read_arms, with_arms
    from propensity.decision.context import gather
    from propensity.decision.objective import objective_of, require_supported, with_objective
    from propensity.decision.result import in_currency, save, show
    from propensity.decision.setting import check_decision
    from propensity.report.table import working
    from propensity.serving.explain import with_reasons

    check_decision(cfg.decision)
    require_supported(cfg.objective, cfg.decision)
    objective = objective_of(cfg.objective, cfg.discovery, cfg.uplift)
    arms = None if cfg.arms is None else read_arms(cfg.arms)
    decision = instantiate(cfg.decision, _convert_="all")
    with working("deciding") as say:
        context = gather(cfg.scores, cfg.cutoff, cfg.customers, cfg.contacts, cfg.log, cfg.seed, say)
        held = None if arms is None else held_out(arms, context.scores.customer)
        context = context.changed(objective=objective, held=held)
        result = in_currency(decision(context), context.currency)
        result = with_objective(result, objective)
        if arms is not None and held is not None:
            result = with_arms(result, arms, held)
        result = with_reasons(result, context.scores.cutoff, cfg, say)
        save(result, cfg.out)
    show(result, cfg.out)


if __name__ == "__main__":
    main()
