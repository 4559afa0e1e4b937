"""MariaDB's error numbers, and what they mean here: whether to try again, and whether one row can be the reason."""

from __future__ import annotations

NO_SUCH_COLUMN = 1054
NO_SUCH_TABLE = 1146
NO_SUCH_KEY = 1176
DEADLOCK = 1213
UNUSABLE_SESSION = -1
"""Not an error number of MariaDB: the server's init_connect made the session unusable."""

TRANSIENT_ERRORS = {
    1020: "record has changed since last read",
    NO_SUCH_COLUMN: "unknown column: it was there when the tables were read",
    NO_SUCH_KEY: "unknown key: it was there when the tables were read",
    1205: "lock wait timeout",
    DEADLOCK: "deadlock, or a certification conflict in a cluster",
    1412: "table definition has changed",
    1927: "connection was killed",
    2006: "server has gone away",
    2013: "lost connection to server",
}
"""Errors after which the same transaction may succeed when it is run again."""

STATEMENT_ERRORS = frozenset(
    {
        *(TRANSIENT_ERRORS.keys() - {NO_SUCH_COLUMN}),
        1021,  # disk full
        1026,  # error writing a file
        1030,  # error of the storage engine
        1037,  # out of memory
        1038,  # out of sort memory
        1041,  # out of memory
        1044,  # access denied to the database
        1047,  # a cluster's node that is not ready
        1053,  # the server shuts down
        1064,  # syntax
        1114,  # table full
        1142,  # access denied to a table
        1143,  # access denied to a column
        1153,  # a packet larger than max_allowed_packet
        1194,  # table marked as crashed
        1195,  # table crashed, and its repair failed
        1197,  # the binary log's cache is too small
        1206,  # the lock table is full
        1290,  # the server is read only
        1317,  # interrupted
        1792,  # the transaction is read only
        1836,  # the engine is read only
        1969,  # max_statement_time
    }
)
"""Errors that no single row causes: the statement would fail for every lead."""


ACCESS_DENIED = {1044, 1142, 1143, 1227, 1370}
"""Errors about missing privileges: on a database, a table, a column, the server, a routine."""

UNUSABLE_TABLE = {
    1356,  # a view whose tables are missing or denied
    1449,  # a view or a trigger whose definer does not exist
    1812,  # the file of the table is missing
    1814,  # the file of the table was discarded
    1877,  # the table is corrupted
    1932,  # the storage engine does not know the table
}
"""Errors about one table that an administrator must mend. Their messages hold no data."""
