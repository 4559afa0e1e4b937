-- Leads in the hopper, which wait to be dialled. If the lead were deleted, its hopper entry would never be dialled.
SELECT lead_id
FROM vicidial_hopper{key_hint}
WHERE lead_id IN ({lead_ids})
