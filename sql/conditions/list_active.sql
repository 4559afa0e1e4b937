-- Leads whose list is active ('Y') or not ('N'). A lead whose list does not exist matches neither, nor does one whose list has
-- several rows, in a table without a unique list_id, that do not all say the same. MIN makes it one value, as in campaign_ids.
SELECT source.lead_id
FROM {source} AS source
WHERE 1 = (
    SELECT MIN((lists.active = {active}) IS TRUE) FROM vicidial_lists AS lists WHERE lists.list_id = source.list_id
)
