"""What a person does with the registry: make a model live, or go back to the one before."""

from __future__ import annotations

from datetime import date

from propensity.config import RegistryConfig, RegistryPromoteConfig
from propensity.nightly.lock import only_night
from propensity.nightly.registry import Registry
from propensity.nightly.shop import read_shop

WHY = "by hand"


def promote(cfg: RegistryPromoteConfig) -> str:
    """Make a model live; returns a sentence.

    Parameters
    ----------
    cfg : RegistryPromoteConfig
        Composed configuration of conf/registry_promote.yaml.

    Raises
    ------
    ConfigurationError
        If there is no such model, or a nightly run is at work.
    IntegrityError
        If the registry was changed by hand, or the files of the model were removed.
    """
    state = read_shop(cfg.shop).state
    with only_night(state):
        registry, name = Registry(state), str(cfg.name)
        former = registry.live
        if name == former:
            registry.require(name)
            return f"{name} is live already"
        registry.promote(name, cfg.date or date.today().isoformat(), WHY)
    return f"{name} is live" + (
        "" if former is None else f", instead of {former}; propensity registry rollback undoes it"
    )


def rollback(cfg: RegistryConfig) -> str:
    """Make the model live that was live before; returns a sentence.

    Parameters
    ----------
    cfg : RegistryConfig
        Composed configuration of conf/registry_rollback.yaml.

    Raises
    ------
    ConfigurationError
        If no other model was live before, or a nightly run is at work.
    IntegrityError
        If the registry was changed by hand, or the files of the model were removed.
    """
    state = read_shop(cfg.shop).state
    with only_night(state):
        registry = Registry(state)
        former = registry.live
        name = registry.rollback(cfg.date or date.today().isoformat(), WHY)
    return f"{name} is live again, instead of {former}; the next propensity nightly scores with it"
