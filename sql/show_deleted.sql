-- The leads that delete_leads has deleted, with commas between them; if it has just failed, also the one at which it has failed.
SELECT CONVERT(@lead_archive_deleted USING utf8mb4)
