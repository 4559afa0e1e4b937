"""The endpoints for leads: from HTTP to the rules of archiving, and back."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import structlog
from starlette.endpoints import HTTPEndpoint
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from service.access.keys import Key
from service.access.keys_file import MOST_WAIT, KeysBeingReadError
from service.access.office_hours import OfficeHours
from service.api.context import AppContext
from service.api.contract import Contract, RequestSchema
from service.api.error_responses import RETRY_AFTER, refusal_for
from service.api.header_checks import (
    authenticate,
    read_body,
    refuse_other_media_types,
    refuse_other_rights,
    refuse_within_office_hours,
)
from service.api.middleware import IS_LOST
from service.api.move import move, remaining
from service.archive.caller import Caller
from service.archive.finder import Query
from service.archive.mover import Mover
from service.errors import (
    AuditError,
    CallerGoneError,
    ConditionError,
    DatabaseError,
    InvalidBodyError,
    LeadsGoneError,
    NotReadyError,
    RefusalError,
    UnknownLeadsError,
)
from service.observability.metrics import count_found

PACE = "X-Lead-Archive-Pace"
"""The header that says whether the batch was processed gently. Callers then need not send many batches at a time."""

KEY_IS_OLD = 1.0
"""Seconds after which the key of a request is looked up again, before its batch changes anything or its answer tells anything
about leads: it may have been revoked, or given other lists."""

LONGEST_LOOK = 0.5
"""Seconds that a batch waits for the file of the keys: its leads are locked. After that, the keys that were read last count if
the file system hangs, and the batch is refused if the file has been changed and is still being read."""

logger = structlog.get_logger()


class LeadsEndpoint(HTTPEndpoint):
    """POST of a batch of leads. The checks are in the order of the contract."""

    async def post(self, request: Request) -> Response:
        context: AppContext = request.app.state.context
        # For the keys, the body and the batch together.
        deadline = asyncio.get_running_loop().time() + context.request_timeout
        # Half of a short REQUEST_TIMEOUT remains for the batch.
        key = await self._key(request, context, min(MOST_WAIT, context.request_timeout / 2))
        self.refuse(context)
        refuse_other_media_types(request)
        with context.in_progress.one_of(key.name):
            return await self._process(request, context, deadline, key)

    async def _key(self, request: Request, context: AppContext, seconds: float) -> Key:
        """Return the key of the request as it is now. seconds: to wait for the file of the keys. Raises RefusalError."""
        try:
            keys = await context.keys.current(seconds)
        except KeysBeingReadError:
            message = "the API keys were changed and are being read; nothing was changed, repeat the request"
            raise RefusalError(503, message, {"Retry-After": str(RETRY_AFTER)}) from None
        self._key_is_old_at = asyncio.get_running_loop().time() + KEY_IS_OLD
        return authenticate(request, keys, context.now())

    async def refuse_again(self, context: AppContext, key: Key, seconds: float = KEY_IS_OLD) -> None:
        """Raise RefusalError if the operation is not allowed any more. key: the key of the request, as it was at the start.
        seconds: to wait for the file of the keys."""
        if asyncio.get_running_loop().time() >= self._key_is_old_at:
            refuse_other_rights(key, await self._key(Request(self.scope), context, seconds))
        self.refuse(context)

    async def _process(self, request: Request, context: AppContext, deadline: float, key: Key) -> Response:
        caller = caller_of(request, key)
        try:
            # The body may be much larger than what is in it, and the batch may have to wait for long: keep only the fields.
            body = await read_body(request, deadline, context.request_timeout)
            async with context.large_bodies.turn(body, caller, deadline - asyncio.get_running_loop().time()):
                fields = self.schema(context.contract).parse(body)
            del body
            answer = await self.answer(context, fields, deadline, key, caller)
            pace = answer.pop("pace", None)
            return JSONResponse(answer, headers={PACE: pace} if pace else None)
        except CallerGoneError:
            raise ClientDisconnect from None
        except (InvalidBodyError, UnknownLeadsError) as error:
            raise refusal_for(error) from error
        except DatabaseError as error:
            lead_ids = fields["lead_ids"] if isinstance(self, MoveLeads) else ()
            context.readiness.expire(error, lead_ids, began=deadline - context.request_timeout)
            logger.warning("database error", error=error.text, code=error.code, outcome_known=error.outcome_known)
            raise refusal_for(error) from error
        except AuditError as error:
            context.readiness.expire()
            logger.error("audit line lost", error=str(error))
            raise refusal_for(error) from error
        except LeadsGoneError as error:
            logger.warning("leads gone", lead_ids=error.lead_ids)
            raise refusal_for(error) from error
        except ConditionError as error:
            logger.error("condition not usable", error=str(error))
            raise refusal_for(error) from error
        except NotReadyError as error:
            context.readiness.expire()
            logger.error("tables do not fit", problems=[asdict(problem) for problem in error.problems])
            raise refusal_for(error) from error

    @property
    def address(self) -> str:
        """The address of the caller, or of the proxy in front of the service. Empty for a Unix socket."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    def refuse(self, context: AppContext) -> None:
        """Raise RefusalError if the operation is not allowed now."""

    def schema(self, contract: Contract) -> RequestSchema:
        """Return the schema of the body."""
        raise NotImplementedError

    async def answer(
        self, context: AppContext, fields: dict[str, Any], deadline: float, key: Key, caller: Caller
    ) -> dict[str, Any]:
        """Return the body of the answer. fields: of the request. deadline: by the clock of the event loop, in seconds."""
        raise NotImplementedError


class MoveLeads(LeadsEndpoint):
    """The two endpoints that move leads."""

    operation = ""

    def hours(self, context: AppContext) -> OfficeHours:
        """Return when the operation is forbidden."""
        raise NotImplementedError

    def mover(self, context: AppContext) -> Mover:
        raise NotImplementedError

    def refuse(self, context: AppContext) -> None:
        refuse_within_office_hours(self.hours(context), context.now())

    async def answer(
        self, context: AppContext, fields: dict[str, Any], deadline: float, key: Key, caller: Caller
    ) -> dict[str, Any]:
        try:
            return await move(
                context,
                self.mover(context),
                self.operation,
                key=key,
                fields=fields,
                deadline=deadline,
                address=self.address,
                caller=caller,
                refuse=lambda: self.refuse_again(context, key, LONGEST_LOOK),
            )
        except UnknownLeadsError:
            await self.refuse_again(context, key)  # which leads the key may see is an answer, too
            raise


class ArchiveLeads(MoveLeads):
    """POST /vicidial/leads/archive."""

    operation = "archive"

    def hours(self, context: AppContext) -> OfficeHours:
        return context.office_hours

    def mover(self, context: AppContext) -> Mover:
        return context.archive

    def schema(self, contract: Contract) -> RequestSchema:
        return contract.archive_request


class DearchiveLeads(MoveLeads):
    """POST /vicidial/leads/dearchive."""

    operation = "dearchive"

    def hours(self, context: AppContext) -> OfficeHours:
        return context.dearchive_office_hours

    def mover(self, context: AppContext) -> Mover:
        return context.dearchive

    def schema(self, contract: Contract) -> RequestSchema:
        return contract.dearchive_request

    async def answer(
        self, context: AppContext, fields: dict[str, Any], deadline: float, key: Key, caller: Caller
    ) -> dict[str, Any]:
        result = await super().answer(context, fields, deadline, key, caller)
        del result["update_count"]  # dearchive never updates
        return result


class CompareLeads(LeadsEndpoint):
    """POST /vicidial/leads/compare."""

    def schema(self, contract: Contract) -> RequestSchema:
        return contract.compare_request

    async def answer(
        self, context: AppContext, fields: dict[str, Any], deadline: float, key: Key, caller: Caller
    ) -> dict[str, Any]:
        leads = await context.comparer.compare(fields["lead_ids"], key.list_ids, remaining(deadline), caller)
        await self.refuse_again(context, key)
        return {"message": "leads were compared", "leads": [vars(lead) for lead in leads]}


class FindLeads(LeadsEndpoint):
    """POST /vicidial/leads/find."""

    def schema(self, contract: Contract) -> RequestSchema:
        return contract.find_request

    async def answer(
        self, context: AppContext, fields: dict[str, Any], deadline: float, key: Key, caller: Caller
    ) -> dict[str, Any]:
        query = Query(
            where=fields["where"],
            limit=fields.get("limit", context.contract.limit),
            table=fields.get("in", "list"),
            after_lead_id=fields.get("after_lead_id"),
            list_ids=key.list_ids,
            caller=caller,
        )
        page = await context.finder.find(query, remaining(deadline))
        await self.refuse_again(context, key)
        count_found(query.table, len(page.lead_ids))
        logger.info(
            "leads found", **fields, found=len(page.lead_ids), next_after_lead_id=page.next_after_lead_id, done=page.done
        )
        return {"message": "leads were found", **vars(page)}


def caller_of(request: Request, key: Key) -> Caller:
    """Return the caller of a request, who leaves when its connection is lost. Until then it may still read the answer, even if
    it sends no more."""
    caller = Caller(key.name)
    if extension := request.scope.get("extensions", {}).get(IS_LOST):
        extension["then"] = caller.leave
        if extension["ask"]():
            caller.leave()
    return caller
