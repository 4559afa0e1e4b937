-- The end of insert_leads if a batch is not one transaction: record each lead that is inserted, for show_inserted, except one that an
-- AFTER trigger refuses. A lead that IGNORE leaves as it is is not among them.
RETURNING ISNULL(@lead_archive_inserted := CONCAT_WS(',', @lead_archive_inserted, {target}.lead_id))
