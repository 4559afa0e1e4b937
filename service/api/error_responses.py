"""Answers other than success. All of them are JSON in the contract's shape."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from service.errors import (
    AuditError,
    ConditionError,
    DatabaseError,
    InvalidBodyError,
    LeadsGoneError,
    MendableError,
    NotReadyError,
    RefusalError,
    UnknownLeadsError,
)
from service.tables.preconditions.server import server_problem

RETRY_AFTER = 5
"""Seconds after which a request that the database could not process is worth repeating."""

MAY_BE_APPLIED = "the batch may have been applied. No lead was lost. Send the same request again"
"""The end of a message if the outcome of a batch is not known."""


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"message": message}, status, headers)


async def on_refusal(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusalError)
    return JSONResponse(error.body, error.status, error.headers)


async def on_http_exception(_: Request, error: Exception) -> JSONResponse:
    """Answer what Starlette's router refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_response(404, "there is nothing at this path; /openapi.yaml lists the paths")
    if error.status_code == 405 and error.headers:
        allowed = error.headers["Allow"]
        return error_response(405, f"method not allowed; the methods of this path are {allowed}", error.headers)
    return error_response(error.status_code, error.detail, error.headers)


def refusal_for(error: Exception) -> RefusalError:
    """Return the answer to an error of the rules, the database or the tables."""
    match error:
        case InvalidBodyError():
            return RefusalError(400, str(error), lead_errors=len(error.lead_ids), lead_ids=error.lead_ids)
        case UnknownLeadsError():
            return RefusalError(404, str(error), lead_errors=len(error.lead_ids), lead_ids=error.lead_ids)
        case NotReadyError():
            message = f"leads cannot be moved safely until an administrator mends this: {error}; {_outcome(error)}"
        case ConditionError():
            message = f"{error}; {_outcome(error)}"
        case DatabaseError(outcome_known=True) if problem := server_problem(error):
            message = f"leads cannot be moved until an administrator mends this: {problem.message}; nothing was changed"
        case LeadsGoneError():
            message = (
                "leads of the batch were deleted or moved by another program while it was processed; the batch may have been "
                "applied to the others. Send the same request again: the answer names those that are gone"
            )
        case AuditError():
            message = f"{error}; nothing was changed, repeat the request when an administrator has mended it"
        case DatabaseError(outcome_known=True):
            message = "the database could not process the batch; nothing was changed, repeat the request"
        case DatabaseError():
            message = f"the commit was not confirmed; {MAY_BE_APPLIED}"
        case _:
            raise error
    return RefusalError(503, message, {"Retry-After": str(RETRY_AFTER)})


def _outcome(error: MendableError) -> str:
    return "no lead was deleted" if error.outcome_known else MAY_BE_APPLIED
