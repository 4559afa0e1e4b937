"""Shared by the tests with Schemathesis: leads for it to archive, none of which may be lost."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from support.tables import Row, Tables

LIVE = [1, 4711, 4713]
EQUAL = [2, 4712]
DIFFERENT = [0, 3, 4294967294, 4294967295]
"""Leads in vicidial_list only, and leads that are also in the archive, with the same or with other data. Schemathesis often
sends these ids: those in the contract's examples, and the smallest and the largest valid ones."""

FLAGS = {"insert_leads": True, "update_leads": True, "delete_leads": True}

LINKS: dict[str, dict[str, Any]] = {
    "/vicidial/leads/find": {
        "next": {
            "operationId": "find_leads",
            "requestBody": {"where": "$request.body#/where", "after_lead_id": "$response.body#/next_after_lead_id"},
        },
        "archive": {
            "operationId": "archive_leads",
            "requestBody": {**FLAGS, "lead_ids": "$response.body#/lead_ids", "where": "$request.body#/where"},
        },
    },
    "/vicidial/leads/archive": {
        "compare": {"operationId": "compare_leads", "requestBody": {"lead_ids": "$request.body#/lead_ids"}},
        "dearchive": {
            "operationId": "dearchive_leads",
            "requestBody": {"insert_leads": True, "delete_leads": True, "lead_ids": "$request.body#/lead_ids"},
        },
    },
}
"""Links between operations, for Schemathesis' stateful phase. They are not in the contract: OpenAPI evaluates an expression
only as the whole body, and openapi-generator refuses documents that have one inside a body. Schemathesis evaluates them."""

PAUSE = 0.03
"""Seconds until the leads are put back. Until then, requests find them as earlier requests left them."""


class Leads:
    """Use as a context manager: from entry to exit the leads are put back into the tables repeatedly, so that there are always
    leads to archive and to delete. lost: leads whose data was in vicidial_list and is in neither table any more."""

    def __init__(self, tables: Tables) -> None:
        self.lost: dict[int, Row] = {}
        self._tables = Tables(tables.mariadb, tables.database)
        self._leads: dict[int, Row] = {}
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._put_back, daemon=True)

    def __enter__(self) -> Self:
        self._put()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        self._tables.close()
        if self._error:
            raise self._error

    def _put_back(self) -> None:
        try:
            while not self._stop.wait(PAUSE):
                self._put()
        except Exception as error:
            self._error = error

    def _put(self) -> None:
        # No batch runs meanwhile: LOCK TABLES waits until those in progress have ended, and blocks the next ones.
        self._tables.execute("LOCK TABLES vicidial_list WRITE, vicidial_list_archive WRITE")
        self._look()
        for table in ("vicidial_list", "vicidial_list_archive"):
            self._tables.execute(f"DELETE FROM {table}")
        self._tables.live(*LIVE, *EQUAL, *DIFFERENT)
        self._tables.archived(*EQUAL)
        self._tables.archived(*DIFFERENT, status="NEW")
        self._leads = self._tables.rows("vicidial_list")
        self._tables.execute("UNLOCK TABLES")

    def _look(self) -> None:
        live, archived = self._tables.both()
        for lead_id, row in self._leads.items():
            if row not in (live.get(lead_id), archived.get(lead_id)):
                self.lost[lead_id] = row
