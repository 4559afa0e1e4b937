-- Whether this is a node of a Galera cluster. In a statement of its own: beside a GROUP_CONCAT, MariaDB 10.11 says 0.
SELECT @@wsrep_on
