#!/usr/bin/env bash
# Archives leads: archive.sh 4711 4712 4713. LEAD_ARCHIVE_URL and LEAD_ARCHIVE_KEY say where, and with which key.
set -euo pipefail

# The key comes from a file descriptor: all users of a machine can read the arguments of its programs.
curl --silent --show-error --fail-with-body --max-time 60 \
  --header @<(printf 'Authorization: Key=%s\n' "$LEAD_ARCHIVE_KEY") \
  --header 'Content-Type: application/json' \
  --data "{\"insert_leads\":true,\"update_leads\":true,\"delete_leads\":true,\"lead_ids\":[$(IFS=,; echo "$*")]}" \
  "$LEAD_ARCHIVE_URL/vicidial/leads/archive"
