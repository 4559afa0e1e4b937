-- Ask the server whether it would run a statement. It checks the privileges of the account, including those of its roles, and
-- every name. It waits for no lock and reads no row.
PREPARE preconditions FROM {statement}
