-- Whether agents are logged in. An agent has a row here as long as the agent is logged in.
SELECT EXISTS (SELECT 1 FROM vicidial_live_agents)
