"""Does a night, from delivered files to send lists: `propensity nightly --help`."""

from propensity.command import entry
from propensity.config import NightlyConfig


@entry("nightly", interrupted="the same command continues after the last step that was done")
def main(cfg: NightlyConfig) -> None:
    from propensity.nightly.run import nightly
    from propensity.report.night import show_night
    from propensity.report.table import say, say_plain

    outcome = nightly(cfg, say_plain if cfg.progress == "json" else say)
    show_night(outcome.summary, outcome.times, outcome.page)
    outcome.require()


if __name__ == "__main__":
    main()
