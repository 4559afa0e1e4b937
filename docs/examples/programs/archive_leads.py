"""Archives leads: python archive_leads.py FILE, or python archive_leads.py --where '{"statuses": ["DNC"]}'.

FILE holds one lead id a line. LEAD_ARCHIVE_URL and LEAD_ARCHIVE_KEY say where, and with which key. Prints the leads that
stayed, each with the reason. Exit status: 0 done, 1 the service or the network fails, 2 refused, 3 within office hours.
"""

import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

URL = os.environ.get("LEAD_ARCHIVE_URL", "").rstrip("/")
KEY = os.environ.get("LEAD_ARCHIVE_KEY", "")
USAGE = "usage: LEAD_ARCHIVE_URL=URL LEAD_ARCHIVE_KEY=KEY archive_leads.py FILE, or archive_leads.py --where CONDITIONS"
HEADERS = {"Authorization": f"Key={KEY}", "Content-Type": "application/json"}
FLAGS = {"insert_leads": True, "update_leads": True, "delete_leads": True}
TRY_AGAIN = {408, 429, 500, 502, 503, 504}
ATTEMPTS = 8


def stop(status: int, message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)


def open_url(request: urllib.request.Request) -> http.client.HTTPResponse | urllib.error.HTTPError:
    try:
        return urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        return error  # an answer too


def call(path: str, body: dict | None = None) -> tuple[int, dict]:
    """Return the status and the answer, after as many attempts as it takes: to repeat a request is always safe."""
    for attempt in range(ATTEMPTS):
        retry_after = 0
        request = urllib.request.Request(URL + path, body and json.dumps(body).encode(), HEADERS)
        try:
            with open_url(request) as response:
                status, reason = response.status, response.read()
            retry_after = int(response.headers.get("Retry-After", 0))
            if status not in TRY_AGAIN:
                answer = json.loads(reason)
                if status == 403:  # office hours may last for hours: nobody should wait that long with a program open
                    stop(3, f"{answer['message']}; start again in {retry_after} seconds")
                return status, answer
        except (OSError, http.client.HTTPException, ValueError) as error:  # no answer, half of one, or one of a proxy's own
            reason = error
        wait = max(retry_after, min(60, 2**attempt) * random.uniform(0.5, 1))
        if attempt + 1 == ATTEMPTS:
            stop(1, f"{path}: {reason!r}; {ATTEMPTS} attempts failed")
        print(f"{path}: {reason!r}; attempt {attempt + 2} in {wait:.0f} seconds", file=sys.stderr)
        time.sleep(wait)
    raise AssertionError


def batches_from_file(name: str, limit: int) -> Iterator[list[int]]:
    with open(name, encoding="utf-8") as file:
        ids = list(dict.fromkeys(int(line) for line in file if line.strip()))  # without duplicates
    for start in range(0, len(ids), limit):
        yield ids[start : start + limit]


def batches_found(where: dict, limit: int) -> Iterator[list[int]]:
    page: dict = {"where": where, "limit": limit}
    while not page.get("done"):
        status, answer = call("/vicidial/leads/find", page)
        if status != 200:
            stop(2, answer["message"])
        if answer["lead_ids"]:  # a page may be empty before the last one
            yield answer["lead_ids"]
        if answer["done"]:
            return
        page["after_lead_id"] = answer["next_after_lead_id"]


if len(sys.argv) < 2 or not URL or not KEY:
    stop(2, USAGE)
_, contract = call("/openapi.json")
limit = contract["components"]["schemas"]["LeadIDs"]["maxItems"]
where = json.loads(sys.argv[2]) if sys.argv[1] == "--where" else None
deleted = 0
for found in batches_found(where, limit) if where else batches_from_file(sys.argv[1], limit):
    batch = found
    while batch:
        status, answer = call("/vicidial/leads/archive", {**FLAGS, "lead_ids": batch, **({"where": where} if where else {})})
        if status == 200:
            deleted += answer["delete_count"]
            for lead_id in answer["remaining_lead_ids"]:
                print(lead_id, "stayed")
            break
        refused = [lead_id for lead_id in batch if lead_id in answer.get("lead_ids", [])]
        if not refused:  # the same request would be refused for ever
            stop(2, answer["message"])
        for lead_id in refused:
            print(lead_id, answer["message"])
        batch = [lead_id for lead_id in batch if lead_id not in refused]
print(f"{deleted} leads left vicidial_list", file=sys.stderr)
