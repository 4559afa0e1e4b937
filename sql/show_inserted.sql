-- The leads that INSERT has inserted, with commas between them, and the lead at which it has ended.
SELECT CONVERT(@lead_archive_inserted USING utf8mb4), @lead_archive_inserting
