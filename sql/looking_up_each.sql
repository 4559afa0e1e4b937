-- For delete_leads, so that it looks up each lead by itself, when its turn comes, in the tables that show leads in use. Left to
-- itself, MariaDB may read such a table as a whole before the first lead, and meet the locks of leads that are not in the batch.
optimizer_switch = 'exists_to_in=off'
