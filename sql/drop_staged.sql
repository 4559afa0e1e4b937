-- Drop the temporary table of stage_table.
DROP TEMPORARY TABLE {staged}
