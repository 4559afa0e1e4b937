-- The highest lead_id of a table. If vicidial_list gives out a lead_id that the archive has, two leads share it.
SELECT MAX(lead_id)
FROM {table}
