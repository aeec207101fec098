"""Serves the scores of a bundle over HTTP: `propensity serve --help`."""

from propensity.command import entry
from propensity.config import ServeConfig


@entry("serve")
def main(cfg: ServeConfig) -> None:
    from propensity.serving.app import serve

    serve(cfg)


if __name__ == "__main__":
    main()
