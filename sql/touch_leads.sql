-- Change modify_date for a moment, so that a concurrent write on another node conflicts. restore_leads resets it. The source is part
-- of the statement, so no trigger can delete or change a lead there (error 1442): without its lead, the copy would not be reset.
UPDATE {target} AS target FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id
SET target.modify_date = IF(target.modify_date <=> '2000-01-01 00:00:00', '2000-01-02 00:00:00', '2000-01-01 00:00:00')
WHERE target.lead_id IN ({lead_ids})
