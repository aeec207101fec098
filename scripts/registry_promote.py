"""Makes a model live: `propensity registry promote --help`."""

from propensity.command import entry
from propensity.config import RegistryPromoteConfig


@entry("registry_promote")
def main(cfg: RegistryPromoteConfig) -> None:
    from propensity.nightly.by_hand import promote

    print(promote(cfg))


if __name__ == "__main__":
    main()
