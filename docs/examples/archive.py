"""Archives leads: python archive.py 4711 4712 4713. LEAD_ARCHIVE_URL and LEAD_ARCHIVE_KEY say where, and with which key."""

import os
import sys

import httpx
from lead_archive_api import AuthenticatedClient
from lead_archive_api.api.leads import archive_leads
from lead_archive_api.models import ArchiveRequest, ArchiveResult, ErrorMessage, LeadError

client = AuthenticatedClient(
    base_url=os.environ["LEAD_ARCHIVE_URL"],
    prefix="",  # or the client would put a space between Key= and the key
    token="Key=" + os.environ["LEAD_ARCHIVE_KEY"],
    timeout=httpx.Timeout(60),  # httpx gives up after 5 seconds, the service after 30
)
batch = ArchiveRequest(insert_leads=True, update_leads=True, delete_leads=True, lead_ids=[int(lead) for lead in sys.argv[1:]])
answer = archive_leads.sync_detailed(client=client, body=batch)

match answer.parsed:
    case ArchiveResult() as result:
        print(f"{result.delete_count} leads left vicidial_list, these did not: {result.remaining_lead_ids}")
    case LeadError() as error:  # 400, 404: send the batch without these leads
        sys.exit(f"{error.message}: {error.lead_ids}")
    case ErrorMessage() as error:  # 403, 503: send the same batch again, later; the others: see the message
        sys.exit(f"{error.message}; try again after {answer.headers.get('Retry-After', '-')} seconds")
    case None:
        sys.exit(f"unexpected answer {answer.status_code}: {answer.content!r}")
