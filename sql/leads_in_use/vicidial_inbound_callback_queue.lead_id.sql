-- Leads that wait in an inbound queue to be called back, for up to 96 hours. If the lead were deleted, the call would find no
-- lead.
SELECT lead_id
FROM vicidial_inbound_callback_queue{key_hint}
WHERE lead_id IN ({lead_ids})
    AND icbq_status IN ('NEW', 'LIVE', 'SENDING', 'NOCALLTIME')
