// Sends the calls in a file, and tells of every answer its status, the type with which it arrived, and what is in it.
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { components, operations, paths } from "./lead-archive-api.js";

type Schemas = components["schemas"];
type Answers = operations["archive_leads"]["responses"];
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type NameOf<T> = { [Name in keyof Schemas]: Same<T, Schemas[Name]> extends true ? Name : never }[keyof Schemas];

// The type checker knows the type for each status: no other name passes here, and none may be missing.
const types: { [Status in keyof Answers]: NameOf<Answers[Status]["content"]["application/json"]> } = {
  200: "ArchiveResult",
  400: "LeadError",
  401: "ErrorMessage",
  403: "ErrorMessage",
  404: "LeadError",
  405: "ErrorMessage",
  408: "ErrorMessage",
  413: "ErrorMessage",
  415: "ErrorMessage",
  431: "ErrorMessage",
  500: "ErrorMessage",
  503: "ErrorMessage",
};

interface Call {
  url: string;
  headers: Record<string, string>;
  body: Schemas["ArchiveRequest"];
}

const calls: Call[] = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8"));
for (const { url, headers, body } of calls) {
  const client = createClient<paths>({ baseUrl: url, headers });
  const { data, error, response } = await client.POST("/vicidial/leads/archive", { body });
  const status = response.status as keyof typeof types;
  let answer: [keyof Schemas, unknown];
  if (data) {
    const result: Schemas["ArchiveResult"] = data;
    answer = ["ArchiveResult", result.remaining_lead_ids];
  } else if ("lead_errors" in error) {
    const leadError = error as Schemas["LeadError"]; // an index signature keeps "in" from narrowing the type
    answer = ["LeadError", leadError.lead_ids];
  } else {
    const message: Schemas["ErrorMessage"]["message"] = error.message;
    answer = ["ErrorMessage", message];
  }
  console.log(JSON.stringify([status, types[status], ...answer]));
}
