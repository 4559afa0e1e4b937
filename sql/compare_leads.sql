-- What archiving would find, without doing it: for each lead of either table whether the source has it, whether the target
-- has it, the numbers of the columns that differ, and whether the rows are two leads, of which the second was given the
-- lead_id of the first. One statement, so that all of it is of one moment; it locks no rows. Only numbers and yes or no: no
-- lead data leaves the database.
SELECT source.lead_id, TRUE, target.lead_id IS NOT NULL, {differences}, {reused}
FROM {source} AS source
LEFT JOIN {target} AS target ON target.lead_id = source.lead_id
WHERE source.lead_id IN ({lead_ids})
UNION ALL
SELECT target.lead_id, FALSE, TRUE, '', FALSE
FROM {target} AS target
LEFT JOIN {source} AS source ON source.lead_id = target.lead_id
WHERE target.lead_id IN ({lead_ids})
    AND source.lead_id IS NULL
