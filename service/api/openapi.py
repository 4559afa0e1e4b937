"""The contract as a document, for integrators and their generators. No key is needed."""

from __future__ import annotations

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from service.api.context import AppContext


class OpenAPI(HTTPEndpoint):
    """GET /openapi.yaml: the contract, with the limit that is in force."""

    async def get(self, request: Request) -> Response:
        context: AppContext = request.app.state.context
        return Response(context.contract.text, media_type="application/yaml")


class OpenAPI30(HTTPEndpoint):
    """GET /openapi-3.0.yaml: the same as OpenAPI 3.0, for generators that do not read 3.1."""

    async def get(self, request: Request) -> Response:
        context: AppContext = request.app.state.context
        return Response(context.contract.text_3_0, media_type="application/yaml")


class OpenAPIJSON(HTTPEndpoint):
    """GET /openapi.json: the contract as JSON, for programs whose language comes without a YAML parser."""

    async def get(self, request: Request) -> Response:
        context: AppContext = request.app.state.context
        return Response(context.contract.json, media_type="application/json")
