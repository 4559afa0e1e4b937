-- 0 if the account sees no foreign key of the two tables: then a key that it cannot see changes no row of another table. 1 if
-- there are some, so that they are enforced.
SET SESSION foreign_key_checks = {foreign_key_checks}
