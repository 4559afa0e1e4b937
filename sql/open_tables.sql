-- Open both tables, and vicidial_lists if the conditions need it, before a lead is locked. From here on, LOCK TABLES and ALTER
-- TABLE of other sessions wait for this transaction. If they came first, this statement waits for them, and the dialler does not
-- wait for this statement. It reads and locks no row. FOR UPDATE opens the tables as INSERT and DELETE need them: LOCK TABLES ...
-- READ waits, too.
SELECT target.lead_id
FROM {target} AS target
JOIN {source} AS source ON source.lead_id = target.lead_id
WHERE FALSE
    AND {matches}
FOR UPDATE
