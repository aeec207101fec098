"""Draws the arms of an experiment: `propensity ab split --help`."""

from propensity.command import entry
from propensity.config import SplitConfig


@entry("ab_split")
def main(cfg: SplitConfig) -> None:
    from propensity.ab.factorial import factorial_arms, with_factors
    from propensity.ab.split import assign
    from propensity.ab.table import read_data
    from propensity.atomic import whole_file

    arms = factorial_arms(cfg.factors, cfg.arms)
    earlier = None if cfg.earlier is None else read_data(cfg.earlier)
    table = assign(read_data(cfg.customers), cfg.name, arms, cfg.global_holdout, cfg.strata, earlier)
    table = with_factors(table, table["arm"])
    with whole_file(cfg.out) as draft:
        table.write_parquet(draft)
    for arm, size in sorted(table["arm"].value_counts().iter_rows()):
        print(f"{arm}: {size:,} customers")


if __name__ == "__main__":
    main()
