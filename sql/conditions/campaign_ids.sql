-- Leads whose list belongs to certain campaigns now. The subquery is a single value, not an EXISTS: MariaDB looks up one list
-- for each lead, and never goes through all lists.
SELECT source.lead_id
FROM {source} AS source
WHERE (SELECT lists.campaign_id FROM vicidial_lists AS lists WHERE lists.list_id = source.list_id) IN ({texts})
