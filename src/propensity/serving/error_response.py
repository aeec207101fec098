"""Error responses of the service: all of one form, without paths of the machine."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from propensity.errors import ConfigurationError, DataError, IntegrityError, PropensityError
from propensity.serving.defined_offers import MOST_WAITING, BusyError, SlowError
from propensity.serving.exchange import UnavailableError
from propensity.serving.guard import error_body
from propensity.serving.request_queue import OverloadError
from propensity.serving.schema import ErrorResponse

LONGEST_MESSAGE = 500  # characters
PATH = re.compile(r"(?<![\w/.'\"])(?:/[^\s/'\",;:()]+)+/([^\s/'\",;:()]+)")


def add_error_handlers(app: FastAPI, max_waiting: int) -> None:
    """Give all errors the same form; those that are bugs get it from `Guard`."""

    @app.exception_handler(RequestValidationError)
    async def invalid_body(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return error_response(request, 422, f"{field[:200]}: {first['msg']}; /docs describes the fields")

    @app.exception_handler(HTTPException)
    async def no_such_path(request: Request, error: HTTPException) -> Response:
        message = {404: "there is no such path; /docs lists them", 405: "the path has no such method; /docs lists them"}
        return error_response(
            request, error.status_code, message.get(error.status_code, str(error.detail)), error.headers
        )

    @app.exception_handler(PropensityError)
    async def invalid_request(request: Request, error: PropensityError) -> Response:
        if isinstance(error, IntegrityError) or not isinstance(error, ConfigurationError | DataError):
            raise error
        return error_response(request, 400, str(error))

    @app.exception_handler(OverloadError)
    async def overload(request: Request, error: OverloadError) -> Response:
        message = f"{max_waiting} requests are waiting; try again in a second"
        return error_response(request, 429, message, {"Retry-After": "1"})

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> Response:
        message = f"{MOST_WAITING} lists of offers are being computed; try again in ten seconds"
        return error_response(request, 429, message, {"Retry-After": "10"})

    @app.exception_handler(SlowError)
    async def slow(request: Request, error: SlowError) -> Response:
        message = "the statistics of these offers are still being computed; send the request again in ten seconds"
        return error_response(request, 503, message, {"Retry-After": "10"})

    @app.exception_handler(UnavailableError)
    async def unavailable(request: Request, error: UnavailableError) -> Response:
        message = "the event log has changed and cannot be used, so customer ids are unknown; give events"
        return error_response(request, 503, message, {"Retry-After": "10"})


def error_response(request: Request, status: int, message: str, headers: Any = None) -> Response:
    """A response with an error message.

    Parameters
    ----------
    request : Request
        The request.
    status : int
        HTTP status.
    message : str
        One sentence.
    headers : mapping of str to str, optional
        Additional headers.

    Returns
    -------
    Response
        With the body `ErrorResponse`.
    """
    text = without_paths(message)
    if len(text) > LONGEST_MESSAGE:
        text = f"{text[: LONGEST_MESSAGE - 3]}..."
    return Response(error_body(text, request.state.request_id), status, headers, "application/json")


def without_paths(message: str) -> str:
    """A message with the last part of absolute paths alone.

    Examples
    --------
    >>> without_paths("/srv/shop/bundle is valid until 2024-01-01")
    'bundle is valid until 2024-01-01'
    >>> without_paths("GET /model lists them")
    'GET /model lists them'
    """
    return PATH.sub(r"\1", message)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Error responses of a request, for the description of the service."""
    return {status: {"model": ErrorResponse} for status in (*statuses, 401, 403, 408, 413, 429, 500, 503)}
