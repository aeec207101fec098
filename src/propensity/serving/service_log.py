"""Log of the HTTP service: one JSON object per line, without personal data.

A line of a request has its id, route, status, time, size and the name of the caller's token. It has no address, no
body, no customer id, no query and no path as sent, and of an error that is a bug only its class and the place in the
code, because its text may hold values of a request.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NAME = "propensity.service"
LOGGER = logging.getLogger(NAME)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; `extra={"fields": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= failure(record.exc_info[1])
        return json.dumps(line, default=str)


class StderrHandler(logging.StreamHandler[Any]):
    """Writes to what `sys.stderr` is at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(JsonFormatter())

    @property
    def stream(self) -> Any:
        """The stream that receives the lines."""
        return sys.stderr


UVICORN_LOG: dict[str, Any] = {  # uvicorn's own messages in the same form; requests are logged by `Guard`
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"json": {"class": f"{__name__}.StderrHandler"}},
    "loggers": {
        "uvicorn": {"handlers": ["json"], "level": "WARNING", "propagate": False},
        "uvicorn.access": {"handlers": [], "level": "CRITICAL", "propagate": False},
    },
}


def configure() -> None:
    """Send the service's log to stderr, once."""
    if not any(isinstance(handler, StderrHandler) for handler in LOGGER.handlers):
        LOGGER.addHandler(StderrHandler())
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def say(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event.

    Parameters
    ----------
    event : str
        A few fixed words.
    level : int
        Level of `logging`.
    **fields
        Values without personal data.
    """
    LOGGER.log(level, event, extra={"fields": fields})


def failure(error: BaseException) -> dict[str, Any]:
    """Class and place of an error, without its text.

    Parameters
    ----------
    error : BaseException
        A bug.

    Returns
    -------
    dict
        `error` and `at`, the places in the code from the outermost to the innermost.
    """
    places, step = [], error.__traceback__
    while step is not None:
        path = Path(step.tb_frame.f_code.co_filename)
        places.append(f"{path.parent.name}/{path.name}:{step.tb_lineno}")
        step = step.tb_next
    return {"error": type(error).__name__, "at": places[-8:]}
