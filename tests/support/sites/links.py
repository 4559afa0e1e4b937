"""Links between the two tables and others: foreign keys and triggers."""

from __future__ import annotations

from typing import Any

from support.sites.columns import ARCHIVE, LIST
from support.sites.surroundings import ALL, READS_ALL, STOCK
from support.sites.tables import IDS, Peculiarity

NOTES = "CREATE TABLE <db>.notes (note_id INT PRIMARY KEY, lead_id INT(9) UNSIGNED, FOREIGN KEY (lead_id) REFERENCES"
ACTIONS = ("RESTRICT", "NO ACTION", "CASCADE", "SET NULL", "RESTRICT ON UPDATE CASCADE")


def _foreign_key(name: str, early: tuple[str, ...], late: tuple[str, ...] = (), **more: Any) -> Peculiarity:
    return Peculiarity(name, early, late, by_foreign_key=True, **more)


FOREIGN_KEYS = [
    *(
        _foreign_key(
            f"notes in {schema} on {table}: {action}",
            (
                f"CREATE DATABASE IF NOT EXISTS {schema}",
                f"{NOTES.replace('<db>', schema)} <db>.{table} (lead_id) ON DELETE {action})",
            ),
            (f"INSERT INTO {schema}.notes VALUES (1, {lead_id})",),
            stuck=frozenset({lead_id}),
            stuck_back=frozenset({lead_id}),
        )
        for schema in ("<db>", "<db>_crm")
        for table, lead_id in ((LIST, 1), (ARCHIVE, 3))
        for action in ACTIONS
    ),
    *(
        _foreign_key(
            f"parents within {table}: {action}",
            (
                f"ALTER TABLE {LIST} ADD COLUMN parent_lead INT(9) UNSIGNED",
                f"ALTER TABLE {ARCHIVE} ADD COLUMN parent_lead INT(9) UNSIGNED",
                f"ALTER TABLE {table} ADD CONSTRAINT parents FOREIGN KEY (parent_lead) REFERENCES {table} (lead_id)"
                f" ON DELETE {action}",
            ),
            (f"UPDATE {table} SET parent_lead = 2, modify_date = modify_date WHERE lead_id IN (1, 3)",),
            stuck=frozenset({1, 2, 3}),
            stuck_back=frozenset({1, 2, 3}),
        )
        for table in (LIST, ARCHIVE)
        for action in ACTIONS
    ),
    *(
        _foreign_key(
            f"the archive refers to the list: {action}",
            (f"ALTER TABLE {ARCHIVE} ADD FOREIGN KEY (lead_id) REFERENCES {LIST} (lead_id) ON DELETE {action}",),
            stuck=IDS,
            stuck_back=IDS,
        )
        for action in ACTIONS[:3]
    ),
    *(
        _foreign_key(
            f"the list refers to vicidial_lists: {actions}",
            (
                "CREATE TABLE vicidial_lists (list_id BIGINT(14) UNSIGNED PRIMARY KEY)",
                "INSERT INTO vicidial_lists VALUES (998)",
                f"ALTER TABLE {LIST} ADD CONSTRAINT lists FOREIGN KEY (list_id) REFERENCES vicidial_lists (list_id) {actions}",
            ),
            stuck_back=IDS,
        )
        for actions in ("", "ON DELETE CASCADE", "ON UPDATE CASCADE")
    ),
    *(
        _foreign_key(
            f"notes keep lead 1, notes in another database: {action}, {who}",
            (
                f"{NOTES} <db>.{LIST} (lead_id))",
                "CREATE DATABASE <db>_crm",
                f"{NOTES.replace('<db>', '<db>_crm')} <db>.{LIST} (lead_id) ON DELETE {action})",
            ),
            ("INSERT INTO <db>.notes VALUES (1, 1)", "INSERT INTO <db>_crm.notes VALUES (1, 2)"),
            stuck=frozenset({1, 2}),
            grants=grants,
        )
        for action in ("RESTRICT", "CASCADE", "SET NULL")
        for who, grants in (
            ("an administrator", ALL),
            ("an ordinary account", STOCK),
            ("an account that sees the database mysql", (*STOCK, "GRANT SELECT ON mysql.* TO {account}")),
            ("an account that sees all tables", READS_ALL),
        )
    ),
    *(
        _foreign_key(
            f"parents within vicidial_list, {action}, an account that sees all tables",
            (
                *(f"ALTER TABLE {table} ADD COLUMN parent_lead INT(9) UNSIGNED" for table in (LIST, ARCHIVE)),
                f"ALTER TABLE {LIST} ADD FOREIGN KEY (parent_lead) REFERENCES {LIST} (lead_id) ON DELETE {action}",
            ),
            (f"UPDATE {LIST} SET parent_lead = 2, modify_date = modify_date WHERE lead_id = 1",),
            stuck=frozenset({1, 2}),
            grants=READS_ALL,
        )
        for action in ("CASCADE", "SET NULL")
    ),
]


def _trigger(when: str, table: str, body: str, **more: Any) -> Peculiarity:
    statement = f"CREATE TRIGGER `of ``the site` {when} ON {table} FOR EACH ROW {body}"
    return Peculiarity(f"{when} ON {table} {body[:40]}", late=(statement,), **more)


def _signal(row: str, lead_id: int) -> str:
    return f"IF {row}.lead_id = {lead_id} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF"


TRIGGERS = [
    _trigger("BEFORE DELETE", LIST, _signal("OLD", 1), stuck=frozenset({1})),
    _trigger("AFTER DELETE", LIST, _signal("OLD", 2), stuck=frozenset({2})),
    _trigger("BEFORE INSERT", ARCHIVE, _signal("NEW", 1), stuck=frozenset({1})),
    _trigger("BEFORE UPDATE", ARCHIVE, _signal("NEW", 2), stuck=frozenset({2})),
    _trigger("BEFORE INSERT", LIST, _signal("NEW", 3), stuck_back=frozenset({3})),
    _trigger("BEFORE DELETE", ARCHIVE, _signal("OLD", 3), stuck_back=frozenset({3})),
    _trigger("BEFORE INSERT", ARCHIVE, "SET NEW.comments = 'archived'", alters=frozenset({ARCHIVE})),
    _trigger("BEFORE UPDATE", ARCHIVE, "SET NEW.owner = 'archive'", alters=frozenset({ARCHIVE})),
    *(
        _trigger("BEFORE INSERT", LIST, body, stuck_back=IDS)
        for body in (
            "SET NEW.called_count = 0",
            "SET NEW.modify_date = NOW()",
            "SET NEW.first_name = UPPER(NEW.first_name)",
            "SET NEW.owner = NULLIF(NEW.owner, '')",
            "SET NEW.lead_id = NEW.lead_id + 1000",
            "BEGIN IF NEW.lead_id = 3 THEN SET NEW.lead_id = 1; END IF; END",
            f"BEGIN {_signal('NEW', 3)}; IF NEW.lead_id IN (1, 4) THEN SET NEW.comments = 'back'; END IF; END",
        )
    ),
    _trigger("BEFORE INSERT", ARCHIVE, "SET NEW.lead_id = NEW.lead_id", alters=frozenset({ARCHIVE})),
    _trigger("AFTER DELETE", LIST, f"DELETE FROM {ARCHIVE} WHERE lead_id = OLD.lead_id", stuck=IDS),
    _trigger("AFTER INSERT", ARCHIVE, f"DELETE FROM {LIST} WHERE lead_id = NEW.lead_id", stuck=IDS),
    Peculiarity(
        "deletes are written down",
        ("CREATE TABLE deleted (lead_id INT UNSIGNED, status VARCHAR(6))",),
        (f"CREATE TRIGGER written AFTER DELETE ON {LIST} FOR EACH ROW INSERT INTO deleted VALUES (OLD.lead_id, OLD.status)",),
    ),
    Peculiarity(
        "deletes are written down, each once",
        ("CREATE TABLE deleted (lead_id INT UNSIGNED PRIMARY KEY)", "INSERT INTO deleted VALUES (1)"),
        (f"CREATE TRIGGER written AFTER DELETE ON {LIST} FOR EACH ROW INSERT INTO deleted VALUES (OLD.lead_id)",),
        stuck=IDS,
    ),
]
