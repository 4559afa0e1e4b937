-- After a delete_leads that failed: without the leads that it has recorded and not deleted.
SET @lead_archive_deleted = NULLIF('{numbers}', '')
