"""The endpoints for leads: HTTP to and from the rules of moving and comparing them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.access.keys import Key, KeysFile
from service.access.office_hours import OfficeHours
from service.api.contract import Contract
from service.api.error_responses import refusal_for
from service.api.request_checks import authenticate, read_body, refuse_other_media_types, refuse_within_office_hours
from service.archive.comparer import Comparer
from service.archive.mover import Batch, Mover
from service.archive.readiness import Readiness
from service.database.pool import Database
from service.database.statements import Statements
from service.errors import AuditError, DatabaseError, InvalidBodyError, NotReadyError, UnknownLeadsError
from service.observability.audit_log import Audit, Outcome
from service.observability.metrics import count_moved
from service.tables.table_reader import TableReader

logger = structlog.get_logger()


@dataclass(frozen=True)
class Service:
    """What the endpoints work with; app.state.service."""

    contract: Contract
    keys: KeysFile
    office_hours: OfficeHours
    dearchive_office_hours: OfficeHours
    database: Database
    archive: Mover
    dearchive: Mover
    comparer: Comparer
    readiness: Readiness
    audit: Audit
    statements: Statements
    archive_reader: TableReader
    request_timeout: float
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    metrics_here: bool = True
    """Whether /metrics is served along with the rest."""

    def forbidden(self) -> dict[str, bool]:
        """By operation, whether office hours forbid it now."""
        hours = {"archive": self.office_hours, "dearchive": self.dearchive_office_hours}
        return {operation: windows.end(self.now()) is not None for operation, windows in hours.items()}


class LeadsEndpoint(HTTPEndpoint):
    """POST of some lead ids. The checks stand in the order of the contract."""

    async def post(self, request: Request) -> Response:
        service: Service = request.app.state.service
        deadline = asyncio.get_running_loop().time() + service.request_timeout
        key = authenticate(request, await service.keys.current(service.request_timeout), service.now())
        self.refuse(service)
        refuse_other_media_types(request)
        try:
            body = await read_body(request, service.request_timeout)
            return JSONResponse(await self.answer(service, body, deadline, key))
        except (InvalidBodyError, UnknownLeadsError) as error:
            raise refusal_for(error) from error
        except DatabaseError as error:
            service.readiness.expire(error)
            logger.warning("database error", error=str(error), code=error.code, outcome_known=error.outcome_known)
            raise refusal_for(error) from error
        except AuditError as error:
            service.readiness.expire()
            logger.error("audit line lost", error=str(error))
            raise refusal_for(error) from error
        except NotReadyError as error:
            service.readiness.expire()
            logger.error("tables do not fit", problems=[asdict(problem) for problem in error.problems])
            raise refusal_for(error) from error

    def refuse(self, service: Service) -> None:
        """Raises RefusalError where this is not allowed now."""

    async def answer(self, service: Service, body: bytes, deadline: float, key: Key) -> dict[str, Any]:
        """The body of the answer. deadline: by the clock of the event loop."""
        raise NotImplementedError


class ArchiveLeads(LeadsEndpoint):
    """POST /vicidial/leads/archive."""

    def refuse(self, service: Service) -> None:
        refuse_within_office_hours(service.office_hours, service.now())

    async def answer(self, service: Service, body: bytes, deadline: float, key: Key) -> dict[str, Any]:
        fields = service.contract.archive_request.parse(body)
        return await move(service, service.archive, "archive", key=key, fields=fields, deadline=deadline)


class DearchiveLeads(LeadsEndpoint):
    """POST /vicidial/leads/dearchive."""

    def refuse(self, service: Service) -> None:
        refuse_within_office_hours(service.dearchive_office_hours, service.now())

    async def answer(self, service: Service, body: bytes, deadline: float, key: Key) -> dict[str, Any]:
        fields = service.contract.dearchive_request.parse(body)
        result = await move(service, service.dearchive, "dearchive", key=key, fields=fields, deadline=deadline)
        del result["update_count"]  # the way back updates nothing
        return result


class CompareLeads(LeadsEndpoint):
    """POST /vicidial/leads/compare."""

    async def answer(self, service: Service, body: bytes, deadline: float, key: Key) -> dict[str, Any]:
        lead_ids = service.contract.compare_request.parse(body)["lead_ids"]
        leads = await service.comparer.compare(lead_ids, key.list_ids, remaining(deadline))
        return {"message": "leads were compared", "leads": [asdict(lead) for lead in leads]}


async def move(
    service: Service, mover: Mover, operation: str, *, key: Key, fields: dict[str, Any], deadline: float
) -> dict[str, Any]:
    """Process a batch, with the two lines of the audit around it, and return the body of the answer.

    Raises what Mover.process() raises, and AuditError.
    """
    batch = service.audit.batch(operation, key.name, fields)
    outcome = Outcome.NOT_KNOWN
    facts: dict[str, Any] = {}
    try:
        result = await mover.process(Batch(**fields, list_ids=key.list_ids), remaining(deadline), batch.intend)
        outcome, facts = Outcome.COMMITTED, asdict(result)
        service.readiness.is_served()
        count_moved(operation, facts)
    except DatabaseError as error:
        outcome = Outcome.ROLLED_BACK if error.outcome_known else Outcome.NOT_KNOWN
        raise
    except (UnknownLeadsError, AuditError):
        outcome = Outcome.ROLLED_BACK  # raised before anything is changed, and an attempt before was taken back
        raise
    finally:
        # Anything else, a cancellation or NotReadyError between two commits, leaves it open what has been done.
        await batch.conclude(outcome, facts)
    del facts["deleted_lead_ids"]  # for the audit
    return {"message": "lead_ids batch was successfully processed", **facts}


def remaining(deadline: float) -> float:
    """Seconds until then, by the clock of the event loop."""
    return deadline - asyncio.get_running_loop().time()
