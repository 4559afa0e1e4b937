-- Asks the server whether it would run a statement: it looks at the privileges of the account, its roles included, and at
-- every name. It waits for no lock and reads no row.
PREPARE preconditions FROM {statement}
