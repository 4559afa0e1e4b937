-- compare-delete: deletes a lead from the source only if the target holds it with the same data in every column, and if
-- nobody uses it. Both are looked at in this very statement, so that no write can come in between.
DELETE source
FROM {source} AS source
JOIN {target} AS target ON target.lead_id = source.lead_id
WHERE source.lead_id IN ({lead_ids})
    AND {same_data}
    AND {not_in_use}
