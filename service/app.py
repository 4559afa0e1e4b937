"""Build the application: the routes, the middleware, and the context that the endpoints work with."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from service.access.keys_file import MOST_WAIT
from service.api.context import AppContext
from service.api.contract import Contract
from service.api.docs import Docs, DocsFile
from service.api.error_responses import on_http_exception, on_refusal
from service.api.health import READINESS_TIMEOUT, Livez, Metrics, Readyz
from service.api.leads import ArchiveLeads, CompareLeads, DearchiveLeads, FindLeads
from service.api.middleware import RequestMiddleware, on_exception
from service.api.openapi import OpenAPI, OpenAPI30, OpenAPIJSON
from service.archive import admin_log
from service.archive.admin_log import AdminLog
from service.archive.comparer import Comparer
from service.archive.conditions import Conditions
from service.archive.finder import Finder
from service.archive.mover import Mover
from service.archive.pace import Pace
from service.archive.readers import READERS, Readers
from service.archive.readiness import Readiness
from service.archive.turns import Turns
from service.database.pool import Database
from service.database.statements import Statements
from service.database.time_limit import time_limit
from service.errors import RefusalError
from service.observability import logs
from service.observability.audit_log import Audit
from service.settings import Settings, read_settings
from service.tables.damage import Damage
from service.tables.definitions import ARCHIVE, LEADS
from service.tables.preconditions.server import LEAST_PACKET
from service.tables.table_reader import TableReader

ROUTES = [
    Route("/vicidial/leads/archive", ArchiveLeads),
    Route("/vicidial/leads/dearchive", DearchiveLeads),
    Route("/vicidial/leads/compare", CompareLeads),
    Route("/vicidial/leads/find", FindLeads),
    Route("/livez", Livez),
    Route("/readyz", Readyz),
    Route("/metrics", Metrics),
    Route("/openapi.yaml", OpenAPI),
    Route("/openapi.json", OpenAPIJSON),
    Route("/openapi-3.0.yaml", OpenAPI30),
    Route("/docs", Docs),
    Route("/docs/{file}", DocsFile),
]

DISCONNECT_TIMEOUT = 1
"""Seconds to close the connections to the database at the end."""


def create_context(settings: Settings, now: Callable[[], datetime] | None = None) -> AppContext:
    """Make what the endpoints need, from the settings. now: the clock for office hours."""
    statements = Statements.load()
    url, tls = settings.DATABASE_URL.get_secret_value(), settings.database_tls
    database = Database(url, statements, pool_size=settings.DATABASE_POOL_SIZE, timeout=settings.REQUEST_TIMEOUT, tls=tls)
    readers = Readers(Database(url, statements, pool_size=READERS, timeout=settings.REQUEST_TIMEOUT, waits=False, tls=tls))
    readiness_database = Database(url, statements, pool_size=1, timeout=READINESS_TIMEOUT, tls=tls, counted=False)
    audit = Audit(settings.AUDIT_LOG)
    admin_log_database = Database(url, statements, pool_size=1, timeout=admin_log.TIMEOUT, tls=tls, counted=False)
    log = AdminLog(admin_log_database if settings.ADMIN_LOG == "on" else None, statements)
    damage = Damage(statements)
    archive_reader = TableReader(
        statements,
        LEADS,
        ARCHIVE,
        keep_leads_in_use=settings.LEADS_IN_USE == "keep",
        reused=settings.REUSED_LEAD_IDS,
        least_packet=LEAST_PACKET,
        damage=damage,
    )
    # Nobody uses a lead in the archive, so no lead in use is looked for there.
    dearchive_reader = TableReader(
        statements,
        ARCHIVE,
        LEADS,
        keep_leads_in_use=False,
        reused=settings.REUSED_LEAD_IDS,
        whole_only=True,
        least_packet=LEAST_PACKET,
        damage=damage,
    )
    pace = Pace(settings.PACE, Turns(settings.DATABASE_POOL_SIZE))
    return AppContext(
        contract=Contract(settings.LEAD_IDS_LIMIT),
        keys=settings.keys,
        office_hours=settings.office_hours,
        dearchive_office_hours=settings.dearchive_office_hours,
        database=database,
        readers=readers,
        archive=Mover(database, statements, archive_reader, pace),
        dearchive=Mover(database, statements, dearchive_reader, pace),
        comparer=Comparer(readers, statements, archive_reader),
        finder=Finder(readers, statements, Conditions(statements), {"list": archive_reader, "archive": dearchive_reader}),
        statements=statements,
        archive_reader=archive_reader,
        readiness=Readiness(readiness_database, statements, archive_reader, dearchive_reader, audit, admin_log=log),
        audit=audit,
        admin_log=log,
        request_timeout=settings.REQUEST_TIMEOUT,
        now=now or (lambda: datetime.now(UTC)),
        metrics_here=settings.METRICS_PORT is None,
    )


def create_app(settings: Settings | None = None, now: Callable[[], datetime] | None = None) -> Starlette:
    """Return the ASGI application. settings: those of the environment unless given."""
    if settings is None:
        settings = read_settings()
        logs.configure(settings.LOG_LEVEL)
    context = create_context(settings, now)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await context.keys.current(MOST_WAIT)  # so that its thread exists, even if the system has none left later
        await context.database.connect()
        await context.readers.database.connect()
        await context.readiness.database.connect()
        await context.admin_log.connect()
        # Everything that exists now stays until the end: the garbage collector need not look at it again.
        gc.collect()
        gc.freeze()
        yield
        await context.audit.drain()
        try:
            async with time_limit(DISCONNECT_TIMEOUT):
                await asyncio.gather(
                    context.admin_log.disconnect(),
                    context.readiness.database.disconnect(),
                    context.readers.database.disconnect(),
                    context.database.disconnect(),
                )
        except TimeoutError:  # the database does not answer; the service ends all the same
            pass

    app = Starlette(
        routes=[route for route in ROUTES if settings.DOCS == "on" or not route.path.startswith("/docs")],
        middleware=[Middleware(RequestMiddleware, routes=frozenset(route.path for route in ROUTES))],
        exception_handlers={HTTPException: on_http_exception, RefusalError: on_refusal, Exception: on_exception},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.context = context
    return app
