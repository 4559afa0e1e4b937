-- The leads that delete_leads was about to delete, with commas between them. Each of them that the source still has was not deleted.
SELECT CONVERT(@lead_archive_deleted USING utf8mb4)
