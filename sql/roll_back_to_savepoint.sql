-- Undo insert_whole_leads, and what triggers did meanwhile in tables that can roll back. Nothing else is undone.
ROLLBACK TO SAVEPOINT before_insert
