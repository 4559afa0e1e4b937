-- The lists that no longer match the conditions of a batch on lists. It is sent before COMMIT where both tables are InnoDB: a statement
-- that changes leads would lock the rows of vicidial_lists, to which the dialler writes with each call. This SELECT locks nothing,
-- and reads what was committed last.
WITH source (list_id) AS (VALUES {list_rows})
SELECT source.list_id
FROM source
WHERE ({matches}) IS NOT TRUE
