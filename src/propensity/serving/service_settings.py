"""Settings of the HTTP service, read from environment variables so that every worker process has the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from propensity.errors import ConfigurationError

PREFIX = "PROPENSITY_"
OFF = ("off", "false")  # YAML reads an unquoted `off` as false
SWITCH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class ServiceSettings:
    """What a service needs to know. Each setting is read from `PROPENSITY_<NAME>`.

    Attributes
    ----------
    bundle : str
        Folder of the bundle.
    log : str or None
        Folder of the event log.
    digest : str or None
        Digest that the bundle must have.
    tokens : str or None
        YAML file of bearer tokens, or `off` for a service without authentication.
    max_waiting : int
        Customers that may wait to be scored.
    max_connections : int
        Open connections of a worker.
    read_timeout : float
        Seconds in which a client must send a request, or take a part of a response.
    idle_timeout : float
        Seconds until a connection without a request is closed.
    refresh : float
        Seconds between looks for a new bundle, log or file of tokens.
    audit_interval : float
        Seconds between lines of the audit log on what was scored.
    verify : bool
        Whether to compare the log with its checksums.
    values : str or None
        Folder of values that `propensity clv` wrote.
    """

    bundle: str = ""
    log: str | None = None
    digest: str | None = None
    tokens: str | None = None
    max_waiting: int = 256
    max_connections: int = 1024
    read_timeout: float = 10.0
    idle_timeout: float = 15.0
    refresh: float = 2.0
    audit_interval: float = 3600.0
    verify: bool = True
    values: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ServiceSettings:
        """Read the settings.

        Parameters
        ----------
        environment : mapping of str to str, optional
            Environment variables; default: those of the process. An empty value is as none.

        Returns
        -------
        ServiceSettings
            Defaults where a variable is missing.

        Raises
        ------
        ConfigurationError
            If a value has the wrong type or is out of range.

        Examples
        --------
        >>> ServiceSettings.from_environment({"PROPENSITY_BUNDLE": "bundle", "PROPENSITY_MAX_WAITING": "8"}).max_waiting
        8
        """
        source = os.environ if environment is None else environment
        hints, values = get_type_hints(cls), {}
        for field in fields(cls):
            if text := source.get(variable(field.name), "").strip():
                values[field.name] = _parsed(variable(field.name), text, hints[field.name])
        return cls(**values)

    def environment(self) -> dict[str, str]:
        """The settings as environment variables; `from_environment` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {variable(name): _text(value) for name, value in values.items() if value is not None}


def variable(name: str) -> str:
    """Environment variable of a setting.

    Examples
    --------
    >>> variable("max_waiting")
    'PROPENSITY_MAX_WAITING'
    """
    return PREFIX + name.upper()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(name: str, text: str, hint: Any) -> Any:
    """A value of the type of its setting."""
    if hint is bool:
        if text.lower() not in SWITCH:
            raise ConfigurationError(f"{name}={text} is neither true nor false; give one of them")
        return SWITCH[text.lower()]
    if hint not in (int, float):
        return text
    try:
        value = hint(text)
    except ValueError:
        value = -1
    least = 1 if hint is int else 0.01
    if not least <= value <= 1e9:
        raise ConfigurationError(f"{name}={text} is no {hint.__name__} of at least {least:g}; correct it")
    return value


def is_off(tokens: str) -> bool:
    """Whether the setting `tokens` says that there is no authentication.

    Examples
    --------
    >>> is_off("Off"), is_off("tokens.yaml")
    (True, False)
    """
    return tokens.strip().lower() in OFF
