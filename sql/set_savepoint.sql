-- Before insert_whole_leads, where vicidial_list can roll back.
SAVEPOINT before_insert
