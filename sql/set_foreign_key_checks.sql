-- 0 where the account sees no foreign key that has to do with the two tables: then one that it cannot see changes no row of
-- another table, whatever it is. 1 where there are some, so that they hold.
SET SESSION foreign_key_checks = {foreign_key_checks}
