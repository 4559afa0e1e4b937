-- The condition matches of insert_leads and insert_whole_leads if a batch is not one transaction. It also records the lead that
-- comes next, for show_inserted: what a user variable holds survives an error.
{matches}
    AND (@lead_archive_inserting := source.lead_id) IS NOT NULL
