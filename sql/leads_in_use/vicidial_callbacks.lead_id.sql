-- Leads that somebody promised to call back. Deleted, the callback would never fire.
SELECT lead_id
FROM vicidial_callbacks
WHERE lead_id IN ({lead_ids})
    AND status IN ('ACTIVE', 'LIVE')
