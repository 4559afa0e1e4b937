-- What archiving would find, without doing it. For each lead of either table: whether the source has it, whether the target
-- has it, the numbers of the columns that differ, and whether the rows are two different leads, of which the second got the
-- lead_id of the first. It is one statement, so that InnoDB reads everything at the same moment. On MyISAM, it is repeated for
-- leads that it finds in neither table. It locks no rows. It returns only numbers and booleans: no lead data leaves the database.
-- For a caller that may see the leads of some lists only, it looks at the list once more, at that same moment. + 0: as in
-- delete_leads.
SELECT source.lead_id, TRUE, target.lead_id IS NOT NULL, {differences}, {reused}
FROM {source} AS source
LEFT JOIN {target} AS target ON target.lead_id = source.lead_id + 0
WHERE source.lead_id IN ({lead_ids})
    AND {matches}
UNION ALL
SELECT target.lead_id, FALSE, TRUE, '', FALSE
FROM {target} AS target
LEFT JOIN {source} AS source ON source.lead_id = target.lead_id
WHERE target.lead_id IN ({lead_ids})
    AND source.lead_id IS NULL
    AND {copy_matches}
