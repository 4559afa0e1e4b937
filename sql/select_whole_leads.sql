-- The leads that the temporary table stores without a changed value.
SELECT source.lead_id
FROM {source} AS source
JOIN {staged} AS target ON target.lead_id = source.lead_id
WHERE source.lead_id IN ({lead_ids})
    AND {same_data}
