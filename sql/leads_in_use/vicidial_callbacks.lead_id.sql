-- Leads that somebody promised to call back. Deleted, the callback would never fire. TFHCCL: one that Vicidial holds back for
-- its limit of calls in 24 hours, and fires later.
SELECT lead_id
FROM vicidial_callbacks
WHERE lead_id IN ({lead_ids})
    AND status IN ('ACTIVE', 'LIVE', 'TFHCCL')
