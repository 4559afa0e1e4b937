-- The condition same_data of update_leads if a batch is not one transaction. It also records each lead that does not meet it, for
-- show_updated: what a user variable holds survives an error. MariaDB checks all leads of the statement before it changes the first
-- copy, so after an error, some of those that are recorded may be as they were.
IF(
    {same_data},
    TRUE,
    ISNULL(@lead_archive_updated := CONCAT_WS(',', @lead_archive_updated, source.lead_id))
    )
