-- Before insert_whole_leads: no copy is known to be damaged.
SET @lead_archive_damaged = 0, @lead_archive_copies = NULL
