"""One batch, from the fields of a request to the body of its answer, with its two audit records."""

from __future__ import annotations

import asyncio
from typing import Any

from service.access.keys import Key
from service.api.context import AppContext
from service.archive.batch import Batch, MayChange, always
from service.archive.caller import Caller
from service.archive.mover import Mover
from service.errors import (
    AuditError,
    CallerGoneError,
    DatabaseError,
    LeadsGoneError,
    MendableError,
    RefusalError,
    UnknownLeadsError,
)
from service.observability.audit_log import Outcome
from service.observability.metrics import count_moved


async def move(
    context: AppContext,
    mover: Mover,
    operation: str,
    *,
    key: Key,
    fields: dict[str, Any],
    deadline: float,
    address: str = "",
    caller: Caller | None = None,
    refuse: MayChange = always,
) -> dict[str, Any]:
    """Process a batch, write its two audit records, and return the body of the answer, with the pace for its header.

    refuse: raises RefusalError if the operation is not allowed now. It is asked right before anything is changed, since the
    batch may have waited. Raises what Mover.process() raises, RefusalError, AuditError and LeadsGoneError.
    """
    batch = context.audit.batch(operation, key.name, fields)
    outcome = Outcome.NOT_KNOWN
    facts: dict[str, Any] = {}

    try:
        moved = Batch(**fields, list_ids=key.list_ids, caller=caller or Caller(key.name))
        result = await mover.process(moved, remaining(deadline), batch.intend, refuse)
        outcome, facts = Outcome.COMMITTED, dict(vars(result))  # asdict() would copy each id
        context.readiness.is_served(operation)
        count_moved(operation, facts)
    except (DatabaseError, MendableError) as error:
        outcome = Outcome.ROLLED_BACK if error.outcome_known else Outcome.NOT_KNOWN
        raise
    except (UnknownLeadsError, RefusalError, AuditError, CallerGoneError):
        outcome = Outcome.ROLLED_BACK  # raised before anything was changed; earlier attempts were rolled back
        raise
    finally:
        # After any other exception, such as a cancellation, the outcome is not known.
        await batch.conclude(outcome, facts)
        if batch.intended and outcome is not Outcome.ROLLED_BACK:
            await context.admin_log.write(
                operation, key=key.name, address=address, request=fields, result=facts, seconds=remaining(deadline)
            )
    if gone := facts["gone_lead_ids"]:
        raise LeadsGoneError(gone)
    for only_audited in ("deleted_lead_ids", "gone_lead_ids"):
        del facts[only_audited]
    return {"message": "lead_ids batch was successfully processed", **facts}


def remaining(deadline: float) -> float:
    """Return the seconds until a deadline by the clock of the event loop."""
    return deadline - asyncio.get_running_loop().time()
