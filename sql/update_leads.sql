-- Update-join: change the copies in the target that differ from the source. Every column is assigned, also modify_date: a
-- TIMESTAMP that is not assigned would get the time of this UPDATE. A copy that is a different lead, whose lead_id was given
-- out again, is left as it is. IGNORE: a row that another unique key of the target refuses stays as it is, and delete_leads
-- notices it.
--
-- If a batch is not one transaction, same_data also records the leads: record_updated. So it comes after all other conditions.
--
-- + 0, source.lead_id <=> target.lead_id, VERSION() IS NOT NULL: as in delete_leads.
UPDATE IGNORE {target} AS target FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id + 0
SET {assignments}
WHERE target.lead_id IN ({lead_ids})
    AND source.lead_id <=> target.lead_id
    AND {not_reused}
    AND {matches}
    AND NOT (
    {same_data}
    )
    AND VERSION() IS NOT NULL
