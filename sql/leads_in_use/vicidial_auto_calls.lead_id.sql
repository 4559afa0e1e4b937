-- Leads whose call is being placed, rings, waits in a queue or goes on. Deleted, the call's result would be lost.
SELECT lead_id
FROM vicidial_auto_calls
WHERE lead_id IN ({lead_ids})
    AND lead_id > 0
