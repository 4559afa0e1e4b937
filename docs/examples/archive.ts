// Archives leads: node archive.ts 4711 4712 4713. LEAD_ARCHIVE_URL and LEAD_ARCHIVE_KEY say where, and with which key.
import createClient from "openapi-fetch";
import type { paths } from "./lead-archive-api.js";

const { LEAD_ARCHIVE_URL = "", LEAD_ARCHIVE_KEY = "" } = process.env;
const client = createClient<paths>({ baseUrl: LEAD_ARCHIVE_URL, headers: { Authorization: `Key=${LEAD_ARCHIVE_KEY}` } });
const { data, error, response } = await client.POST("/vicidial/leads/archive", {
  body: { insert_leads: true, update_leads: true, delete_leads: true, lead_ids: process.argv.slice(2).map(Number) },
  signal: AbortSignal.timeout(60_000),
});

if (data) {
  console.log(`${data.delete_count} leads left vicidial_list, these did not: ${JSON.stringify(data.remaining_lead_ids)}`);
} else {
  process.exitCode = 1;
  if ("lead_errors" in error) {
    // 400, 404: send the batch without these leads
    console.error(`${error.message}: ${JSON.stringify(error.lead_ids)}`);
  } else {
    // 403, 503: send the same batch again, later; the others: see the message
    console.error(`${error.message}; try again after ${response.headers.get("Retry-After") ?? "-"} seconds`);
  }
}
