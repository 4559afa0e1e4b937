-- Change modify_date for a moment, so that a concurrent write on another node conflicts. restore_leads resets it.
UPDATE {target} FORCE INDEX ({target_key})
SET modify_date = IF(modify_date <=> '2000-01-01 00:00:00', '2000-01-02 00:00:00', '2000-01-01 00:00:00')
WHERE lead_id IN ({lead_ids})
