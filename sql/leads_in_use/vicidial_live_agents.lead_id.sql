-- Leads that an agent has on the line. If the lead were deleted, the agent's disposition would update nothing. An idle agent
-- has 0.
SELECT lead_id
FROM vicidial_live_agents{key_hint}
WHERE lead_id IN ({lead_ids})
    AND lead_id > 0
