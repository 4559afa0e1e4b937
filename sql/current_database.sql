-- The database that the unqualified names of the statements belong to.
SELECT DATABASE()
