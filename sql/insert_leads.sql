-- Insert-ignore: copy the leads that the target does not have. IGNORE leaves a lead that is there as it is.
-- matches: the conditions of the request, or TRUE. If a batch is not one transaction, record_inserting and record_inserted note
-- what was done.
INSERT IGNORE INTO {target} ({target_columns})
SELECT {source_columns}
FROM {source} AS source FORCE INDEX ({source_key})
WHERE source.lead_id IN ({lead_ids})
    AND {matches}
{returning}
