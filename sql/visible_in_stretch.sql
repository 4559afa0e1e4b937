-- For a caller that may see the leads of some lists only, and searches the archive: which leads between two ids it may see, as
-- visible_leads. It looks at the live row of each archived lead, and not at the conditions of the search: so neither what is found
-- nor the time that it takes tells which leads of other lists meet them.
SELECT source.lead_id
FROM {source} AS source FORCE INDEX ({source_key})
LEFT JOIN {target} AS target FORCE INDEX ({target_key}) ON target.lead_id = source.lead_id
WHERE source.lead_id BETWEEN {first} AND {last}
    AND IF(target.lead_id IS NULL, source.list_id, target.list_id) IN ({list_ids})
ORDER BY source.lead_id
LIMIT {limit}
