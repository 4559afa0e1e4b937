-- The leads whose copy update_leads has changed or was about to change, with commas between them.
SELECT CONVERT(@lead_archive_updated USING utf8mb4)
