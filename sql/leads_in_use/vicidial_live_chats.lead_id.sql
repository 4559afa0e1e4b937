-- Leads whose chat waits for an agent or is in progress. If the lead were deleted, its disposition would be lost.
SELECT lead_id
FROM vicidial_live_chats{key_hint}
WHERE lead_id IN ({lead_ids})
    AND status IN ('WAITING', 'LIVE')
