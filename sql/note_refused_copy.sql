-- After an insert_whole_leads without rollback that failed: the copy at which it has ended is there, but RETURNING has not seen it,
-- if an AFTER trigger has refused it. If it is damaged, it belongs to the damaged copies. It has no fingerprint, so it is not
-- deleted: nobody knows whether somebody has written to it since.
SELECT
    @lead_archive_damaged := @lead_archive_damaged + 1,
    @lead_archive_copies := CONCAT_WS(',', @lead_archive_copies, CONCAT({target}.lead_id, ':'))
FROM {target} FORCE INDEX ({target_key})
STRAIGHT_JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = {target}.lead_id
WHERE {target}.lead_id IN ({lead_ids})
    AND {target}.lead_id = @lead_archive_inserting
    AND NOT FIND_IN_SET({target}.lead_id, IFNULL(@lead_archive_inserted, ''))
    AND NOT LOCATE(CONCAT(',', {target}.lead_id, ':'), CONCAT(',', IFNULL(@lead_archive_copies, '')))
    AND NOT (
    {stored_whole}
    )
