"""Writes the network's state vector of every customer, for segments: `propensity states --help`."""

from propensity.command import entry
from propensity.config import StatesConfig


@entry("states")
def main(cfg: StatesConfig) -> None:
    from rich.console import Console

    from propensity.atomic import whole_file
    from propensity.data.cutoff import parse_cutoff
    from propensity.data.table_file import write_table
    from propensity.report.table import working
    from propensity.training.checkpoint import load_trained
    from propensity.training.predict import states

    with working("reading states"), whole_file(cfg.out) as draft:
        trained = load_trained(cfg.run)
        log = trained.task.open()
        cutoff = parse_cutoff(log, cfg.cutoff, trained.task.horizon)
        table = states(trained.model, trained.task.cutoff_data(log, cutoff, trained.vocabulary))
        write_table(table, draft)
    summary = f"{table.height:,} customers on {cutoff}, {table.width - 1} numbers each: {cfg.out}"
    Console().print(summary, highlight=False)


if __name__ == "__main__":
    main()
