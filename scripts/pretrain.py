"""Pretrains an encoder on histories: `propensity pretrain --help`."""

from propensity.command import entry
from propensity.config import PretrainConfig


@entry("pretrain")
def main(cfg: PretrainConfig) -> None:
    from rich.console import Console

    from propensity.pretrain.run import pretrain
    from propensity.report.table import working

    with working("pretraining"):
        found = pretrain(cfg)
    before, after = found["losses"]["before"], found["losses"]["after"]
    changes = ", ".join(f"{name} {before[name]:.4f} to {after[name]:.4f}" for name in after)
    told = f"; losses of {found['held_out']:,} held-out customers: {changes}" if changes else ""
    summary = f"{found['customers']:,} customers before {found['end']}, {found['steps']:,} steps{told}: {cfg.out}"
    Console().print(summary, highlight=False)


if __name__ == "__main__":
    main()
