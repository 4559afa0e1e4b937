-- For dearchive: as insert_leads, and remember each copy that is stored with other data than the archived row, such as one that
-- a trigger changed: its lead_id and a fingerprint of the stored row. RETURNING sees the row as it was stored, before anybody
-- else can write to it. What user variables hold survives an error in a later row: see restore_damaged_copies.
INSERT IGNORE INTO {target} ({target_columns})
SELECT {source_columns}
FROM {source} AS source FORCE INDEX ({source_key})
WHERE source.lead_id IN ({lead_ids})
    AND {matches}
RETURNING IF(
    {target}.lead_id IN ({lead_ids})
    AND (
        SELECT {stored_whole}
        FROM {source} AS source FORCE INDEX ({source_key})
        WHERE source.lead_id = {target}.lead_id
    ),
    0,
    (@lead_archive_damaged := @lead_archive_damaged + 1)
        + ISNULL(@lead_archive_copies := CONCAT_WS(',', @lead_archive_copies, CONCAT({target}.lead_id, ':', {fingerprint})))
),
ISNULL(@lead_archive_inserted := CONCAT_WS(',', @lead_archive_inserted, {target}.lead_id))
