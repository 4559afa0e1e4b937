-- Insert-ignore: copy the leads that the target does not have. IGNORE leaves a lead that is there as it is.
INSERT IGNORE INTO {target} ({target_columns})
SELECT {source_columns}
FROM {source} FORCE INDEX ({source_key})
WHERE lead_id IN ({lead_ids})
