-- Leads whose list belongs to certain campaigns now. If a table without a unique list_id has several rows of the list, all of
-- them must say so. The subquery is a single value, not an EXISTS: MariaDB looks up one list for each lead, and never goes
-- through all lists. MIN makes it one value, whatever the table holds.
SELECT source.lead_id
FROM {source} AS source
WHERE 1 = (
    SELECT MIN((lists.campaign_id IN ({texts})) IS TRUE) FROM vicidial_lists AS lists WHERE lists.list_id = source.list_id
)
