-- The database to which names without a database belong.
SELECT DATABASE()
