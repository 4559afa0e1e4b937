-- After an insert_whole_leads that failed and was rolled back: the copies that it has made do not exist. User variables do not
-- roll back.
SET @lead_archive_damaged = @lead_archive_damaged_before, @lead_archive_copies = @lead_archive_copies_before
