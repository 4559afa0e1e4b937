"""MariaDB's error numbers, and what they mean here: whether to try again, and whether one row can be the reason."""

from __future__ import annotations

NO_SUCH_COLUMN = 1054
NO_SUCH_TABLE = 1146
NO_SUCH_KEY = 1176
LOCK_WAIT_TIMEOUT = 1205
DEADLOCK = 1213
SUBQUERY_RETURNS_ROWS = 1242
NO_SUCH_DEFINER = 1449
NO_SUCH_SAVEPOINT = 1305
NO_SAVEPOINTS = 1178
NO_STATEMENT_CAN_BE_PREPARED = 1461
LEFT_OUT = 1684
PACKET_TOO_LARGE = 1153
READ_ONLY_TABLE = 1036
SERVER_IS_READ_ONLY = 1290
ENGINE_IS_READ_ONLY = 1836
CONNECTION_KILLED = 1927
STATEMENT_TIMEOUT = 1969
UNUSABLE_SESSION = -1
"""Not an error number of MariaDB: the session has another database or temporary tables, such as those of init_connect."""
HIDDEN_TABLES = -2
"""Not an error number of MariaDB: a trigger or a function made a temporary table while the batch was running."""

UNFIT_SERVER = {
    1047: "a cluster's node that is not part of the cluster",
    1053: "the server shuts down",
    SERVER_IS_READ_ONLY: "the server is read only",
    ENGINE_IS_READ_ONLY: "the engine is read only",
}
"""What another server may not say: the address may lead to another one since the session began."""

TRANSIENT_ERRORS = {
    1020: "record has changed since last read",
    NO_SUCH_COLUMN: "unknown column: it was there when the tables were read",
    NO_SUCH_KEY: "unknown key: it was there when the tables were read",
    LOCK_WAIT_TIMEOUT: "lock wait timeout",
    DEADLOCK: "deadlock, or a certification conflict in a cluster",
    1412: "table definition has changed",
    CONNECTION_KILLED: "connection was killed",
    2006: "server has gone away",
    2013: "lost connection to server",
}
"""Errors after which the same transaction may succeed when it is run again."""

DAMAGED_TABLE = {
    126,  # the index is wrong
    127,  # the row is wrong
    144,  # marked as crashed, and its repair failed
    145,  # marked as crashed
    1034,  # the index is wrong
    1035,  # the index is of an older version
    1194,  # marked as crashed
    1195,  # marked as crashed, and its repair failed
}
"""Errors about a table without rollback that must be repaired. The numbers below 1000 are those of the storage engine."""

STATEMENT_ERRORS = frozenset(
    {
        *(TRANSIENT_ERRORS.keys() - {NO_SUCH_COLUMN}),
        *DAMAGED_TABLE,
        UNUSABLE_SESSION,
        HIDDEN_TABLES,
        1021,  # disk full
        1026,  # error writing a file
        1030,  # error of the storage engine
        READ_ONLY_TABLE,
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
        PACKET_TOO_LARGE,
        1197,  # the binary log's cache is too small
        1206,  # the lock table is full
        1226,  # a limit of the account is reached
        SERVER_IS_READ_ONLY,
        1317,  # interrupted
        1705,  # the binary log's cache for tables without rollback is too small
        1792,  # the transaction is read only
        ENGINE_IS_READ_ONLY,
        STATEMENT_TIMEOUT,
    }
)
"""Errors that no single row causes: the statement would fail for every lead."""

ROW_ERRORS = frozenset(
    {
        1022,  # duplicate key
        1032,  # cannot find a record
        1048,  # a column cannot be NULL
        NO_SUCH_COLUMN,  # a trigger's: the transaction has read both tables
        1062,  # duplicate entry
        1118,  # the row is too large, with all of its long texts
        1136,  # number of columns: a trigger's
        1139,  # regular expression: a trigger's
        NO_SUCH_TABLE,  # a trigger's
        1169,  # unique constraint
        1172,  # more than one row: a trigger's
        1216,  # foreign key: no parent
        1217,  # foreign key: has children
        SUBQUERY_RETURNS_ROWS,  # a trigger's
        1264,  # out of range
        1265,  # truncated
        1292,  # wrong value
        1300,  # invalid character string
        NO_SUCH_SAVEPOINT,  # also no such routine: a trigger's
        1318,  # number of arguments: a trigger's
        1329,  # no data: a trigger's
        1336,  # a statement that a trigger may not run
        1339,  # no case matches: a trigger's
        1364,  # no default
        1365,  # division by zero
        1366,  # wrong value
        1406,  # too long
        1411,  # wrong value for a function
        1416,  # no geometry
        1422,  # commit in a trigger
        1442,  # a trigger changes the table that the statement uses
        1451,  # foreign key: has children
        1452,  # foreign key: no parent
        1456,  # recursion limit: a trigger's
        1526,  # no partition for the value
        1557,  # foreign key: duplicate entry
        1644,  # SIGNAL
        1690,  # out of range
        1748,  # not in the given partition
        1761,  # foreign key: duplicate entry
        1762,  # foreign key: duplicate entry
        4025,  # CHECK
    }
)
"""Errors that a row certainly causes, by its data, a foreign key, a CHECK or a trigger, even if it is the only one of its
batch: the server has prepared each statement before, and the statements of sql/ do none of this."""

NOT_TAKEN = {
    1022,  # duplicate key
    1062,  # duplicate entry
    1169,  # unique constraint
    1216,  # foreign key: no parent
    1452,  # foreign key: no parent
    1526,  # no partition for the value
    1557,  # foreign key: duplicate entry
    1748,  # not in the given partition
    1761,  # foreign key: duplicate entry
    1762,  # foreign key: duplicate entry
    4025,  # CHECK
}
"""Errors that IGNORE turns into warnings, and that keep a row out of a table."""

SIGNALS_ONLY = 5000
"""From this number on, errors are not MariaDB's: a trigger has chosen them for its SIGNAL."""


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
"""Errors about one table that an administrator must fix. Their messages hold no data."""

NO_ROOM = {
    1040,  # the server has too many connections
    1203,  # the account has too many connections
    1226,  # a limit of the account is reached
}
"""Errors with which the server refuses a further connection. Those that it has may go on."""

NO_SESSION = {
    *NO_ROOM,
    1045,  # wrong password, or no such account
    1049,  # no such database
    1129,  # the host is blocked
    1130,  # the host is not allowed
}
"""Errors with which the server refuses a connection."""
