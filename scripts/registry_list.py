"""Shows the models of a shop: `propensity registry list --help`."""

from propensity.command import entry
from propensity.config import RegistryListConfig


@entry("registry_list")
def main(cfg: RegistryListConfig) -> None:
    from propensity.nightly.registry import Registry
    from propensity.nightly.shop import read_shop
    from propensity.report.night import show_registry

    show_registry(Registry(read_shop(cfg.shop).state).content)


if __name__ == "__main__":
    main()
