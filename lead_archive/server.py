"""The service as the client sees it: one request, tried again for as long as that makes sense."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx2

from lead_archive.errors import RefusedError
from lead_archive.offer import Offer
from lead_archive.settings import Settings

CONNECT_TIMEOUT = 10.0
"""Seconds in which a server takes a connection, or is not there."""
FIRST_CONTACT = 15.0
"""Seconds that the very first request is tried for: longer than a restart takes, and a wrong address is told soon."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two tries; the pauses double, and are varied at random so that many clients do not come at once."""
LONGEST_RETRY_AFTER = 300.0
"""Seconds. What a server asks for beyond that is not waited for."""
LONGEST_NAP = 900.0
"""Seconds after which office hours are asked for again: an operator may have changed them, a laptop may have slept."""
FAILURES_IN_A_ROW = 3
"""Batches that the server failed at, one after the other, after which it is the server and not the batch."""

TRY_AGAIN = {429, 500, 502, 503, 504}


class UnknownLeadsError(Exception):
    """404 with the ids that are in neither table. Nothing was changed."""

    def __init__(self, lead_ids: set[int]) -> None:
        super().__init__(f"{len(lead_ids)} unknown leads")
        self.lead_ids = lead_ids


class FailedError(Exception):
    """A batch that the server could not process in all that time, while it processed others. The message says why."""


class StoppedError(Exception):
    """The run is being stopped, and the request was not sent, or not again."""


class Server:
    """A client of one server, for any number of tasks. say() tells the user what happens; stop ends all pauses."""

    def __init__(self, settings: Settings, stop: asyncio.Event, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._stop = stop
        self._say = say
        self._client = httpx2.AsyncClient(
            base_url=settings.url,
            headers={"Authorization": f"Key={settings.key}", "User-Agent": "lead-archive"},
            verify=not settings.insecure,
            timeout=httpx2.Timeout(settings.timeout, connect=CONNECT_TIMEOUT, pool=None),
            limits=httpx2.Limits(max_connections=None),
        )
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
        await self._client.aclose()

    async def offer(self) -> Offer:
        """What the server offers, as its openapi.yaml says. Raises RefusedError, StoppedError."""
        try:
            response = await self._until_answered("GET", "/openapi.yaml", None, min(FIRST_CONTACT, self._settings.retry_for))
        except FailedError as error:
            raise RefusedError(str(error)) from None
        if response.status_code == 404:
            return Offer({})
        if response.status_code != 200:
            raise RefusedError(f"{self._settings.url}/openapi.yaml: {said(response)}")
        return Offer.read(response.text)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The body of the answer 200. Raises UnknownLeadsError, FailedError, RefusedError, StoppedError."""
        response = await self._until_answered("POST", path, body, self._settings.retry_for)
        answer = parsed(response)
        if response.status_code == 200 and "message" in answer:
            self._processed()
            return answer
        if response.status_code == 404:
            unknown = {lead_id for lead_id in answer.get("lead_ids") or [] if isinstance(lead_id, int)} & set(body["lead_ids"])
            if unknown:
                self._processed()
                raise UnknownLeadsError(unknown)
        raise RefusedError(f"the server refuses: {said(response)}{HINTS.get(response.status_code, '')}")

    def _processed(self) -> None:
        self._ever_processed = True
        self._failures = 0

    async def _until_answered(self, method: str, path: str, body: Any, retry_for: float) -> httpx2.Response:
        """An answer that another try would not change. Raises FailedError, RefusedError, StoppedError."""
        first_failure: float | None = None
        pause = SHORTEST_PAUSE
        while True:
            await self._outside_office_hours()
            if self._stop.is_set():
                raise StoppedError
            response: httpx2.Response | None = None
            try:
                response = await self._client.request(method, path, json=body)
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                if is_certificate(error):
                    raise RefusedError(
                        f"the certificate of {self._settings.url} cannot be verified: {error}. Add its issuer to the system "
                        "or name its file in SSL_CERT_FILE; --insecure does without"
                    ) from None
                reason, least = f"{type(error).__name__}: {error}".rstrip(": "), 0.0
            else:
                if response.status_code == 403 and self._settings.wait:
                    self._note_office_hours(response)
                    first_failure = None  # what was before is hours ago then
                    continue
                if response.status_code not in TRY_AGAIN:
                    self._note_answer()
                    return response
                reason, least = said(response), min(retry_after(response) or 0, LONGEST_RETRY_AFTER)
            now = time.monotonic()
            first_failure = first_failure or now
            if now - first_failure >= retry_for:
                raise self._given_up(reason, retry_for, answered=response is not None)
            self._note_trouble(reason, retry_for)
            await self._sleep(least + random.uniform(pause / 2, pause))  # noqa: S311  # not a secret
            pause = min(2 * pause, LONGEST_PAUSE)

    def _given_up(self, reason: str, retry_for: float, *, answered: bool) -> Exception:
        """Whether it is the batch or the server that is at fault."""
        if not answered:
            return RefusedError(f"{self._settings.url} cannot be reached, tried for {retry_for:g} s: {reason}")
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW or not self._ever_processed:
            return RefusedError(f"the server cannot process leads, tried for {retry_for:g} s: {reason}")
        return FailedError(reason)

    async def _outside_office_hours(self) -> None:
        while (left := self._opens - time.monotonic()) > 0:
            await self._sleep(left)

    def _note_office_hours(self, response: httpx2.Response) -> None:
        seconds = retry_after(response) or 60.0
        if self._opens < time.monotonic():  # several requests are refused at once: it is said once
            at = time.strftime("%H:%M", time.localtime(time.time() + seconds))
            self._say(f"office hours: waiting until {at}. {said(response)}")
        self._opens = time.monotonic() + min(seconds, LONGEST_NAP)

    def _note_trouble(self, reason: str, retry_for: float) -> None:
        if not self._trouble:
            self._trouble = True
            self._say(f"{reason}; trying again for {retry_for:g} s")

    def _note_answer(self) -> None:
        if self._trouble:
            self._trouble = False
            self._say("the server answers again")

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or raise StoppedError as soon as the run is to stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise StoppedError


HINTS = {
    400: ". This is a fault of the client or of a proxy, or the server's limit changed: --resume reads it anew",
    401: ". Put the right key into LEAD_ARCHIVE_KEY or the --key-file",
    403: ". Try again after that, with --resume if a part was done, or let --wait do it",
    404: ". Is the address right, and does the server offer this?",
}


def parsed(response: httpx2.Response) -> dict[str, Any]:
    """The JSON object in an answer; empty if there is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def said(response: httpx2.Response) -> str:
    """An answer in a few words: its status, its message, and what helps the operator to find it."""
    message = parsed(response).get("message") or f"{response.reason_phrase}, and nothing that this API says"
    text = f"{response.status_code} {message}"
    if response.status_code == 403 and (seconds := retry_after(response)):
        text += f"; it ends at {time.strftime('%a %H:%M', time.localtime(time.time() + seconds))}"
    if location := response.headers.get("Location"):
        text += f"; it points to {location}"
    if request_id := response.headers.get("X-Request-ID"):
        text += f" (X-Request-ID {request_id})"
    return text


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds, if the answer says any."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def is_certificate(error: BaseException | None) -> bool:
    """Whether an error comes of a certificate that cannot be verified."""
    while error:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
