-- For dearchive, if columns differ between the two tables: a temporary table that shows which leads vicidial_list can store
-- without changing a value. A damaged copy in vicidial_list would be dialled, and archiving it again would overwrite the
-- intact archived row.
CREATE OR REPLACE TEMPORARY TABLE {staged} (
    {staged_definition}
) ENGINE = {staged_engine}
