"""What can go wrong for a reader of our messages, and the exit code each of these has in every script.

A message is one sentence: what was wrong, the value, the way out. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations


class PropensityError(Exception):
    """A mistake that whoever started the script can repair."""

    exit_code = 1


class ConfigurationError(PropensityError):
    """The command or its YAML asks for something that does not exist or cannot be."""

    exit_code = 2


class DataError(PropensityError):
    """A table cannot be read, is cut short, is empty, or breaks its contract."""

    exit_code = 3


class GateError(PropensityError):
    """The work was done, and its result is below the bar that was set."""

    exit_code = 4


class InfeasibleError(PropensityError):
    """No answer keeps all the rules that were asked for; the message names those that clash."""

    exit_code = 4


class IntegrityError(PropensityError):
    """Something that was written is no longer what its own record says it is."""

    exit_code = 5
