-- Copies leads as insert_leads would.
INSERT IGNORE INTO {staged} ({target_columns})
SELECT {source_columns}
FROM {source}
WHERE lead_id IN ({lead_ids})
