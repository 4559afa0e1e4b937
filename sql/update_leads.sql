-- update-join: refreshes the target's copies that differ from the source. Every column is assigned, modify_date too: a
-- TIMESTAMP that is not assigned would be stamped with the time of this UPDATE. A copy of another lead, whose lead_id was
-- given out again, is left alone. IGNORE: a row that another unique key of the target refuses stays as it is, and delete_leads
-- will see it.
-- VERSION(): as in delete_leads.
UPDATE IGNORE {target} AS target FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = target.lead_id
SET {assignments}
WHERE target.lead_id IN ({lead_ids})
    AND NOT (
    {same_data}
    )
    AND {not_reused}
    AND VERSION() IS NOT NULL
