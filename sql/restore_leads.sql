-- Takes back what touch_leads did to leads that had the same data in both tables, in the same transaction.
UPDATE {target} AS target FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id
SET target.modify_date = source.modify_date
WHERE target.lead_id IN ({lead_ids})
