-- For a caller that may see the leads of some lists only: which of these leads it may see. A lead belongs to the list of its
-- live row, or, if it has none, of its archived row. Every other id is unknown to the caller, whatever the reason, so no other
-- statement of its batch names it. On MyISAM, this must be repeated for the others, as find_in_either_table. This locks no rows and
-- waits for nobody: if somebody has locked a table, it fails at once with error 1205, instead of keeping the other table while it
-- waits. UNION returns each lead once, also from a table that holds it twice and is refused later: whoever counts the rows counts
-- leads.
SET STATEMENT lock_wait_timeout = 0 FOR
SELECT live.lead_id
FROM vicidial_list AS live
WHERE live.lead_id IN ({lead_ids})
    AND live.list_id IN ({list_ids})
UNION
SELECT archived.lead_id
FROM vicidial_list_archive AS archived
LEFT JOIN vicidial_list AS live ON live.lead_id = archived.lead_id
WHERE archived.lead_id IN ({lead_ids})
    AND archived.list_id IN ({list_ids})
    AND live.lead_id IS NULL
