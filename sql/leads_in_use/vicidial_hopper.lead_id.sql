-- Leads in the hopper, waiting to be dialled. Deleted, they would leave an entry that is never dialled.
SELECT lead_id
FROM vicidial_hopper
WHERE lead_id IN ({lead_ids})
