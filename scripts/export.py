"""Exports a run to a bundle that scores without Lightning: `propensity export --help`."""

from propensity.command import entry
from propensity.config import ExportConfig


@entry("export")
def main(cfg: ExportConfig) -> None:
    from propensity.report.bundle import show_bundle
    from propensity.report.table import working
    from propensity.serving.export import export

    with working("exporting") as say:
        manifest = export(
            *(cfg.run, cfg.out, list(cfg.formats), cfg.log, cfg.cutoff, cfg.rows, cfg.valid_days, say),
            verify_log=cfg.data.verify,
        )
    show_bundle(manifest, cfg.out)


if __name__ == "__main__":
    main()
