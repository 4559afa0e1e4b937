-- Leads whose call is being placed, rings, waits in a queue or is in progress. If the lead were deleted, the result of the
-- call would be lost.
SELECT lead_id
FROM vicidial_auto_calls{key_hint}
WHERE lead_id IN ({lead_ids})
    AND lead_id > 0
