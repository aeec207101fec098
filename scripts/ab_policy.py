"""Estimates what each arm for everybody, or a learned policy, is worth: `propensity ab policy --help`."""

from propensity.command import entry
from propensity.config import PolicyConfig


@entry("ab_policy")
def main(cfg: PolicyConfig) -> None:
    from propensity.ab.command import experiment_from, write
    from propensity.ab.policy import PolicyRules, policy_values
    from propensity.ab.uplift import require_answer

    rules = PolicyRules(cfg.cost, cfg.regressor, cfg.folds, cfg.seed)
    result, table = policy_values(experiment_from(cfg, "policy"), rules)
    write(cfg.out, "policy", result, table)
    require_answer(result)


if __name__ == "__main__":
    main()
