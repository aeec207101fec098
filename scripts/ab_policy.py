"""Estimates what each arm for everybody, or a learned policy, is worth: `propensity ab policy --help`."""

from propensity.command import entry
from propensity.config import PolicyConfig


@entry("ab_policy")
def main(cfg: PolicyConfig) -> None:
    from propensity.ab.command import experiment_from, policy_rules, write
    from propensity.ab.policy import policy_values
    from propensity.ab.uplift import require_answer

    if cfg.run is None:
        result, table = policy_values(experiment_from(cfg, "policy"), policy_rules(cfg))
        write(cfg.out, "policy", result, table)
    else:
        from propensity.evaluation.message_uplift import policy_of_messages

        result = policy_of_messages(cfg, print)
    require_answer(result)


if __name__ == "__main__":
    main()
