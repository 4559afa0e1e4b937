"""The migrations create exact copies of Vicidial's tables, and do not change tables that they did not create."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing

import pytest
from mariadb import PrivateMariaDB
from pymysql.cursors import Cursor
from support.databases import alembic, create_database, migrate

# Name, type, NULL allowed, default, extra, as in SHOW COLUMNS.
LIST_COLUMNS = """
lead_id                 | int(9) unsigned      | NO  |                     | auto_increment
entry_date              | datetime             | YES | NULL                |
modify_date             | timestamp            | NO  | current_timestamp() | on update current_timestamp()
status                  | varchar(6)           | YES | NULL                |
user                    | varchar(20)          | YES | NULL                |
vendor_lead_code        | varchar(20)          | YES | NULL                |
source_id               | varchar(50)          | YES | NULL                |
list_id                 | bigint(14) unsigned  | NO  | 0                   |
gmt_offset_now          | decimal(4,2)         | YES | 0.00                |
called_since_last_reset | enum('Y','N','Y1','Y2','Y3','Y4','Y5','Y6','Y7','Y8','Y9','Y10','D') | YES | 'N' |
phone_code              | varchar(10)          | YES | NULL                |
phone_number            | varchar(18)          | NO  |                     |
title                   | varchar(4)           | YES | NULL                |
first_name              | varchar(30)          | YES | NULL                |
middle_initial          | varchar(1)           | YES | NULL                |
last_name               | varchar(30)          | YES | NULL                |
address1                | varchar(100)         | YES | NULL                |
address2                | varchar(100)         | YES | NULL                |
address3                | varchar(100)         | YES | NULL                |
city                    | varchar(50)          | YES | NULL                |
state                   | varchar(2)           | YES | NULL                |
province                | varchar(50)          | YES | NULL                |
postal_code             | varchar(10)          | YES | NULL                |
country_code            | varchar(3)           | YES | NULL                |
gender                  | enum('M','F','U')    | YES | 'U'                 |
date_of_birth           | date                 | YES | NULL                |
alt_phone               | varchar(12)          | YES | NULL                |
email                   | varchar(70)          | YES | NULL                |
security_phrase         | varchar(100)         | YES | NULL                |
comments                | varchar(255)         | YES | NULL                |
called_count            | smallint(5) unsigned | YES | 0                   |
last_local_call_time    | datetime             | YES | NULL                |
rank                    | smallint(5)          | NO  | 0                   |
owner                   | varchar(20)          | YES | ''                  |
entry_list_id           | bigint(14) unsigned  | NO  | 0                   |
"""

EVENTS = "'ADD','COPY','LOAD','RESET','MODIFY','DELETE','SEARCH','LOGIN','LOGOUT','CLEAR','OVERRIDE','EXPORT','OTHER'"

COLUMNS = {
    "vicidial_list": LIST_COLUMNS,
    "vicidial_list_archive": LIST_COLUMNS.replace("auto_increment", ""),
    "vicidial_hopper": """
hopper_id        | int(9) unsigned | NO  |      | auto_increment
lead_id          | int(9) unsigned | NO  |      |
campaign_id      | varchar(8)      | YES | NULL |
status           | enum('READY','QUEUE','INCALL','DONE','HOLD','DNC','RHOLD','RQUEUE') | YES | NULL |
""",
    "vicidial_live_agents": """
live_agent_id    | int(9) unsigned | NO  |      | auto_increment
user             | varchar(20)     | YES | NULL |
status           | enum('READY','QUEUE','INCALL','PAUSED','CLOSER','MQUEUE') | YES | NULL |
lead_id          | int(9) unsigned | NO  |      |
campaign_id      | varchar(8)      | YES | NULL |
preview_lead_id  | int(9) unsigned | YES | 0    |
external_lead_id | int(9) unsigned | YES | 0    |
""",
    "vicidial_auto_calls": """
auto_call_id     | int(9) unsigned | NO  |      | auto_increment
campaign_id      | varchar(20)     | YES | NULL |
status           | enum('SENT','RINGING','LIVE','XFER','PAUSED','CLOSER','BUSY','DISCONNECT','IVR') | YES | NULL |
lead_id          | int(9) unsigned | NO  |      |
""",
    "vicidial_callbacks": """
callback_id      | int(9) unsigned     | NO  |      | auto_increment
lead_id          | int(9)              | YES | NULL |
list_id          | bigint(14) unsigned | YES | NULL |
campaign_id      | varchar(20)         | YES | NULL |
status           | varchar(10)         | YES | NULL |
entry_time       | datetime            | YES | NULL |
callback_time    | datetime            | YES | NULL |
user             | varchar(20)         | YES | NULL |
""",
    "vicidial_inbound_callback_queue": """
icbq_id             | int(9) unsigned  | NO  |      | auto_increment
icbq_date           | datetime         | YES | NULL |
icbq_status         | varchar(10)      | YES | NULL |
icbq_phone_number   | varchar(20)      | YES | NULL |
icbq_phone_code     | varchar(10)      | YES | NULL |
icbq_nextday_choice | enum('Y','N','U') | YES | 'U' |
lead_id             | int(9) unsigned  | NO  |      |
group_id            | varchar(20)      | NO  |      |
queue_priority      | tinyint(2)       | YES | 0    |
call_date           | datetime         | YES | NULL |
gmt_offset_now      | decimal(4,2)     | YES | 0.00 |
modify_date         | timestamp        | NO  | current_timestamp() | on update current_timestamp()
""",
    "vicidial_email_list": """
email_row_id | int(10) unsigned | NO  |      | auto_increment
lead_id      | int(9) unsigned  | YES | NULL |
email_date   | datetime         | YES | NULL |
status       | varchar(10)      | YES | NULL |
direction    | enum('INBOUND','OUTBOUND') | YES | 'INBOUND' |
user         | varchar(20)      | YES | NULL |
group_id     | varchar(20)      | YES | NULL |
""",
    "vicidial_live_chats": """
chat_id         | int(9) unsigned | NO  |      | auto_increment
chat_start_time | datetime        | YES | NULL |
status          | varchar(20)     | YES | NULL |
chat_creator    | varchar(20)     | YES | NULL |
group_id        | varchar(20)     | YES | NULL |
lead_id         | int(9) unsigned | YES | NULL |
""",
    "quality_control_queue": """
qc_log_id | int(10) unsigned | NO  |      | auto_increment
lead_id   | int(10) unsigned | YES | NULL |
qc_status | varchar(20)      | YES | NULL |
""",
    "vicidial_lists": """
list_id           | bigint(14) unsigned | NO  |      |
list_name         | varchar(30)         | YES | NULL |
campaign_id       | varchar(8)          | YES | NULL |
active            | enum('Y','N')       | YES | NULL |
list_description  | varchar(255)        | YES | NULL |
list_changedate   | datetime            | YES | NULL |
list_lastcalldate | datetime            | YES | NULL |
""",
    "vicidial_admin_log": f"""
admin_log_id  | int(9) unsigned | NO  |               | auto_increment
event_date    | datetime        | NO  |               |
user          | varchar(20)     | NO  |               |
ip_address    | varchar(15)     | NO  |               |
event_section | varchar(30)     | NO  |               |
event_type    | enum({EVENTS}) | YES | 'OTHER' |
record_id     | varchar(50)     | NO  |               |
event_code    | varchar(255)    | NO  |               |
event_sql     | mediumtext      | YES | NULL          |
event_notes   | mediumtext      | YES | NULL          |
user_group    | varchar(20)     | YES | '---ALL---'   |
""",
}

LIST_INDEXES = {
    "PRIMARY": "lead_id",
    "phone_number": "phone_number",
    "list_id": "list_id",
    "called_since_last_reset": "called_since_last_reset",
    "status": "status",
    "gmt_offset_now": "gmt_offset_now",
    "postal_code": "postal_code",
    "last_local_call_time": "last_local_call_time",
    "rank": "rank",
    "owner": "owner",
    "phone_list": "phone_number,list_id",
    "list_phone": "list_id,phone_number",
    "list_status": "list_id,status",
}

INDEXES = {
    "vicidial_list": LIST_INDEXES,
    "vicidial_list_archive": LIST_INDEXES,
    "vicidial_hopper": {"PRIMARY": "hopper_id", "lead_id": "lead_id"},
    "vicidial_live_agents": {"PRIMARY": "live_agent_id"},
    "vicidial_auto_calls": {"PRIMARY": "auto_call_id"},
    "vicidial_callbacks": {"PRIMARY": "callback_id", "lead_id": "lead_id"},
    "vicidial_inbound_callback_queue": {
        "PRIMARY": "icbq_id",
        "icbq_status": "icbq_status",
        "group_id": "group_id",
        "icbq_date": "icbq_date",
        "call_date": "call_date",
    },
    "vicidial_email_list": {"PRIMARY": "email_row_id", "lead_id": "lead_id"},
    "vicidial_live_chats": {"PRIMARY": "chat_id", "lead_id": "lead_id"},
    "quality_control_queue": {"PRIMARY": "qc_log_id", "lead_id": "lead_id"},
    "vicidial_lists": {"PRIMARY": "list_id"},
    "vicidial_admin_log": {
        "PRIMARY": "admin_log_id",
        "user": "user",
        "event_section": "event_section",
        "record_id": "record_id",
    },
}

numbers = itertools.count(1)


class Database:
    """An empty database of a test's own."""

    def __init__(self, server: PrivateMariaDB, cursor: Cursor) -> None:
        self.name = f"migrations_{next(numbers)}"
        self.url = server.url(self.name)
        create_database(server, self.name)
        self.cursor = cursor
        cursor.execute(f"USE {self.name}")

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        self.cursor.execute(statement)
        return list(self.cursor.fetchall())

    def tables(self) -> set[str]:
        return {str(name) for (name,) in self.execute("SHOW TABLES")}

    def content(self) -> dict[str, tuple[object, ...]]:
        """Return the definition and checksum of every table."""
        return {
            name: (self.execute(f"SHOW CREATE TABLE `{name}`"), self.execute(f"CHECKSUM TABLE `{name}`"))
            for name in self.tables()
        }


@pytest.fixture
def database(mariadb: PrivateMariaDB) -> Iterator[Database]:
    with closing(mariadb.connect()) as connection, connection.cursor() as cursor:
        yield Database(mariadb, cursor)


@pytest.mark.parametrize(
    ("options", "engine"),
    [((), "InnoDB"), (("-x", "engine=MyISAM"), "MyISAM"), (("-x", "engine=Aria"), "Aria")],
)
def test_it_makes_vicidials_tables_exactly(database: Database, options: tuple[str, ...], engine: str) -> None:
    migrate(database.url, "head", *options)

    assert database.tables() == {*COLUMNS, "alembic_version"}
    for table, expected in COLUMNS.items():
        columns = database.execute(
            "SELECT column_name, column_type, is_nullable, COALESCE(column_default, ''), extra FROM"
            f" information_schema.columns WHERE table_schema = DATABASE() AND table_name = '{table}'"
            " ORDER BY ordinal_position"
        )
        assert columns == [tuple(field.strip() for field in line.split("|")) for line in expected.strip().split("\n")]
        indexes = database.execute(
            "SELECT index_name, GROUP_CONCAT(column_name ORDER BY seq_in_index), MIN(index_type) FROM"
            f" information_schema.statistics WHERE table_schema = DATABASE() AND table_name = '{table}' GROUP BY index_name"
        )
        assert {name: key for name, key, _ in indexes} == INDEXES[table]
        assert {kind for *_, kind in indexes} == {"BTREE"}
    engines = database.execute(
        "SELECT DISTINCT engine, table_collation FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name <> 'alembic_version'"
    )
    assert engines == [(engine, "utf8mb3_unicode_ci")]


def test_a_downgrade_removes_the_tables_with_their_rows(database: Database) -> None:
    migrate(database.url, "head")
    database.execute("INSERT INTO vicidial_list (phone_number) VALUES ('2125550101')")

    assert alembic(database.url, "downgrade", "base").returncode == 0

    assert database.tables() == {"alembic_version"}
    migrate(database.url, "head", "-x", "engine=MyISAM")
    assert database.tables() == {*COLUMNS, "alembic_version"}


def test_an_upgrade_that_failed_half_way_can_be_repeated(database: Database) -> None:
    migrate(database.url, "head")
    whole = database.content()
    # The state after a lost connection: some tables, and no version.
    database.execute("DROP TABLE vicidial_callbacks, vicidial_auto_calls")
    database.execute("ALTER TABLE vicidial_list_archive MODIFY lead_id INT(9) UNSIGNED NOT NULL AUTO_INCREMENT")
    database.execute("DELETE FROM alembic_version")

    migrate(database.url, "head")

    assert database.content() == whole


LEADS = [
    "CREATE TABLE vicidial_list (lead_id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, phone_number VARCHAR(18))",
    "INSERT INTO vicidial_list (phone_number) VALUES ('2125550101'), ('2125550102')",
    "CREATE TABLE vicidial_users (user VARCHAR(20))",
    "INSERT INTO vicidial_users VALUES ('6666')",
]
COMMENTED = ["CREATE TABLE vicidial_list (lead_id INT) COMMENT 'the leads'", "INSERT INTO vicidial_list VALUES (1)"]
NO_LEADS = ["CREATE TABLE vicidial_users (user VARCHAR(20))"]
VIEW = ["CREATE TABLE leads (lead_id INT)", "CREATE VIEW vicidial_list AS SELECT * FROM leads"]

NO_VERSION = ["CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"]
VERSION = [*NO_VERSION, "INSERT INTO alembic_version VALUES ('0001')"]


@pytest.mark.parametrize(
    ("command", "foreign"),
    [
        ("upgrade head", LEADS),
        ("upgrade head", COMMENTED),
        ("upgrade head", NO_LEADS),
        ("upgrade head", VIEW),
        ("upgrade head", LEADS + NO_VERSION),
        ("upgrade head", LEADS + VERSION),
        ("downgrade base", LEADS),
        ("downgrade base", LEADS + VERSION),
        ("downgrade base", COMMENTED + VERSION),
        ("downgrade base", NO_LEADS + VERSION),
        ("stamp head", LEADS),
        ("stamp --purge base", LEADS + VERSION),
        ("current", LEADS),
    ],
)
def test_it_refuses_tables_that_it_did_not_make(database: Database, command: str, foreign: list[str]) -> None:
    for statement in foreign:
        database.execute(statement)
    before = database.content()

    result = alembic(database.url, *command.split())

    assert result.returncode != 0
    assert "holds Vicidial tables that alembic did not create" in result.stdout
    assert "Traceback" not in result.stderr
    assert database.content() == before  # and so no alembic_version where there was none


@pytest.mark.parametrize("command", ["upgrade head", "downgrade base"])
def test_it_refuses_its_own_tables_beside_foreign_ones(database: Database, command: str) -> None:
    migrate(database.url, "head")
    database.execute("INSERT INTO vicidial_list (phone_number) VALUES ('2125550101')")
    database.execute("CREATE TABLE vicidial_users (user VARCHAR(20))")
    before = database.content()

    result = alembic(database.url, *command.split())

    assert result.returncode != 0
    assert "Found vicidial_users" in result.stdout
    assert database.content() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("upgrade", "head", "--sql"), "--sql is refused"),
        (("-x", "engine=MEMORY", "upgrade", "head"), "one of InnoDB, MyISAM, Aria"),
        (("-x", "engine=InnoDB COMMENT='x'", "upgrade", "head"), "one of InnoDB, MyISAM, Aria"),
        (("-x", "engin=MyISAM", "upgrade", "head"), "the only -x option is engine"),
    ],
)
def test_it_refuses_what_it_cannot_do_safely(database: Database, arguments: tuple[str, ...], message: str) -> None:
    result = alembic(database.url, *arguments)

    assert result.returncode != 0
    assert message in result.stdout
    assert database.tables() == set()
