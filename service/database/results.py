"""The results of statements that were sent in one round trip."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from asyncmy.cursors import Cursor

from service.database.sessions import Session


class QuietCursor(Cursor):
    """A cursor that never asks for warnings. Warnings contain values that did not fit, and the driver would log them: lead
    data. The comparison notices whether a value was damaged."""

    async def _show_warnings(self, _: Any) -> None:
        pass


class Results:
    """The results of statements that were sent together. Those of checks of the session are dealt with here."""

    def __init__(
        self, cursor: Any, session: Session, first: Sequence[str], statements: Sequence[str], unneeded: Collection[str]
    ) -> None:
        """first: statements whose results nobody needs. unneeded: the same, between the others."""
        self.cursor = cursor
        self.is_checked = False
        """Whether the last check of the session was passed."""
        self._session = session
        self._sent = [*first, *statements]
        self.text = ";\n".join(self._sent)
        """All statements, as they are sent."""
        self._checks = {session.check, session.check_again}
        self._unread = len(first)
        self._unneeded = {*self._checks, *unneeded}
        self._position = 0

    async def send(self) -> None:
        """Send the statements, and go to the first result that somebody needs."""
        await self.cursor.execute(self.text)
        await self._check()
        while self._position < self._unread:
            await self._go_on()

    @property
    def statement(self) -> str:
        """The statement whose result is read now."""
        return self._sent[self._position]

    async def next(self) -> bool:
        """Go to the next result that somebody needs. Return False if there is none."""
        while self._position + 1 < len(self._sent):
            await self._go_on()
            if self.statement not in self._unneeded:
                return True
        return False

    @property
    def at_check(self) -> bool:
        """Whether the statement whose result is read now is a check of the session."""
        return self.statement in self._checks

    async def _go_on(self) -> None:
        self._position += 1
        await self.cursor.nextset()
        await self._check()

    async def _check(self) -> None:
        if self.at_check:
            if self.cursor.description:
                self._session.passed(await self.cursor.fetchall())
            self.is_checked = True
