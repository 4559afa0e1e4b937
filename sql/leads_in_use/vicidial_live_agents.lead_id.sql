-- Leads that an agent has on the line. Deleted, the agent's disposition would update nothing. Idle agents have a 0.
SELECT lead_id
FROM vicidial_live_agents
WHERE lead_id IN ({lead_ids})
    AND lead_id > 0
