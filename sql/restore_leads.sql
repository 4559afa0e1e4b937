-- Undo what touch_leads did to leads that have the same data in both tables, in the same transaction. Every column is
-- assigned, since any may have ON UPDATE CURRENT_TIMESTAMP.
UPDATE {target} AS target FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id
SET {assignments}
WHERE target.lead_id IN ({lead_ids})
