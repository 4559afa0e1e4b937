"""What the endpoints work with. It is made once, when the service starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from service.access.keys_file import KeysFile
from service.access.office_hours import OfficeHours
from service.api.contract import Contract
from service.api.in_progress import InProgress
from service.api.large_bodies import LargeBodies
from service.archive.admin_log import AdminLog
from service.archive.comparer import Comparer
from service.archive.finder import Finder
from service.archive.mover import Mover
from service.archive.readers import Readers
from service.archive.readiness import Readiness
from service.database.pool import Database
from service.database.statements import Statements
from service.observability.audit_log import Audit
from service.observability.metrics_text import MetricsText
from service.tables.table_reader import TableReader


@dataclass(frozen=True)
class AppContext:
    """Everything that an endpoint may need: app.state.context."""

    contract: Contract
    keys: KeysFile
    office_hours: OfficeHours
    dearchive_office_hours: OfficeHours
    database: Database
    readers: Readers
    archive: Mover
    dearchive: Mover
    comparer: Comparer
    finder: Finder
    readiness: Readiness
    audit: Audit
    admin_log: AdminLog
    statements: Statements
    archive_reader: TableReader
    request_timeout: float
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    in_progress: InProgress = field(default_factory=InProgress)
    large_bodies: LargeBodies = field(default_factory=LargeBodies)
    metrics_here: bool = True
    """Whether /metrics is served on the API's port."""

    @cached_property
    def metrics_text(self) -> MetricsText:
        return MetricsText(self.forbidden)

    def forbidden(self) -> dict[str, bool]:
        """Return for each operation whether office hours forbid it now."""
        hours = {"archive": self.office_hours, "dearchive": self.dearchive_office_hours}
        return {operation: windows.end(self.now()) is not None for operation, windows in hours.items()}
