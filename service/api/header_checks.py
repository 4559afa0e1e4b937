"""The checks before the body is validated, in the contract's order: API key, office hours, media type, size."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime

import structlog
from starlette.requests import Request

from service.access.keys import Key, Keys
from service.access.office_hours import OfficeHours
from service.api.error_responses import RETRY_AFTER
from service.errors import RefusalError

LARGEST_BODY = 1024 * 1024
"""Bytes. A batch of 10,000 ids, the largest limit, has an eighth of this on one line."""


def authenticate(request: Request, keys: Keys, now: datetime) -> Key:
    """Return the key of the request. Raises RefusalError (401)."""
    values = [value for name, value in request.scope["headers"] if name == b"authorization"]
    key = None
    if len(values) == 1 and values[0].startswith(b"Key="):
        key = keys.find(values[0].removeprefix(b"Key="), now.astimezone(UTC).date())
    if key is None:
        raise RefusalError(401, "unable to validate api user", {"WWW-Authenticate": "Key"})
    structlog.contextvars.bind_contextvars(key=key.name)
    return key


def refuse_other_rights(key: Key, now: Key) -> None:
    """Raise RefusalError (503) if a key was given other lists or another name. key: as the request began. now: as it is now.

    The repeat of the request gets the rights that the key has now."""
    if (key.name, key.list_ids) != (now.name, now.list_ids):
        message = "the API key was changed while the request waited; nothing was changed, repeat the request"
        raise RefusalError(503, message, {"Retry-After": str(RETRY_AFTER)})


def refuse_within_office_hours(office_hours: OfficeHours, now: datetime) -> None:
    """Raise RefusalError (403) within office hours, with the seconds until they end in Retry-After."""
    if end := office_hours.end(now):
        seconds = math.ceil((end - now).total_seconds())
        message = "api cannot be executed during office hours time condition"
        raise RefusalError(403, message, {"Retry-After": str(seconds)})


def refuse_other_media_types(request: Request) -> None:
    """Raise RefusalError (415) for anything but uncompressed JSON in UTF-8."""
    # Two headers that differ: whoever is in front of the service may have read the other one.
    content_types = {value.lower() for value in request.headers.getlist("content-type")}
    media_type, *parameters = next(iter(content_types), "").split(";")
    given = ["".join(parameter.split()).replace('"', "") for parameter in parameters]
    if (
        len(content_types) > 1
        or media_type.strip() != "application/json"
        or any(parameter.startswith("charset=") and parameter not in {"charset=utf-8", "charset=utf8"} for parameter in given)
    ):
        raise RefusalError(415, "Content-Type must be application/json, in UTF-8")
    if {value.lower() for value in request.headers.getlist("content-encoding")} - {"identity"}:
        raise RefusalError(415, "Content-Encoding is not supported; send the body as it is")


async def read_body(request: Request, deadline: float, seconds: float) -> bytes:
    """Return the body. Read no more than LARGEST_BODY. Raises RefusalError (408 and 413).

    deadline: by the clock of the event loop, in seconds. seconds: how long after the beginning of the request that is.
    """
    too_large = RefusalError(413, f"request body cannot exceed {LARGEST_BODY} bytes")
    # The HTTP server has checked that it is a number. A longer number is too large in any case.
    if int(request.headers.get("content-length", "0")[:20]) > LARGEST_BODY:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            async for chunk in request.stream():
                if len(body) + len(chunk) > LARGEST_BODY:
                    raise too_large
                body += chunk
    except TimeoutError:
        raise RefusalError(408, f"request body did not arrive within {seconds:g} seconds") from None
    return bytes(body)
