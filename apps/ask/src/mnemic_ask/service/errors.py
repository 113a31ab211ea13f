"""Which error is whose fault, and what clients are told."""

import logging
from typing import TYPE_CHECKING

from mnemic_ask.service.replies import refusal
from mnemic_core.errors import UserError

if TYPE_CHECKING:
    import fastapi
    import starlette.requests
    import starlette.responses

_LOST = {"OperationalError", "InterfaceError"}  # of psycopg, which is not always installed
_LOG = logging.getLogger(__name__)


class BusyError(Exception):
    """Too many requests are in progress."""


def is_unreachable(error: BaseException) -> bool:
    """Return whether an error says that the memory cannot be reached, rather than that a request is wrong."""
    if isinstance(error, UserError):  # stores turn errors of a database into it, which are their cause
        return bool(_LOST & {kind.__name__ for kind in type(error.__cause__).__mro__})
    if isinstance(error, RuntimeError):
        return str(error).startswith("lance error")  # of files; LanceDB has no class of its own for it
    return isinstance(error, OSError)


def install_handlers(app: "fastapi.FastAPI") -> None:
    """Let every error be answered as JSON."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    async def on_status(_: "starlette.requests.Request", error: Exception) -> "starlette.responses.Response":
        assert isinstance(error, HTTPException)
        return refusal(error.status_code, error.detail, error.headers)

    async def on_invalid(_: "starlette.requests.Request", error: Exception) -> "starlette.responses.Response":
        assert isinstance(error, RequestValidationError)
        return refusal(422, _first_problem(error))

    app.add_exception_handler(HTTPException, on_status)
    app.add_exception_handler(RequestValidationError, on_invalid)
    for kind in (BusyError, UserError, OSError, RuntimeError):
        app.add_exception_handler(kind, _on_error)
    app.add_exception_handler(Exception, _on_defect)


async def _on_error(_: "starlette.requests.Request", error: Exception) -> "starlette.responses.Response":
    if isinstance(error, BusyError):
        return refusal(503, "too many requests at once: try again later")
    if is_unreachable(error):
        _LOG.error("the memory cannot be reached: %s", " ".join(str(error).split()))
        return refusal(503, "the memory cannot be reached: try again later")
    if isinstance(error, UserError):
        return refusal(400, str(error))
    raise error


async def _on_defect(_: "starlette.requests.Request", error: Exception) -> "starlette.responses.Response":
    del error  # the server writes it to its log
    return refusal(500, "the server failed, see its log")


def _first_problem(error: "fastapi.exceptions.RequestValidationError") -> str:
    """Return the first problem of a request with its place; values are not repeated, they may be anything."""
    first, *others = error.errors()
    place = ".".join(f"{part!s:.40}" for part in first["loc"][1:]) or "the request"
    if first["type"] == "json_invalid":
        return f"the request is no JSON ({first['ctx']['error']}, position {place})"
    if first["type"] == "dataclass_type":
        return f"{place} must be an object of JSON, sent as Content-Type: application/json"
    line = f"{place}: {first['msg'].removeprefix('Value error, ')}"
    return f"{line} (and {len(others)} more)" if others else line
