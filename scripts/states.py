"""Writes the network's state vector of every customer, for segments: `propensity states --help`."""

from propensity.command import entry
from propensity.config import StatesConfig


@entry("states")
def main(cfg: StatesConfig) -> None:
    from rich.console import Console

    from propensity.report.table import working
    from propensity.training.states import write_states

    with working("reading states"):
        table = write_states(cfg.run, cfg.cutoff, cfg.out)
    summary = f"{table.height:,} customers on {cfg.cutoff}, {table.width - 1} numbers each: {cfg.out}"
    Console().print(summary, highlight=False)


if __name__ == "__main__":
    main()
