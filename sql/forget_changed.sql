-- Before the first statement of a chunk, and before the insert_whole_leads of a batch that is one transaction: no lead was inserted,
-- updated or deleted yet.
SET
    @lead_archive_inserting = NULL,
    @lead_archive_inserted = NULL,
    @lead_archive_updated = NULL,
    @lead_archive_deleted = NULL
