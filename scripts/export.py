"""Exports a run to a bundle that scores and proves itself: `python scripts/export.py --help`."""

from omegaconf import DictConfig

from propensity.config import entry


@entry("export")
def main(cfg: DictConfig) -> None:
    from propensity.report.bundle import show_bundle
    from propensity.report.table import working
    from propensity.serving.export import export

    with working("exporting") as say:
        manifest = export(cfg.run, cfg.out, list(cfg.formats), cfg.log, cfg.cutoff, cfg.rows, cfg.valid_days, say)
    show_bundle(manifest, cfg.out)


if __name__ == "__main__":
    main()
