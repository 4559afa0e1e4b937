-- Compare-delete: delete a lead from the source only if the target has it with the same data in every column, only if nobody
-- uses it, and only if it matches the conditions of the request. This statement checks all of it itself, so that no write can
-- come in between. It waits for no row: while it did, what it has checked would become outdated, and a lead could get into use.
-- If both tables can roll back, it leaves tables of leads in use without a key on the lead to a look just before COMMIT: it would lock
-- all of their rows, and agents would wait.
-- STRAIGHT_JOIN reads the leads of the batch first, then the copy of each. In the other order, it could lock
-- leads that are not in the batch, or meet their locks.
--
-- In tables without row locks, same_data also records the leads that meet all conditions: record_deleted.
--
-- + 0: otherwise MariaDB knows from the ON that both lead_id are equal, and does not compare the one that the row has. The index
-- of a damaged table, as a full disk leaves one of MyISAM, may lead to the row of another lead.
--
-- VERSION() IS NOT NULL is always true. It prevents binlog_format=MIXED from logging this as a statement, which a replica
-- would evaluate on its own tables, whose hopper may differ.
DELETE source
FROM {source} AS source FORCE INDEX ({source_key})
STRAIGHT_JOIN {target} AS target FORCE INDEX ({target_key}) ON target.lead_id = source.lead_id + 0
WHERE source.lead_id IN ({lead_ids})
    AND {same_data}
    AND {not_in_use}
    AND {matches}
    AND VERSION() IS NOT NULL
