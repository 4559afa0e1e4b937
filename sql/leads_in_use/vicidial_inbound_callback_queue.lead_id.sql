-- Leads that wait in an inbound queue to be called back, for up to 96 hours. Deleted, the call would find nobody.
SELECT lead_id
FROM vicidial_inbound_callback_queue
WHERE lead_id IN ({lead_ids})
    AND icbq_status IN ('NEW', 'LIVE', 'SENDING', 'NOCALLTIME')
