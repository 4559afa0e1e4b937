-- For a caller who may see the leads of some lists only: which of the leads are of other lists, or of none. A lead belongs to
-- the list of its live row, and to that of its archived row if it has no other. It locks nothing and waits for nobody.
SELECT live.lead_id
FROM vicidial_list AS live
WHERE live.lead_id IN ({lead_ids})
    AND (live.list_id IN ({list_ids})) IS NOT TRUE
UNION ALL
SELECT archived.lead_id
FROM vicidial_list_archive AS archived
LEFT JOIN vicidial_list AS live ON live.lead_id = archived.lead_id
WHERE archived.lead_id IN ({lead_ids})
    AND live.lead_id IS NULL
    AND (archived.list_id IN ({list_ids})) IS NOT TRUE
