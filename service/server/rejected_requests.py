"""Answers to input that is no complete HTTP request."""

from __future__ import annotations

import json
import uuid

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.api.error_responses import RETRY_AFTER
from service.api.middleware import common_headers

logger = structlog.get_logger()


def refusal(status: int, message: str) -> bytes:
    """Return a complete answer in the API's format, the last one of its connection, and log it."""
    request_id = uuid.uuid4().hex
    logger.warning("no request", request_id=request_id, status=status, message=message)
    body = {"message": message} | ({"lead_errors": 0, "lead_ids": []} if status == 400 else {})
    content = json.dumps(body, separators=(",", ":")).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(content)),
        "connection": "close",
        **({"retry-after": str(RETRY_AFTER)} if status == 503 else {}),
        **common_headers(request_id),
    }
    lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[status] + lines.encode() + b"\r\n" + content
