"""The ASGI application of METRICS_PORT, which serves /metrics only."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.api.error_responses import on_http_exception
from service.api.middleware import RequestMiddleware, on_exception
from service.observability.metrics_text import MetricsText

PATH = "/metrics"


def create_metrics_app(forbids: Callable[[], dict[str, bool]]) -> Starlette:
    """Return the ASGI application. forbids: by operation, whether office hours forbid it now."""

    text = MetricsText(forbids)

    async def answer(_: Request) -> Response:
        return Response(text.get(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = Starlette(
        routes=[Route(PATH, answer)],
        middleware=[Middleware(RequestMiddleware, routes=frozenset({PATH}), is_counted=False)],
        exception_handlers={HTTPException: on_http_exception, Exception: on_exception},
    )
    app.router.redirect_slashes = False
    return app
