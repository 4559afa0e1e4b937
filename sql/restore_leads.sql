-- Takes back what touch_leads did to leads that had the same data in both tables, in the same transaction.
UPDATE {target} AS target
JOIN {source} AS source ON source.lead_id = target.lead_id
SET target.modify_date = source.modify_date
WHERE target.lead_id IN ({lead_ids})
