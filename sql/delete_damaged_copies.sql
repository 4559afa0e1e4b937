-- Where vicidial_list has no rollback: delete the copies that insert_whole_leads has stored with other data, unless somebody
-- has written to them since. The archived row is the lead, and must be there. A trigger may have given the copy a lead_id that
-- nobody asked for: then no archived row has it.
--
-- The archive is part of the statement, so no trigger can change the archived row (error 1442). VERSION() IS NOT NULL: as in
-- delete_leads.
DELETE {target}
FROM {target} FORCE INDEX ({target_key})
LEFT JOIN {source} AS source FORCE INDEX ({source_key}) ON source.lead_id = {target}.lead_id
WHERE {target}.lead_id IN ({lead_ids})
    AND FIND_IN_SET(CONCAT({target}.lead_id, ':', {fingerprint}), @lead_archive_copies)
    AND (source.lead_id IS NOT NULL OR {target}.lead_id NOT IN ({asked_lead_ids}))
    AND VERSION() IS NOT NULL
