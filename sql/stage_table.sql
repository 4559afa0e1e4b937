-- For the way back, where columns differ between the two tables: a place to see which leads vicidial_list can hold whole. A
-- damaged copy in it would be dialled, and the next archiving would write it over the archived row that is whole.
CREATE OR REPLACE TEMPORARY TABLE {staged} (
    {staged_definition}
) ENGINE = {staged_engine}
