"""A service whose answers a test chooses, such as malformed ones and those of later releases."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

LIMIT = 3
OPENAPI = f"""
openapi: 3.1.0
paths:
  /vicidial/leads/archive: &leads
    post: {{requestBody: {{content: {{application/json: {{schema: {{properties: {{lead_ids: {{$ref: "#/ids"}}}}}}}}}}}}}}
  /vicidial/leads/dearchive: *leads
  /vicidial/leads/compare: *leads
ids: {{maxItems: {LIMIT}}}
"""
PAGE = 10
FIND_OPENAPI = OPENAPI.replace(
    "\nids:",
    "\n  /vicidial/leads/find:\n    post: {requestBody: {content: {application/json: {schema: {properties: {limit: {maximum: "
    + f"{PAGE}{'}' * 7}\nids:",
)
"""The contract with find, which returns at most PAGE leads at a time."""


@dataclass
class Reply:
    """body: bytes are sent unchanged; other values are sent as JSON."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Answer = Callable[[str, dict[str, Any]], Reply | None]
"""Return the reply to a path and a body; None closes the connection without an answer."""


@contextlib.contextmanager
def fake(answer: Answer, openapi: bytes | str | Reply = OPENAPI) -> Iterator[str]:
    """Run a service that answers its POST requests with this function, and yield its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = openapi.encode() if isinstance(openapi, str) else openapi
            self.reply(content if isinstance(content, Reply) else Reply(content))

        def do_POST(self) -> None:
            self.reply(answer(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def reply(self, reply: Reply | None) -> None:
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.content)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # the client closed the connection
                self.wfile.write(reply.content)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def moved(body: dict[str, Any], **fields: Any) -> Reply:
    """Return a 200 for leads that were all in the source table and not in the target table, with these fields replaced."""
    number = len(body["lead_ids"])
    answer = {
        "message": "lead_ids batch was successfully processed",
        "select_count": number,
        "insert_count": number if body["insert_leads"] else 0,
        "update_count": 0,
        "delete_count": number if body["delete_leads"] else 0,
        "remaining_lead_ids": [],
    }
    return Reply({**answer, **fields})


def page(*lead_ids: int, after: int | None = None, **fields: Any) -> Reply:
    """Return a 200 of find. after: the lead id after which the next page begins; None for the last page."""
    last = {"next_after_lead_id": max(lead_ids, default=0) if after is None else after, "done": after is None}
    return Reply({"message": "leads were found", "lead_ids": list(lead_ids), **last, **fields})


def finder(lead_ids: Sequence[int], body: dict[str, Any]) -> Reply:
    """Return the page of these leads that a request asks for."""
    left = [lead_id for lead_id in lead_ids if lead_id > body.get("after_lead_id", -1)]
    found = left[: body["limit"]]
    return page(*found, after=found[-1] if len(left) > len(found) else None)


def lead(lead_id: int, **fields: Any) -> dict[str, Any]:
    """Return a lead that is only in vicidial_list, with these fields replaced."""
    state = {"in_list": True, "in_archive": False, "identical": False, "different_columns": [], "in_use": False}
    return {"lead_id": lead_id, **state, **fields}


def compared(*leads: Any) -> Reply:
    return Reply({"message": "leads were compared", "leads": list(leads)})
