-- Leads with a callback to come. If the lead were deleted, the callback would never be made. TFHCCL: Vicidial delays the
-- callback because of its limit of calls in 24 hours.
SELECT lead_id
FROM vicidial_callbacks{key_hint}
WHERE lead_id IN ({lead_ids})
    AND status IN ('ACTIVE', 'LIVE', 'TFHCCL')
