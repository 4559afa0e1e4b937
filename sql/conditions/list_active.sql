-- Leads whose list is active ('Y') or not ('N'). A lead whose list does not exist matches neither.
SELECT source.lead_id
FROM {source} AS source
WHERE (SELECT lists.active FROM vicidial_lists AS lists WHERE lists.list_id = source.list_id) = {active}
