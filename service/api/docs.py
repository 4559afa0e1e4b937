"""The API reference for people: openapi.yaml in Swagger UI, served without any other host. No key is needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

PAGES = Path(__file__).parent / "pages"

FILES = {
    "docs.js": "text/javascript",
    "favicon-32x32.png": "image/png",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
"""The files that the page loads, with their media types. No other file in the folder is served."""

HEADERS = {
    # Allow scripts and styles from files only, and requests to this service only: a text that gets into the page can neither
    # run as a script nor send a key elsewhere. Swagger UI's style sheet has pictures as data: URLs.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
}


class Docs(HTTPEndpoint):
    """GET /docs: the page."""

    async def get(self, _: Request) -> Response:
        return Response(content("docs.html"), headers=HEADERS, media_type="text/html")


class DocsFile(HTTPEndpoint):
    """GET /docs/{file}: a file that the page loads."""

    async def get(self, request: Request) -> Response:
        name = request.path_params["file"]
        if name not in FILES:
            raise HTTPException(404)
        return Response(content(name), headers=HEADERS, media_type=FILES[name])


@cache
def content(name: str) -> bytes:
    return (PAGES / name).read_bytes()
