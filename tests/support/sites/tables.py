"""How sites change the two tables: columns, keys, engines, partitions.

In statements, <db> is the name of the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from support.sites.columns import ARCHIVE, LIST, Column

IDS = frozenset({0, 1, 2, 3, 4, 5, 6, 2147483647, 2147483648, 3000000000, 4294967295})

BIG = (3000000000, 4294967295)


@dataclass(frozen=True)
class Peculiarity:
    """A difference from Vicidial's installation."""

    name: str
    early: tuple[str, ...] = ()
    """Statements to run while the tables are empty."""
    late: tuple[str, ...] = ()
    """Statements to run when the tables have their rows."""
    variables: tuple[tuple[str, str], ...] = ()
    """Global variables of the server."""
    grants: tuple[str, ...] | None = None
    """Privileges of the account, instead of those that are drawn; {account} is the account."""
    in_use: tuple[tuple[int, str, str], ...] = ()
    """A lead, the table.column that shows that it is in use, and the statement that adds it there."""
    stuck: frozenset[int] = frozenset()
    """Leads that may stay in vicidial_list, or whose archived row may stay unchanged, because the site refuses the change."""
    stuck_back: frozenset[int] = frozenset()
    """The same for bringing leads back."""
    by_foreign_key: bool = False
    """Whether a foreign key is what refuses the change. It has no effect if the account sees no foreign key."""
    alters: frozenset[str] = frozenset()
    """Tables that change a row when it is written."""
    columns: tuple[Column, ...] = ()
    lead_ids: tuple[int, ...] = ()
    """Ids of more leads to add."""


def on(table: str, *changes: str, **more: Any) -> Peculiarity:
    return Peculiarity(f"{table}: {'; '.join(changes)}", tuple(f"ALTER TABLE {table} {change}" for change in changes), **more)


def each_way(*changes: str, **more: Any) -> list[Peculiarity]:
    """Return three peculiarities: the changes in vicidial_list, in the archive, and in both."""
    both = Peculiarity(
        f"both: {'; '.join(changes)}",
        tuple(f"ALTER TABLE {table} {change}" for table in (LIST, ARCHIVE) for change in changes),
        **more,
    )
    return [on(LIST, *changes, **more), on(ARCHIVE, *changes, **more), both]


CHANGED_COLUMNS = [
    peculiarity
    for change in (
        "MODIFY last_name VARCHAR(5)",
        "MODIFY called_count TINYINT UNSIGNED",
        "MODIFY called_count INT",
        "MODIFY `rank` SMALLINT UNSIGNED NOT NULL DEFAULT 0",
        "MODIFY gmt_offset_now DECIMAL(3,1)",
        "MODIFY comments VARCHAR(255) NOT NULL DEFAULT ''",
        "MODIFY comments TEXT CHARACTER SET utf8mb4",
        "MODIFY entry_date DATE",
        "MODIFY entry_date DATETIME(3)",
        "MODIFY entry_date TIMESTAMP NULL",
        "MODIFY modify_date DATETIME",
        "MODIFY modify_date TIMESTAMP NULL",
        "MODIFY status VARCHAR(6) CHARACTER SET latin1",
        "MODIFY status VARCHAR(6) COLLATE utf8_bin",
        "MODIFY phone_number VARCHAR(18) CHARACTER SET ucs2 NOT NULL",
        "MODIFY phone_number BIGINT NOT NULL",
        "MODIFY vendor_lead_code INT",
        "MODIFY list_id INT",
        "MODIFY list_id DOUBLE",
        "MODIFY owner VARBINARY(20)",
        "MODIFY called_since_last_reset ENUM('Y','N','Y1','Y2')",
        "MODIFY called_since_last_reset VARCHAR(3)",
        "MODIFY status CHAR(6) FIRST, MODIFY title VARCHAR(4) AFTER comments",
        "MODIFY first_name VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "DROP COLUMN entry_list_id",
        "DROP COLUMN modify_date",
        "DROP COLUMN entry_date",
        "DROP COLUMN owner",
        "CONVERT TO CHARACTER SET latin1",
        "CONVERT TO CHARACTER SET utf8mb4",
        "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        "CONVERT TO CHARACTER SET utf16",
    )
    for peculiarity in each_way(change)
]

LEAD_IDS = [
    peculiarity
    for kind in (
        "INT",
        "INT UNSIGNED ZEROFILL",
        "BIGINT(12) UNSIGNED ZEROFILL",
        "BIGINT",
        "BIGINT UNSIGNED",
        "MEDIUMINT UNSIGNED",
        "DECIMAL(12,0)",
        "VARCHAR(12)",
    )
    for peculiarity in each_way(f"MODIFY lead_id {kind} NOT NULL", lead_ids=BIG)
] + [Peculiarity("lead_id: the largest", lead_ids=(*BIG, 0))]

KEYS = [
    *each_way("ADD UNIQUE KEY one_phone (phone_number)", stuck=IDS, stuck_back=IDS),
    *each_way("ADD UNIQUE KEY one_code (vendor_lead_code)", stuck=IDS, stuck_back=IDS),
    *each_way("ADD UNIQUE KEY one_comment (comments) USING HASH", stuck=IDS, stuck_back=IDS),
    *each_way("MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY, ADD UNIQUE KEY `the ``lead` (lead_id)"),
    *each_way("MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY, ADD KEY (lead_id)"),
    *each_way("MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY, ADD PRIMARY KEY (lead_id, list_id)"),
    *each_way("MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY"),
    *each_way(
        "MODIFY lead_id INT(9) UNSIGNED NOT NULL, DROP PRIMARY KEY, ADD PRIMARY KEY (lead_id, list_id),"
        " ADD UNIQUE KEY own_key (lead_id) IGNORED"
    ),
    *each_way("ADD UNIQUE KEY (lead_id) IGNORED"),
    *each_way("ADD UNIQUE KEY (lead_id), ADD UNIQUE KEY (lead_id, phone_number)"),
    on(ARCHIVE, "DROP PRIMARY KEY, ADD COLUMN archive_id INT AUTO_INCREMENT PRIMARY KEY FIRST, ADD UNIQUE KEY (lead_id)"),
    on(ARCHIVE, "ADD COLUMN archived_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP"),
    on(ARCHIVE, "ADD COLUMN archived_by VARCHAR(20) NOT NULL"),
    on(ARCHIVE, "MODIFY lead_id INT(9) UNSIGNED NOT NULL AUTO_INCREMENT"),
    *each_way("ADD CONSTRAINT few_calls CHECK (called_count < 100)", stuck=IDS, stuck_back=IDS),
    *each_way("ADD CONSTRAINT has_status CHECK (status <> '')", stuck=IDS, stuck_back=IDS),
]

TABLES = [
    *each_way("PARTITION BY HASH (lead_id) PARTITIONS 3"),
    *each_way("PARTITION BY RANGE (lead_id) (PARTITION a VALUES LESS THAN (3), PARTITION b VALUES LESS THAN MAXVALUE)"),
    *each_way("PARTITION BY RANGE (lead_id) (PARTITION a VALUES LESS THAN (5))", stuck=IDS, stuck_back=IDS),
    *each_way("ADD FULLTEXT KEY words (comments)"),
    *each_way("ADD SYSTEM VERSIONING"),
    *each_way("ROW_FORMAT = COMPRESSED"),
    *each_way("COMMENT = 'it''s `lead_id` int, AUTO_INCREMENT=5'"),
    *each_way("ENGINE = MyISAM"),
    *each_way("ENGINE = MyISAM"),
    *each_way("ENGINE = MyISAM ROW_FORMAT = FIXED"),
    *each_way("ENGINE = Aria"),
    *each_way("ENGINE = Aria TRANSACTIONAL = 0"),
    *each_way("ENGINE = MEMORY"),
    on(ARCHIVE, "ENGINE = BLACKHOLE"),
    Peculiarity("archive in ARCHIVE", (f"CREATE OR REPLACE TABLE {ARCHIVE} ENGINE=ARCHIVE AS SELECT * FROM {LIST} LIMIT 0",)),
    Peculiarity(
        "archive in CSV",
        (
            f"CREATE OR REPLACE TABLE {ARCHIVE} (lead_id INT UNSIGNED NOT NULL, entry_date DATETIME NOT NULL,"
            " status VARCHAR(6) NOT NULL, phone_number VARCHAR(18) NOT NULL) ENGINE=CSV",
        ),
    ),
    Peculiarity(
        "archive merges both tables",
        (
            f"ALTER TABLE {LIST} ENGINE=MyISAM",
            f"ALTER TABLE {ARCHIVE} ENGINE=MyISAM",
            f"RENAME TABLE {ARCHIVE} TO a1",
            f"CREATE TABLE {ARCHIVE} LIKE {LIST}",
            f"ALTER TABLE {ARCHIVE} MODIFY lead_id INT(9) UNSIGNED NOT NULL",
            f"ALTER TABLE {LIST} MODIFY lead_id INT(9) UNSIGNED NOT NULL",
            f"ALTER TABLE {ARCHIVE} ENGINE=MRG_MyISAM UNION=(a1, {LIST}) INSERT_METHOD=FIRST",
        ),
    ),
    *(
        Peculiarity(
            f"{table} is a view", (f"RENAME TABLE {table} TO elsewhere", f"CREATE VIEW {table} AS SELECT * FROM elsewhere")
        )
        for table in (LIST, ARCHIVE)
    ),
    Peculiarity("database in another charset", ("ALTER DATABASE <db> CHARACTER SET utf16 COLLATE utf16_bin",)),
]
