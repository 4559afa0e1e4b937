// Archives leads: node archive_leads.mjs FILE, or node archive_leads.mjs --where '{"statuses": ["DNC"]}'. Node.js 18 or later.
//
// FILE holds one lead id a line. LEAD_ARCHIVE_URL and LEAD_ARCHIVE_KEY say where, and with which key. Prints the leads that
// stayed, each with the reason. Exit status: 0 done, 1 the service or the network fails, 2 refused, 3 within office hours.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

if (process.argv.length < 3 || !process.env.LEAD_ARCHIVE_URL || !process.env.LEAD_ARCHIVE_KEY) {
  console.error("usage: LEAD_ARCHIVE_URL=URL LEAD_ARCHIVE_KEY=KEY archive_leads.mjs FILE, or archive_leads.mjs --where CONDITIONS");
  process.exit(2);
}
const url = process.env.LEAD_ARCHIVE_URL.replace(/\/$/, "");
const headers = { Authorization: `Key=${process.env.LEAD_ARCHIVE_KEY}`, "Content-Type": "application/json" };
const flags = { insert_leads: true, update_leads: true, delete_leads: true };
const tryAgain = new Set([408, 429, 500, 502, 503, 504]);
const attempts = 8;

function stop(status, message) {
  console.error(message);
  process.exit(status);
}

// Returns the status and the answer, after as many attempts as it takes: to repeat a request is always safe.
async function call(path, body) {
  for (let attempt = 0; attempt < attempts; attempt++) {
    let wait = Math.min(60, 2 ** attempt) * (0.5 + Math.random() / 2);
    let reason;
    try {
      const method = body ? "POST" : "GET";
      const response = await fetch(url + path, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(60_000) });
      const retryAfter = Number(response.headers.get("Retry-After") ?? 0);
      reason = await response.text();
      // Office hours may last for hours: nobody should wait that long with a program open.
      if (response.status === 403) stop(3, `${JSON.parse(reason).message}; start again in ${retryAfter} seconds`);
      if (!tryAgain.has(response.status)) return [response.status, JSON.parse(reason)];
      wait = Math.max(wait, retryAfter);
    } catch (error) {
      reason = error.cause ?? error; // no answer, half of one, or one of a proxy's own
    }
    if (attempt + 1 === attempts) stop(1, `${path}: ${reason}; ${attempts} attempts failed`);
    console.error(`${path}: ${reason}; attempt ${attempt + 2} in ${wait.toFixed(0)} seconds`);
    await sleep(1000 * wait);
  }
}

function* batchesFromFile(name, limit) {
  const lines = readFileSync(name, "utf8").split("\n").map((line) => line.trim()).filter(Boolean);
  const wrong = lines.find((line) => !/^\d+$/.test(line));
  if (wrong) stop(2, `${name}: ${wrong} is no lead id`);
  const ids = [...new Set(lines.map(Number))]; // without duplicates
  for (let start = 0; start < ids.length; start += limit) yield ids.slice(start, start + limit);
}

async function* batchesFound(where, limit) {
  for (let after = {}; ; ) {
    const [status, answer] = await call("/vicidial/leads/find", { where, limit, ...after });
    if (status !== 200) stop(2, answer.message);
    if (answer.lead_ids.length) yield answer.lead_ids; // a page may be empty before the last one
    if (answer.done) return;
    after = { after_lead_id: answer.next_after_lead_id };
  }
}

const [option, text] = process.argv.slice(2);
const where = option === "--where" ? JSON.parse(text) : undefined;
const [, contract] = await call("/openapi.json");
const limit = contract.components.schemas.LeadIDs.maxItems;
let deleted = 0;
for await (let batch of where ? batchesFound(where, limit) : batchesFromFile(option, limit)) {
  while (batch.length) {
    const [status, answer] = await call("/vicidial/leads/archive", { ...flags, lead_ids: batch, where });
    if (status === 200) {
      deleted += answer.delete_count;
      for (const leadId of answer.remaining_lead_ids) console.log(leadId, "stayed");
      break;
    }
    const refused = new Set(batch.filter((leadId) => answer.lead_ids?.includes(leadId)));
    if (!refused.size) stop(2, answer.message); // the same request would be refused for ever
    for (const leadId of refused) console.log(leadId, answer.message);
    batch = batch.filter((leadId) => !refused.has(leadId));
  }
}
console.error(`${deleted} leads left vicidial_list`);
