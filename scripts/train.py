"""Trains a network: `propensity train --help`."""

from propensity.command import entry
from propensity.config import TrainConfig


@entry("train", interrupted="the same command continues after the last whole epoch")
def main(cfg: TrainConfig) -> float | None:
    from propensity.catalogue.train import train_on_requests
    from propensity.command import sweep_job
    from propensity.report.curve import save_curves
    from propensity.report.sweep import finish_job
    from propensity.report.table import show_run, working
    from propensity.training.run import train
    from propensity.training.track import first_process

    record = cfg.out if first_process() else None
    with working("preparing the training set", "train", record, bar=False) as say:
        train_on_requests(cfg, say) if cfg.data.get("requests") is not None else train(cfg)
    if not first_process():
        return None
    save_curves(cfg.out)
    show_run(cfg.out)
    return finish_job(cfg, sweep_job())


if __name__ == "__main__":
    main()
