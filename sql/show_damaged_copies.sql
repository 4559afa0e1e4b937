-- After insert_whole_leads: the number of copies that were stored with other data, and these copies: lead_id:fingerprint.
SELECT @lead_archive_damaged, @lead_archive_copies
