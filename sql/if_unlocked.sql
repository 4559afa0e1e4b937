-- For a statement on several tables: it runs if none of them is locked; otherwise it fails at once with error 1205. MariaDB locks tables
-- without row locks one after the other, and keeps those that it has locked while it waits for the next one: agents would wait for
-- vicidial_live_agents as long as somebody writes to vicidial_callbacks, and the dialler for vicidial_list as long as a report reads
-- the archive that an UPDATE is to write.
lock_wait_timeout = 0
