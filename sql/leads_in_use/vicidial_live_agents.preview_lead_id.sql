-- Leads that an agent previews before the call. An idle agent has 0.
SELECT preview_lead_id
FROM vicidial_live_agents{key_hint}
WHERE preview_lead_id IN ({lead_ids})
    AND preview_lead_id > 0
