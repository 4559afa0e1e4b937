-- Leads that an agent was handed from outside, through Vicidial's API. Idle agents have a 0.
SELECT external_lead_id
FROM vicidial_live_agents
WHERE external_lead_id IN ({lead_ids})
    AND external_lead_id > 0
