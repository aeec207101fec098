"""The network's state of every customer, for segments: `python scripts/states.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("states")
def main(cfg: DictConfig) -> None:
    from rich.console import Console

    from propensity.atomic import whole_file
    from propensity.data.cutoff import parse_cutoff
    from propensity.report.table import working
    from propensity.training.checkpoint import load_trained
    from propensity.training.predict import states

    with working("reading states"), whole_file(cfg.out) as draft:
        trained = load_trained(cfg.run)
        log = trained.task.open()
        date = parse_cutoff(log, cfg.cutoff, trained.task.horizon)
        table = states(trained.model, trained.task.cutoff_data(log, date, trained.vocabulary))
        table.write_parquet(draft)
    Console().print(f"{table.height:,} customers on {date}, {table.width - 1} numbers each: {cfg.out}", highlight=False)


if __name__ == "__main__":
    main()
