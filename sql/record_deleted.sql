-- The condition same_data of delete_leads in tables without row locks. It also records each lead that meets it, for show_deleted: what a
-- user variable holds survives an error. It depends on both tables, so MariaDB checks it after the conditions on the source alone.
IF(
    {same_data},
    ISNULL(@lead_archive_deleted := CONCAT_WS(',', @lead_archive_deleted, source.lead_id)) = 0,
    FALSE
    )
