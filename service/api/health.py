"""/livez, /readyz and /metrics, for load balancers and monitoring. No key is needed."""

from __future__ import annotations

from dataclasses import asdict

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.api.context import AppContext
from service.api.error_responses import RETRY_AFTER
from service.archive.readiness import OLD_KEYS

READINESS_TIMEOUT = 5
"""Seconds. A database that takes longer to describe two tables is not ready."""


class Livez(HTTPEndpoint):
    """GET /livez: the process answers."""

    async def get(self, _: Request) -> Response:
        return JSONResponse({"message": "alive"})


class Readyz(HTTPEndpoint):
    """GET /readyz: whether the database answers and leads can be moved in both directions; if not, the problems."""

    async def get(self, request: Request) -> Response:
        context: AppContext = request.app.state.context
        state = await context.readiness.state(READINESS_TIMEOUT)
        body = {
            "message": "not ready" if state.obstacles else "ready",
            "problems": [asdict(problem) for problem in state.obstacles],
            "notes": [asdict(note) for note in (*state.notes, *([OLD_KEYS] if context.keys.are_old else []))],
            "skipped_tables": state.skipped_tables,
        }
        return JSONResponse(body, 503, {"Retry-After": str(RETRY_AFTER)}) if state.obstacles else JSONResponse(body)


class Metrics(HTTPEndpoint):
    """GET /metrics: the metrics for Prometheus, unless they have a port of their own."""

    async def get(self, request: Request) -> Response:
        context: AppContext = request.app.state.context
        if not context.metrics_here:
            raise HTTPException(404)
        return Response(context.metrics_text.get(), headers={"Content-Type": CONTENT_TYPE_LATEST})
