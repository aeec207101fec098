"""Creates a project folder: `propensity init --help`."""

from propensity.command import entry
from propensity.config import InitConfig


@entry("init")
def main(cfg: InitConfig) -> None:
    from propensity.project import make_project

    files = make_project(cfg.out)
    print(f"{cfg.out}: {len(files)} files; {cfg.out.rstrip('/')}/README.md has the first commands")


if __name__ == "__main__":
    main()
