// Sends the calls in a file with the generated client, and prints for each its status, what is in the answer, and the message.
import { readFileSync } from "node:fs";
import { Configuration, LeadsApi, ResponseError } from "./client/index";

interface Call {
  url: string;
  headers: Record<string, string>;
  lead_ids: number[];
}

async function main(): Promise<void> {
  for (const { url, headers, lead_ids } of JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as Call[]) {
    const api = new LeadsApi(new Configuration({ basePath: url, headers }));
    const batch = { insertLeads: true, updateLeads: true, deleteLeads: true, leadIds: new Set(lead_ids) };
    let said: unknown[];
    try {
      const answer = await api.archiveLeadsRaw({ archiveRequest: batch });
      const result = await answer.value();
      said = [answer.raw.status, result.remainingLeadIds, result.message];
    } catch (error) {
      if (!(error instanceof ResponseError)) throw error;
      const body = await error.response.json();
      said = [error.response.status, body.lead_ids ?? null, body.message];
    }
    console.log(JSON.stringify(said));
  }
}

void main();
