-- Copies leads as insert_leads would.
INSERT IGNORE INTO {staged} ({columns})
SELECT {columns}
FROM {source}
WHERE lead_id IN ({lead_ids})
