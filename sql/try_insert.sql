-- Only prepared, never run: the server checks the privileges on the columns of an INSERT ... VALUES when it prepares it, those of
-- an INSERT ... SELECT only when it runs. information_schema.columns does not list what the account may do on the whole
-- database if it has SELECT on all databases.
INSERT INTO {target} ({target_columns}) VALUES ({nulls})
