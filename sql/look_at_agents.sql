-- Whether agents are logged in. An agent has a row here as long as the agent is logged in. It waits for nobody: if somebody has
-- locked the table, or is writing to it, it fails at once with error 1205.
SET STATEMENT lock_wait_timeout = 0 FOR
SELECT EXISTS (SELECT 1 FROM vicidial_live_agents)
