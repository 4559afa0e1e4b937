#!/usr/bin/env bash
# Archives leads: archive_leads.sh FILE, or archive_leads.sh --where '{"statuses": ["DNC"]}'. Needs curl and jq.
#
# FILE holds one lead id a line. LEAD_ARCHIVE_URL and LEAD_ARCHIVE_KEY say where, and with which key. Prints the leads that
# stayed, each with the reason. Exit status: 0 done, 1 the service or the network fails, 2 refused, 3 within office hours.
set -euo pipefail

attempts=8
answer=$(mktemp) headers=$(mktemp)
trap 'rm -f "$answer" "$headers"' EXIT

stop() { echo "$2" >&2; exit "$1"; }

[[ ${1-} && ${LEAD_ARCHIVE_URL-} && ${LEAD_ARCHIVE_KEY-} ]] ||
  stop 2 'usage: LEAD_ARCHIVE_URL=URL LEAD_ARCHIVE_KEY=KEY archive_leads.sh FILE, or archive_leads.sh --where CONDITIONS'

# call PATH [BODY]: sets status and fills $answer, after as many attempts as it takes: to repeat a request is always safe.
call() {
  local attempt wait retry_after
  for ((attempt = 0; attempt < attempts; attempt++)); do
    # The key comes from a file descriptor: all users of a machine can read the arguments of its programs.
    status=$(curl --silent --show-error --max-time 60 --output "$answer" --dump-header "$headers" --write-out '%{http_code}' \
      --header @<(printf 'Authorization: Key=%s\n' "$LEAD_ARCHIVE_KEY") --header 'Content-Type: application/json' \
      ${2:+--data-binary @<(printf %s "$2")} "${LEAD_ARCHIVE_URL%/}$1") || status=000
    jq -e objects "$answer" &>/dev/null || status+=' without JSON' # an answer of a proxy's own
    retry_after=$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]*\).*/\1/p' "$headers" | tail -1)
    case $status in
      # Office hours may last for hours: nobody should wait that long with a program open.
      403) stop 3 "$(jq -r .message "$answer"); start again in $retry_after seconds" ;;
      000 | 408 | 429 | 500 | 502 | 503 | 504 | *JSON) ;;
      *) return ;;
    esac
    ((attempt + 1 < attempts)) || break
    wait=$((attempt < 6 ? 1 << attempt : 60))
    wait=$((${retry_after:-0} > wait ? retry_after : wait))
    echo "$1: status $status; attempt $((attempt + 2)) in $wait seconds" >&2
    sleep "$wait"
  done
  stop 1 "$1: status $status; $attempts attempts failed"
}

# archive IDS: a JSON array with at most as many ids as the limit.
deleted=0
archive() {
  local batch=$1 refused
  while [[ $batch != '[]' ]]; do
    call /vicidial/leads/archive "$(jq -nc --argjson ids "$batch" --argjson where "$where" \
      '{insert_leads: true, update_leads: true, delete_leads: true, lead_ids: $ids} + ($where | if . then {where: .} else {} end)')"
    if [[ $status == 200 ]]; then
      deleted=$((deleted + $(jq .delete_count "$answer")))
      jq -r '.remaining_lead_ids[] | "\(.) stayed"' "$answer"
      return
    fi
    refused=$(jq -c --argjson ids "$batch" '(.lead_ids // []) as $named | [$ids[] | select(IN($named[]))]' "$answer")
    [[ $refused != '[]' ]] || stop 2 "$(jq -r .message "$answer")" # the same request would be refused for ever
    jq -r --argjson refused "$refused" '.message as $message | $refused[] | "\(.) \($message)"' "$answer"
    batch=$(jq -nc --argjson ids "$batch" --argjson refused "$refused" '$ids - $refused')
  done
}

where=null
call /openapi.json
limit=$(jq .components.schemas.LeadIDs.maxItems "$answer")
if [[ $1 == --where ]]; then
  where=$2 after='{}' done=false
  while [[ $done == false ]]; do
    call /vicidial/leads/find "$(jq -nc --argjson where "$where" --argjson limit "$limit" --argjson after "$after" '{$where, $limit} + $after')"
    [[ $status == 200 ]] || stop 2 "$(jq -r .message "$answer")"
    ids=$(jq -c .lead_ids "$answer") done=$(jq .done "$answer") after=$(jq -c '{after_lead_id: .next_after_lead_id}' "$answer")
    archive "$ids" # a page may be empty before the last one
  done
else
  [[ -r $1 ]] || stop 2 "$1 cannot be read"
  ! wrong=$(tr -d '\r' <"$1" | grep -vxE '[0-9]+|[[:blank:]]*') || stop 2 "$1: ${wrong%%$'\n'*} is no lead id"
  batches='[inputs] | unique | range(0; length; $limit) as $start | .[$start:$start + $limit]' # without duplicates
  while read -r ids; do archive "$ids"; done < <(jq -nc --argjson limit "$limit" "$batches" "$1")
fi
echo "$deleted leads left vicidial_list" >&2
