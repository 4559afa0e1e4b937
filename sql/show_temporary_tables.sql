-- The number of temporary tables in the session. One with the name of a site's table would hide that table.
SHOW SESSION STATUS LIKE 'Com_create_temporary_table'
