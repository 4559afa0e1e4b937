-- A condition on the rows of find_matching_leads in the archive, for a caller that may see the leads of some lists only: whether it
-- may see the lead at the moment of the search itself, as visible_leads.
COALESCE((
        SELECT IFNULL(live.list_id, -1)
        FROM {target} AS live
        WHERE live.lead_id = source.lead_id
        LIMIT 1
    ), source.list_id) IN ({list_ids})
