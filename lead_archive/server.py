"""Send requests to the service, and retry them while a retry can help."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from lead_archive.answers import Answer, Lead, Moved, compared, unknown
from lead_archive.errors import (
    ConditionsRefusedError,
    FailedError,
    MalformedError,
    RefusedError,
    StoppedError,
    UnknownLeadsError,
)
from lead_archive.offer import Offer
from lead_archive.pages import Page
from lead_archive.settings import Settings
from lead_archive.wire import CertificateError, NoAnswerError, TooLargeError, Wire

COMPARE = "/vicidial/leads/compare"
FIND = "/vicidial/leads/find"
READS = {COMPARE, FIND}
"""The paths that change nothing."""
FIRST_CONTACT = 15.0
"""Seconds to retry the first request: longer than a restart takes, and short enough to report a wrong address soon."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two tries; the pauses double, and are varied at random so that many clients do not come at once."""
LONGEST_RETRY_AFTER = 300.0
"""The longest Retry-After to follow, in seconds."""
LONGEST_NAP = 900.0
"""Seconds after which office hours are asked for again: an operator may have changed them, a laptop may have slept."""
FAILURES_IN_A_ROW = 3
"""The number of failed batches in a row after which the fault is the server's and not the batch's."""

TRY_AGAIN = {408, 429, 500, 502, 503, 504}
Result = TypeVar("Result", Moved, list[Lead], Page)


class Server:
    """A client of one server, shared by all tasks. say() prints a message for the user; stop ends all pauses."""

    def __init__(self, settings: Settings, stop: asyncio.Event, say: Callable[[str], None], *, resumable: bool = True) -> None:
        """Set the client up. Raises UsageError if the settings of certificates or proxies are wrong.

        resumable: whether the run has a journal, so that messages recommend --resume.
        """
        self._settings = settings
        self._hints = HINTS if resumable else HINTS_WITHOUT_JOURNAL
        self._again = f"{'--resume sends the batch again' if resumable else 'Run the same command again'}, which is safe"
        self._stop = stop
        self.say = say
        self._wire = Wire(settings, stop)
        self._ever_processed = False
        self._failures = 0
        self._trouble = False
        self._opens = 0.0
        """When office hours end, on the clock of time.monotonic()."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._wire.close()

    @property
    def url(self) -> str:
        return self._settings.url

    async def offer(self) -> Offer:
        """Read the server's openapi.yaml. Raises RefusedError, StoppedError."""
        try:
            answer = await self._until_answered("GET", "/openapi.yaml", None, min(FIRST_CONTACT, self._settings.retry_for))
        except FailedError as error:
            raise RefusedError(str(error)) from None
        if answer.status == 404:
            return Offer({})
        if answer.status != 200:
            raise RefusedError(f"{self._settings.url}/openapi.yaml: {answer.said()}")
        return Offer.read(answer.content)

    async def move(self, path: str, body: dict[str, Any]) -> Moved:
        """Send a batch to archive or dearchive. Raises UnknownLeadsError, FailedError, RefusedError, StoppedError."""
        return await self._post(path, body, lambda answer: Moved.read(answer, body))

    async def compare(self, lead_ids: list[int], retry_for: float = math.inf) -> list[Lead]:
        """The leads, in ascending order. retry_for: seconds, if fewer than what the user set.

        Raises FailedError, RefusedError, StoppedError.
        """
        leads = await self._post(COMPARE, {"lead_ids": lead_ids}, lambda answer: compared(answer, lead_ids), retry_for)
        return sorted(leads, key=lambda lead: lead.lead_id)

    async def find(self, body: dict[str, Any]) -> Page:
        """Return a page of the leads that meet conditions. Raises RefusedError, StoppedError."""
        try:
            return await self._post(FIND, body, lambda answer: Page.read(answer, body))
        except FailedError as error:
            raise RefusedError(f"the server cannot find leads, tried for {self._settings.retry_for:g} s: {error}") from None

    async def _post(
        self, path: str, body: dict[str, Any], read: Callable[[Answer], Result], retry_for: float = math.inf
    ) -> Result:
        answer = await self._until_answered("POST", path, body, min(retry_for, self._settings.retry_for))
        try:
            if answer.status == 200:
                result = read(answer)
                if path != FIND:  # leads can be found even if they cannot be archived
                    self._processed()
                return result
            if answer.status == 404 and path not in READS and (named := unknown(answer, body["lead_ids"])):
                self._processed()
                raise UnknownLeadsError(named)
        except MalformedError as error:
            raise RefusedError(
                f"the answer {answer.status} to {path} is not this API's: {error}. Is the address right? {self._again}"
            ) from None
        if "where" in body and answer.message() and answer.status in {400, 503}:
            raise ConditionsRefusedError(f"the server refuses these conditions: {answer.said()}")
        raise RefusedError(f"the server refuses: {answer.said()}{self._hints.get(answer.status, '')}")

    def _processed(self) -> None:
        self._ever_processed = True
        self._failures = 0

    async def _until_answered(self, method: str, path: str, body: Any, retry_for: float) -> Answer:
        """Retry until an answer is final, and return it. Raises FailedError, RefusedError, StoppedError."""
        timeout = min(self._settings.timeout, FIRST_CONTACT) if body is None else self._settings.timeout
        first_failure: float | None = None
        pause = SHORTEST_PAUSE
        while True:
            await self._outside_office_hours()
            answer: Answer | None = None
            try:
                answer = await self._wire.send(method, path, body, timeout, changes=method == "POST" and path not in READS)
            except CertificateError as error:
                raise RefusedError(
                    f"the certificate of {self._settings.url} cannot be verified: {error}. Add its issuer to the system "
                    "or name its file in SSL_CERT_FILE; --insecure skips this check"
                ) from None
            except TooLargeError as error:
                raise RefusedError(f"the answer to {path} is not this API's: {error}. Is the address right?") from None
            except NoAnswerError as error:
                reason, least = str(error), 0.0
            else:
                if answer.status == 403 and self._settings.wait and answer.message() and answer.retry_after():
                    self._note_office_hours(answer)
                    first_failure = None  # the earlier failures are hours old
                    continue
                if answer.status not in TRY_AGAIN or (body and "where" in body and answer.refuses_condition()):
                    self._note_answer()
                    return answer
                reason, least = answer.said(), min(answer.retry_after() or 0, LONGEST_RETRY_AFTER)
            now = time.monotonic()
            first_failure = first_failure or now
            if now - first_failure >= retry_for:
                raise self._given_up(reason, retry_for, answered=answer is not None)
            self._note_trouble(reason, retry_for)
            await self._sleep(least + random.uniform(pause / 2, pause))  # noqa: S311  # not a secret
            pause = min(2 * pause, LONGEST_PAUSE)

    def _given_up(self, reason: str, retry_for: float, *, answered: bool) -> Exception:
        """Return the error for a batch that was given up: FailedError if others succeed, RefusedError if the server fails."""
        if not answered:
            return RefusedError(f"{self._settings.url} cannot be reached, tried for {retry_for:g} s: {reason}")
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW or not self._ever_processed:
            return RefusedError(f"the server cannot process leads, tried for {retry_for:g} s: {reason}")
        return FailedError(reason)

    async def _outside_office_hours(self) -> None:
        while (left := self._opens - time.monotonic()) > 0:
            await self._sleep(left)

    def _note_office_hours(self, answer: Answer) -> None:
        seconds = answer.retry_after() or 60.0
        if self._opens < time.monotonic():  # several requests are refused at once: print it once
            at = time.strftime("%H:%M", time.localtime(time.time() + seconds))
            self.say(f"office hours: waiting until {at}. {answer.said()}")
        self._opens = time.monotonic() + min(seconds, LONGEST_NAP)

    def _note_trouble(self, reason: str, retry_for: float) -> None:
        if not self._trouble:
            self._trouble = True
            self.say(f"{reason}; trying again for {retry_for:g} s")

    def _note_answer(self) -> None:
        if self._trouble:
            self._trouble = False
            self.say("the server answers again")

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or raise StoppedError as soon as the run is to stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise StoppedError


HINTS = {
    400: ". This is a fault of the client or of a proxy, or the server's limit changed: --resume reads it again",
    401: ". Put the right key into LEAD_ARCHIVE_KEY or the --key-file",
    403: ". Try again after that, with --resume if a part was done, or let --wait do it",
    404: ". Is the address right, and does the server offer this?",
}
HINTS_WITHOUT_JOURNAL = {
    **HINTS,
    400: ". This is a fault of the client or of a proxy",
    403: ". Try again after that, or let --wait do it",
}
