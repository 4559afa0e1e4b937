-- How many temporary tables the session was told to make. One with the name of a site's table hides that.
SHOW SESSION STATUS LIKE 'Com_create_temporary_table'
