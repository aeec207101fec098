"""Looks for damage in a log, a run or a bundle: `propensity verify --help`."""

from propensity.command import entry
from propensity.config import VerifyConfig


@entry("verify")
def main(cfg: VerifyConfig) -> None:
    from propensity.serving.damage import verify_all

    for line in verify_all(cfg.log, cfg.run, cfg.bundle):
        print(line)


if __name__ == "__main__":
    main()
