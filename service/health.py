"""What load balancers, monitoring and integrators ask of the service. No key is needed."""

from __future__ import annotations

from dataclasses import asdict

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.database import NO_SUCH_TABLE, DatabaseError
from service.errors import RETRY_AFTER
from service.leads import Service
from service.metrics import registry
from service.tables import Problem, TablesDoNotFitError

READINESS_TIMEOUT = 5
"""Seconds. A database that takes longer to describe two tables is not ready."""

logger = structlog.get_logger()


class Livez(HTTPEndpoint):
    """GET /livez: the process answers."""

    async def get(self, _: Request) -> Response:
        return JSONResponse({"message": "alive"})


class Readyz(HTTPEndpoint):
    """GET /readyz: the database answers and the tables fit, or what is wrong."""

    async def get(self, request: Request) -> Response:
        service: Service = request.app.state.service
        problems: list[Problem] = []
        skipped_tables: tuple[str, ...] = ()
        try:
            async with service.database.transaction(READINESS_TIMEOUT) as transaction:
                skipped_tables = (await service.archive.check(transaction)).skipped_tables
        except TablesDoNotFitError as error:
            problems = error.problems
        except DatabaseError as error:
            logger.warning("database error", error=str(error), code=error.code, outcome_known=True)
            problems = [database_problem(error)]
        body = {
            "message": "not ready" if problems else "ready",
            "problems": [asdict(problem) for problem in problems],
            "skipped_tables": skipped_tables,
        }
        return JSONResponse(body, 503, {"Retry-After": str(RETRY_AFTER)}) if problems else JSONResponse(body)


class Metrics(HTTPEndpoint):
    """GET /metrics: what Prometheus asks for, unless it has a port of its own."""

    async def get(self, request: Request) -> Response:
        service: Service = request.app.state.service
        if not service.metrics_here:
            raise HTTPException(404)
        return Response(generate_latest(registry(service.forbidden)), headers={"Content-Type": CONTENT_TYPE_LATEST})


class OpenAPI(HTTPEndpoint):
    """GET /openapi.yaml: the contract, with the limit in force."""

    async def get(self, request: Request) -> Response:
        service: Service = request.app.state.service
        return Response(service.contract.text, media_type="application/yaml")


def database_problem(error: DatabaseError) -> Problem:
    """What /readyz, which anybody may ask, says of an error; the log has all of it."""
    if error.code == NO_SUCH_TABLE:
        return Problem(str(error))
    if error.from_server:
        return Problem("the database refuses; the log says why")
    return Problem("the database does not answer")
