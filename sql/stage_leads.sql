-- Copy leads into the temporary table, as insert_leads would copy them into the target.
INSERT IGNORE INTO {staged} ({target_columns})
SELECT {source_columns}
FROM {source}
WHERE lead_id IN ({lead_ids})
