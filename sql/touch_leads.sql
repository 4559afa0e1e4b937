-- Writes each row, so that another node that changes it at the same moment conflicts: any other value will do.
UPDATE {target} FORCE INDEX ({target_key})
SET modify_date = IF(modify_date <=> '2000-01-01 00:00:00', '2000-01-02 00:00:00', '2000-01-01 00:00:00')
WHERE lead_id IN ({lead_ids})
