-- Leads that an agent got from outside, through Vicidial's API. An idle agent has 0.
SELECT external_lead_id
FROM vicidial_live_agents{key_hint}
WHERE external_lead_id IN ({lead_ids})
    AND external_lead_id > 0
