"""Makes the model live that was live before: `propensity registry rollback --help`."""

from propensity.command import entry
from propensity.config import RegistryConfig


@entry("registry_rollback")
def main(cfg: RegistryConfig) -> None:
    from propensity.nightly.by_hand import rollback

    print(rollback(cfg))


if __name__ == "__main__":
    main()
