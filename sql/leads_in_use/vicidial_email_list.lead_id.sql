-- Leads whose e-mail waits for an agent or is being answered. If the lead were deleted, its disposition would be lost.
SELECT lead_id
FROM vicidial_email_list{key_hint}
WHERE lead_id IN ({lead_ids})
    AND status IN ('NEW', 'QUEUE', 'INCALL')
    AND direction = 'INBOUND'
