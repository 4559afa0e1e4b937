-- compare-delete: deletes a lead from the source only if the target holds it with the same data in every column, and if
-- nobody uses it. Both are looked at in this very statement, so that no write can come in between. STRAIGHT_JOIN: first the
-- leads of the batch, then the copy of each; in the other order, a lead that is not in the batch could be locked or waited
-- for.
-- VERSION(): always true, and never logged as a statement with binlog_format MIXED. A replica would evaluate it on its own
-- tables, whose hopper may differ.
DELETE source
FROM {source} AS source FORCE INDEX ({source_key})
STRAIGHT_JOIN {target} AS target FORCE INDEX ({target_key}) ON target.lead_id = source.lead_id
WHERE source.lead_id IN ({lead_ids})
    AND {same_data}
    AND {not_in_use}
    AND VERSION() IS NOT NULL
