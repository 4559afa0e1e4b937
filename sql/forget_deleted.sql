-- Before the first delete_leads of a batch in tables without row locks: no lead was deleted yet.
SET @lead_archive_deleted = NULL
