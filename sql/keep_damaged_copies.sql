-- Before each insert_whole_leads: which copies were damaged until now. restore_damaged_copies needs it.
SET @lead_archive_damaged_before = @lead_archive_damaged, @lead_archive_copies_before = @lead_archive_copies
