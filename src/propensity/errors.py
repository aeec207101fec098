"""Exceptions that a user can act on, and the exit code that each of them has in every command.

A message is one sentence: what was wrong, the value, and what to do. Any other exception is a bug and keeps its
traceback.
"""

from __future__ import annotations


class PropensityError(Exception):
    """Base class of errors that the user can correct.

    Attributes
    ----------
    exit_code : int
        Exit status of a command that ends with this error.
    """

    exit_code = 1


class ConfigurationError(PropensityError):
    """A command or its settings ask for something that does not exist or is not possible. Exit code 2."""

    exit_code = 2


class OneClassError(ConfigurationError):
    """Labels of which all are equal: no classifier can be fitted to them."""


class DataError(PropensityError):
    """A table cannot be read, is truncated, is empty, or violates its contract. Exit code 3."""

    exit_code = 3


class GateError(PropensityError):
    """The computation succeeded, but its result does not pass a threshold. Exit code 4."""

    exit_code = 4


class InfeasibleError(PropensityError):
    """No solution satisfies all constraints; the message names those that conflict. Exit code 4."""

    exit_code = 4


class IntegrityError(PropensityError):
    """A file differs from the hash or record that was stored when it was written. Exit code 5."""

    exit_code = 5


class DamageError(IntegrityError, DataError):
    """A file is truncated, or is not what was written. Exit code 5."""

    exit_code = 5


class ClusterError(ConfigurationError):
    """A cluster cannot be reached, is lost, or has workers that cannot compute the command's blocks. Exit code 2."""
