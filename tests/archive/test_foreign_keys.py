"""Foreign keys on the two tables: none may change rows of other tables, whether or not the account can see them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.api import Api
from support.remedies import ARCHIVE, LIST, Account, account, apply_remedies, problems, refused_until_fixed
from support.tables import Tables
from support.waiting import wait_until

from service.archive import mover
from service.database.transaction import Transaction
from service.tables.table_reader import LOOKS, TableReader

NewApi = Callable[..., Api]

COPYING = "copy to tmp table"
"""The state of an ALTER TABLE that copies the rows."""


@pytest.fixture
def other_schema(tables: Tables) -> Iterator[str]:
    """Create another database of the site, and return its name."""
    name = f"{tables.database}_own"
    tables.execute(f"CREATE DATABASE {name}")
    yield name
    tables.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def stock(tables: Tables) -> Iterator[Account]:
    """An account as Vicidial makes it: it sees its own database only."""
    with account(tables) as stock:
        stock.grant("SELECT, INSERT, UPDATE, DELETE, LOCK TABLES, CREATE TEMPORARY TABLES", "*")
        yield stock


@pytest.mark.parametrize("rule", ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE"])
def test_a_lead_that_refers_to_another_is_not_changed_with_it(tables: Tables, api: Api, rule: str) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN parent INT UNSIGNED")
    tables.execute(f"ALTER TABLE {LIST} ADD CONSTRAINT parent FOREIGN KEY (parent) REFERENCES {LIST} (lead_id) {rule}")
    tables.live(1)
    tables.live(2, parent=1)
    child = tables.rows(LIST)[2]
    done = refused_until_fixed(tables, api, "the foreign key parent of vicidial_list changes rows of its own", [1])
    assert done == [f"ALTER TABLE `{tables.database}`.`{LIST}` DROP FOREIGN KEY `parent`"]
    assert tables.rows(LIST) == {2: child}


@pytest.mark.parametrize("rule", ["", "ON DELETE RESTRICT ON UPDATE RESTRICT", "ON DELETE NO ACTION"])
def test_a_lead_that_another_refers_to_stays_and_the_rest_goes(tables: Tables, api: Api, rule: str) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN parent INT UNSIGNED")
    tables.execute(f"ALTER TABLE {LIST} ADD FOREIGN KEY (parent) REFERENCES {LIST} (lead_id) {rule}")
    tables.live(1, 3, 4)
    tables.live(2, parent=1)
    before, _ = tables.both()
    assert problems(api) == []
    answer = api.archive_all([1, 3, 4]).json()
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (3, 2, [1])
    assert tables.both() == ({1: before[1], 2: before[2]}, {lead_id: before[lead_id] for lead_id in (1, 3, 4)})
    assert api.archive_all([2]).json()["delete_count"] == 1
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.both() == ({}, before)
    # On the way back, the child cannot be before its parent.
    answer = api.dearchive_all([2, 3]).json()
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (1, 1, [2])
    assert api.dearchive_all([1, 2, 4]).json()["remaining_lead_ids"] == []
    assert tables.both() == (before, {})


@pytest.mark.parametrize("rule", ["ON DELETE CASCADE", "ON DELETE RESTRICT"])
@pytest.mark.parametrize(("child", "parent"), [(ARCHIVE, LIST), (LIST, ARCHIVE)])
def test_a_copy_does_not_depend_on_the_lead_that_it_is_a_copy_of(
    tables: Tables, api: Api, child: str, parent: str, rule: str
) -> None:
    tables.live(1)
    tables.archived(1)
    tables.execute(f"ALTER TABLE {child} ADD CONSTRAINT own FOREIGN KEY (lead_id) REFERENCES {parent} (lead_id) {rule}")
    before = tables.both()
    assert api.dearchive_all([1]).status_code == 503
    assert tables.both() == before
    refused_until_fixed(tables, api, f"the foreign key own of {child}", [1])
    assert tables.ids() == ([], [1])


def test_a_lead_whose_list_is_not_there_stays_in_the_archive(tables: Tables, api: Api) -> None:
    tables.execute("CREATE TABLE own_lists (list_id BIGINT(14) UNSIGNED PRIMARY KEY)")
    tables.execute("INSERT INTO own_lists VALUES (998)")
    tables.execute(f"ALTER TABLE {LIST} ADD FOREIGN KEY (list_id) REFERENCES own_lists (list_id) ON DELETE CASCADE")
    tables.archived(1, 2, 4)
    tables.archived(3, list_id=5)
    _, before = tables.both()
    assert problems(api) == []
    answer = api.dearchive_all([1, 2, 3, 4]).json()
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (3, 3, [3])
    assert tables.both() == ({lead_id: before[lead_id] for lead_id in (1, 2, 4)}, {3: before[3]})
    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([2, 4], [1, 3])


@pytest.mark.parametrize("own", [True, False], ids=["same database", "another database"])
@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL", "RESTRICT"])
def test_a_row_of_another_table_outlives_its_lead_or_keeps_it(
    tables: Tables, api: Api, other_schema: str, own: bool, rule: str
) -> None:
    notes = f"{tables.database if own else other_schema}.notes"
    add_notes(tables, notes, rule)
    before = tables.both()
    if rule == "RESTRICT":
        assert problems(api) == []
        answer = api.archive_all([1, 2]).json()
        assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (2, 1, [1])
        assert tables.both() == ({1: before[0][1]}, before[0])
    else:
        refused_until_fixed(tables, api, f"the foreign key note of notes changes rows of its own ({rule})", [1, 2])
        assert tables.both() == ({}, before[0])
    assert tables.execute(f"SELECT lead_id, note FROM {notes}") == [(b"1", b"call after six")]


TYPE = "BIGINT(14) UNSIGNED"
DAMAGE = {
    "ON DELETE CASCADE": "DELETE FROM customers WHERE id = OLD.list_id",
    "ON UPDATE CASCADE": "UPDATE customers SET id = 5 WHERE id = OLD.list_id",
    "ON DELETE SET NULL": "DELETE FROM customers WHERE id = OLD.customer",
    "ON UPDATE SET NULL": "UPDATE customers SET id = 5 WHERE id = OLD.customer",
}


@pytest.mark.parametrize("rule", DAMAGE)
@pytest.mark.parametrize(("source", "target"), [(LIST, ARCHIVE), (ARCHIVE, LIST)], ids=["there", "back"])
def test_a_copy_that_changes_within_the_delete_keeps_the_lead(
    tables: Tables, api: Api, rule: str, source: str, target: str
) -> None:
    """A trigger changes what the copies refer to."""
    of_customers(tables, target, rule)
    tables.execute(
        f"CREATE TRIGGER damage AFTER DELETE ON {source} FOR EACH ROW IF OLD.lead_id = 2 THEN {DAMAGE[rule]}; END IF"
    )
    tables.insert(source, 1, 3, list_id=999, customer=999)
    tables.insert(source, 2, list_id=998, customer=998)
    tables.insert(target, 3, list_id=999, customer=999)
    before = tables.both()
    move = api.archive_all if source == LIST else api.dearchive_all
    assert problems(api) == []

    response = move([1, 2, 3])

    assert tables.both() == before
    assert response.status_code == 503
    message = response.json()["message"]
    assert f"the foreign key of_customer of {target} changes or deletes copies (" in message
    assert message.endswith("concerned: 1; no lead was deleted")
    assert tables.execute("SELECT id FROM customers ORDER BY id") == [(b"998",), (b"999",)]
    # The other leads are moved.
    answer = move([1, 3]).json()
    assert (answer["insert_count"], answer["delete_count"], answer["remaining_lead_ids"]) == (1, 2, [])
    tables.execute(f"ALTER TABLE `{tables.database}`.`{target}` DROP FOREIGN KEY `of_customer`")
    assert move([2]).json()["delete_count"] == 1
    rows = before[source == ARCHIVE]
    assert tables.both() == (({}, rows) if source == LIST else (rows, {}))


@pytest.mark.parametrize("rule", DAMAGE)
@pytest.mark.parametrize(("source", "target"), [(LIST, ARCHIVE), (ARCHIVE, LIST)], ids=["there", "back"])
def test_a_copy_that_changes_within_the_delete_of_a_later_part_keeps_the_lead(
    tables: Tables, new_api: NewApi, monkeypatch: pytest.MonkeyPatch, rule: str, source: str, target: str
) -> None:
    monkeypatch.setattr(mover, "GENTLE_PART", 2)
    of_customers(tables, target, rule)
    damage_at_lead_4(tables, "DELETE", source, rule)
    tables.insert(source, 1, list_id=999, customer=999)
    tables.insert(source, 2, 3, 4, list_id=998, customer=998)
    before = tables.both()
    api = new_api(PACE="gentle")
    move = api.archive_all if source == LIST else api.dearchive_all

    response = move([1, 2, 3, 4])

    assert response.status_code == 503
    assert response.json()["message"].endswith("concerned: 1; no lead was deleted")
    assert tables.both() == before
    assert move([1, 2, 3]).json()["delete_count"] == 3


@pytest.mark.parametrize("rule", DAMAGE)
def test_a_copy_whose_lead_was_archived_before_is_kept_as_well(tables: Tables, api: Api, rule: str) -> None:
    of_customers(tables, ARCHIVE, rule)
    damage_at_lead_4(tables, "DELETE", LIST, rule)
    tables.archived(1, list_id=999, customer=999)
    tables.live(3, 4, list_id=998, customer=998)
    before = tables.both()

    response = api.archive_all([1, 3, 4])

    assert response.status_code == 503
    assert response.json()["message"].endswith("concerned: 1; no lead was deleted")
    assert tables.both() == before
    assert api.archive_all([1, 3]).json()["delete_count"] == 1


@pytest.mark.parametrize("deletes", [True, False], ids=["delete", "insert only"])
@pytest.mark.parametrize("pace", ["full", "gentle"])
@pytest.mark.parametrize("rule", DAMAGE)
def test_a_copy_that_changes_after_it_was_brought_back_is_undone(
    tables: Tables, new_api: NewApi, monkeypatch: pytest.MonkeyPatch, rule: str, pace: str, deletes: bool
) -> None:
    """A trigger changes what it refers to when a later lead is inserted."""
    monkeypatch.setattr(mover, "GENTLE_PART", 2)
    of_customers(tables, LIST, rule)
    damage_at_lead_4(tables, "INSERT", LIST, rule)
    tables.archived(1, list_id=999, customer=999)
    tables.archived(2, 3, 4, 5, list_id=998, customer=998)
    _, before = tables.both()

    api = new_api(PACE=pace)
    answer = api.dearchive({"lead_ids": [1, 2, 3, 4, 5], "insert_leads": True, "delete_leads": deletes}).json()

    live, archived = tables.both()
    assert live == {lead_id: row for lead_id, row in before.items() if lead_id != 1}
    assert archived == ({1: before[1]} if deletes else before)
    assert (answer["insert_count"], answer["delete_count"]) == (4, 4 if deletes else 0)
    assert answer["remaining_lead_ids"] == ([1] if deletes else [])


def damage_at_lead_4(tables: Tables, event: str, table: str, rule: str) -> None:
    """Have a trigger change customer 999 when lead 4 is inserted or deleted."""
    row = "OLD" if event == "DELETE" else "NEW"
    change = DAMAGE[rule].replace("OLD.list_id", "999").replace("OLD.customer", "999")
    tables.execute(f"CREATE TRIGGER damage AFTER {event} ON {table} FOR EACH ROW IF {row}.lead_id = 4 THEN {change}; END IF")


def of_customers(tables: Tables, table: str, rule: str) -> None:
    """Have leads of one table refer to customers, 998 and 999."""
    tables.execute(f"CREATE TABLE customers (id {TYPE} PRIMARY KEY)")
    tables.execute("INSERT INTO customers VALUES (998), (999)")
    for each in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {each} ADD COLUMN customer {TYPE}")
    column = "customer" if "NULL" in rule else "list_id"
    tables.execute(f"ALTER TABLE {table} ADD CONSTRAINT of_customer FOREIGN KEY ({column}) REFERENCES customers (id) {rule}")


@pytest.mark.parametrize("rule", DAMAGE)
def test_a_copy_that_changes_within_a_delete_that_cannot_be_rolled_back(tables: Tables, api: Api, rule: str) -> None:
    tables.execute(f"CREATE TABLE customers (id {TYPE} PRIMARY KEY)")
    tables.execute("INSERT INTO customers VALUES (998)")
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN customer {TYPE}")
    tables.execute(f"ALTER TABLE {LIST} ENGINE = MyISAM")
    column = "customer" if "NULL" in rule else "list_id"
    tables.execute(f"ALTER TABLE {ARCHIVE} ADD CONSTRAINT own FOREIGN KEY ({column}) REFERENCES customers (id) {rule}")
    tables.execute(f"CREATE TRIGGER damage AFTER DELETE ON {LIST} FOR EACH ROW {DAMAGE[rule]}")
    tables.live(1, list_id=998, customer=998)
    tables.archived(2, list_id=998, customer=998)
    archived = tables.rows(ARCHIVE)
    copy = tables.rows(LIST)

    done = refused_until_fixed(tables, api, "the foreign key own of vicidial_list_archive may change or delete a copy", [1])

    assert done == [f"ALTER TABLE `{tables.database}`.`{ARCHIVE}` DROP FOREIGN KEY `own`"]
    assert tables.both() == ({}, copy | archived)


def add_notes(tables: Tables, notes: str, rule: str, parent: str = LIST) -> None:
    """A table that refers to leads 1 and 2, of which the first has a note."""
    tables.execute(
        f"CREATE TABLE {notes} (lead_id INT UNSIGNED, note VARCHAR(99), CONSTRAINT note FOREIGN KEY (lead_id)"
        f" REFERENCES {tables.database}.{parent} (lead_id) ON DELETE {rule})"
    )
    tables.insert(parent, 1, 2)
    tables.execute(f"INSERT INTO {notes} VALUES (1, 'call after six')")


@pytest.mark.parametrize("parent", [LIST, ARCHIVE])
@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL", "RESTRICT"])
def test_a_row_that_the_account_cannot_see_is_not_changed(
    tables: Tables, stock: Account, new_api: NewApi, other_schema: str, rule: str, parent: str
) -> None:
    add_notes(tables, f"{other_schema}.notes", rule, parent)
    before = tables.both()
    api = new_api(DATABASE_URL=stock.url)
    assert problems(api) == []

    answer = (api.archive_all if parent == LIST else api.dearchive_all)([1, 2]).json()

    assert tables.execute(f"SELECT lead_id, note FROM {other_schema}.notes") == [(b"1", b"call after six")]
    assert answer["delete_count"] + len(answer["remaining_lead_ids"]) == 2
    assert tables.both() == ((before[1], before[0]) if not answer["remaining_lead_ids"] else before)


@pytest.mark.parametrize("more", ["USAGE ON *.*", "SELECT ON mysql.proc", "INSERT ON mysql.*"])
def test_where_some_are_seen_the_account_must_see_all(
    tables: Tables, stock: Account, new_api: NewApi, other_schema: str, more: str
) -> None:
    """For the visible foreign keys the checks are on, so the invisible ones would act too.

    That the account sees the tables of the database mysql does not mean that it sees all foreign keys.
    """
    tables.execute(f"GRANT {more} TO {stock.name}")
    tables.execute(
        f"CREATE TABLE {tables.database}.seen (lead_id INT UNSIGNED, FOREIGN KEY (lead_id) REFERENCES {LIST} (lead_id))"
    )
    add_notes(tables, f"{other_schema}.notes", "CASCADE")
    before = tables.both()
    api = new_api(DATABASE_URL=stock.url)
    assert api.archive_all([1, 2]).status_code == 503
    assert tables.both() == before

    done = apply_remedies(tables, api)

    assert done == [
        f"GRANT REFERENCES ON *.* TO {stock.name}",
        f"ALTER TABLE `{other_schema}`.`notes` DROP FOREIGN KEY `note`",
    ]
    assert api.archive_all([1, 2]).json()["delete_count"] == 2
    assert tables.both() == ({}, before[0])
    assert tables.execute(f"SELECT lead_id, note FROM {other_schema}.notes") == [(b"1", b"call after six")]


@pytest.mark.parametrize("suffix", ["@b", "@b@c", "'b", "''@''", '"b', "`b", "ü"])
def test_whatever_its_name_is_an_account_that_sees_all_foreign_keys_is_believed(
    tables: Tables, new_api: NewApi, suffix: str
) -> None:
    add_notes(tables, f"{tables.database}.notes", "RESTRICT")
    before, _ = tables.both()
    with account(tables, suffix) as service:
        service.grant("ALL PRIVILEGES", "*")
        api = new_api(DATABASE_URL=service.url)
        (done,) = apply_remedies(tables, api)
        assert done == f"GRANT REFERENCES ON *.* TO {service.name}"

        assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [1]
    assert tables.both() == ({1: before[1]}, before)


@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL"])
def test_an_account_that_may_read_all_databases_does_not_see_what_a_key_refers_to(
    tables: Tables, stock: Account, new_api: NewApi, rule: str
) -> None:
    for table in (LIST, ARCHIVE):
        tables.execute(f"ALTER TABLE {table} ADD COLUMN parent INT UNSIGNED")
        stock.grant("INSERT", table)
    tables.execute(f"ALTER TABLE {LIST} ADD CONSTRAINT own FOREIGN KEY (parent) REFERENCES {LIST} (lead_id) ON DELETE {rule}")
    tables.execute(f"GRANT SELECT ON *.* TO {stock.name}")
    tables.live(1)
    tables.live(2, parent=1)
    child = tables.rows(LIST)[2]
    api = new_api(DATABASE_URL=stock.url)
    done = refused_until_fixed(tables, api, "there are foreign keys, and the account cannot see", [1])
    assert done == [
        f"GRANT REFERENCES ON *.* TO {stock.name}",
        f"ALTER TABLE `{tables.database}`.`{LIST}` DROP FOREIGN KEY `own`",
    ]
    assert tables.rows(LIST) == {2: child}


@pytest.mark.parametrize("rule", ["CASCADE", "RESTRICT"])
def test_a_foreign_key_that_is_added_while_the_service_runs(tables: Tables, api: Api, rule: str) -> None:
    tables.live(3)
    assert api.archive_all([3]).json()["delete_count"] == 1
    add_notes(tables, f"{tables.database}.notes", rule)
    before = tables.rows(LIST)

    response = api.archive_all([1, 2])

    assert tables.execute("SELECT lead_id, note FROM notes") == [(b"1", b"call after six")]
    live, archived = tables.both()
    assert live | archived | before == live | archived
    if response.status_code == 200:
        assert response.json()["remaining_lead_ids"] == list(live)
    else:
        assert live == before


def test_a_foreign_key_that_changes_rows_and_is_added_to_one_that_does_not(tables: Tables, api: Api) -> None:
    """The definition of a table does not list the foreign keys that refer to it."""
    add_notes(tables, f"{tables.database}.kept", "RESTRICT")
    tables.live(3, 4)
    assert api.archive_all([1, 3]).json()["remaining_lead_ids"] == [1]
    tables.execute(
        f"CREATE TABLE notes (lead_id INT UNSIGNED, note VARCHAR(99), CONSTRAINT added FOREIGN KEY (lead_id)"
        f" REFERENCES {LIST} (lead_id) ON DELETE CASCADE)"
    )
    tables.execute("INSERT INTO notes VALUES (4, 'call after six')")

    refused_until_fixed(tables, api, "the foreign key added of notes changes rows of its own (CASCADE)", [4])

    assert tables.execute("SELECT lead_id, note FROM notes") == [(b"4", b"call after six")]
    assert tables.ids() == ([1, 2], [1, 3, 4])


@pytest.mark.parametrize("known", [True, False], ids=["known", "not known"])
def test_a_key_is_enforced_also_while_its_table_is_altered(tables: Tables, api: Api, known: bool) -> None:
    """MariaDB leaves out the keys of a table that is altered with LOCK=EXCLUSIVE, and only warns of it. If they were not
    known, the batch waits for the end of it."""
    tables.live(1, 2)
    tables.execute(f"CREATE TABLE notes (lead_id INT UNSIGNED, FOREIGN KEY (lead_id) REFERENCES {LIST} (lead_id))")
    tables.execute("INSERT INTO notes SELECT NULL FROM seq_1_to_400000")
    tables.execute("INSERT INTO notes VALUES (1)")
    before, _ = tables.both()
    if known:
        assert api.archive_all([2]).json()["delete_count"] == 1
    with ThreadPoolExecutor(1) as threads:
        altering = threads.submit(
            tables.run_elsewhere, "ALTER TABLE notes ADD COLUMN own INT, ALGORITHM = COPY, LOCK = EXCLUSIVE"
        )
        wait_until(lambda: bool(tables.execute(f"SELECT 1 FROM information_schema.processlist WHERE state = '{COPYING}'")))
        answer = api.archive_all([1]).json()
        altering.result()

    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (0, [1])
    assert tables.rows(LIST)[1] == before[1]


@pytest.mark.parametrize("has_key", [True, False], ids=["a key", "no key"])
@pytest.mark.parametrize("asked", [True, False], ids=["asked", "nobody asks"])
def test_a_table_that_is_made_stops_nobody(tables: Tables, api: Api, has_key: bool, asked: bool) -> None:
    """As CREATE TABLE ... SELECT of an administrator does, for hours. What refers to leads is known, and stays enforced."""
    tables.live(1, 2, 3, 4)
    if has_key:
        tables.execute(f"CREATE TABLE notes (lead_id INT UNSIGNED, FOREIGN KEY (lead_id) REFERENCES {LIST} (lead_id))")
        tables.execute("INSERT INTO notes VALUES (1)")
    for move in (api.archive_all, api.dearchive_all, api.archive_all):
        assert move([4]).json()["delete_count"] == 1
    kept = [1] if has_key else []
    with ThreadPoolExecutor(1) as threads:
        making = threads.submit(tables.run_elsewhere, "CREATE TABLE copy_of_a_log AS SELECT SLEEP(15)")
        wait_until(lambda: sleeping(tables))
        if asked:
            assert api.get("/readyz").json()["message"] == "ready"
            assert api.find(where={"list_ids": [998]}).json()["lead_ids"] == [1, 2, 3]
        answer = api.archive_all([1, 2]).json()
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("service.tables.table_reader.FOREIGN_KEYS_AGE", 0)
            assert api.archive_all([3]).json()["delete_count"] == 1
            assert api.dearchive_all([3]).json()["delete_count"] == 1
        assert not making.done()
        (session,) = sleeping(tables)
        tables.execute(f"KILL QUERY {session}")
        making.exception()

    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (2 - len(kept), kept)
    assert tables.ids() == ([*kept, 3], [1, 2, 4])


def sleeping(tables: Tables) -> list[int]:
    """Return the numbers of sessions that sleep."""
    rows = tables.execute("SELECT id FROM information_schema.processlist WHERE state = 'User sleep'")
    return [int(number or b"") for (number,) in rows]


@pytest.mark.parametrize("known", [True, False], ids=["known", "not known"])
@pytest.mark.parametrize("missed", [1, LOOKS - 1])
def test_a_key_that_a_look_misses_is_enforced(
    tables: Tables, api: Api, monkeypatch: pytest.MonkeyPatch, known: bool, missed: int
) -> None:
    """MariaDB hides it, without a warning, while ALTER TABLE puts a copy in the place of its table."""
    tables.live(1, 2)
    tables.execute(f"CREATE TABLE notes (lead_id INT UNSIGNED, FOREIGN KEY (lead_id) REFERENCES {LIST} (lead_id))")
    tables.execute("INSERT INTO notes VALUES (1)")
    before, _ = tables.both()
    if known:
        assert api.archive_all([2]).json()["delete_count"] == 1
    look, looks = TableReader._look_for_keys, itertools.count(1)

    async def miss(reader: TableReader, transaction: Transaction) -> Any:
        keys, are_all = await look(reader, transaction)
        return ({}, are_all) if next(looks) <= missed else (keys, are_all)

    monkeypatch.setattr(TableReader, "_look_for_keys", miss)
    answer = api.archive_all([1]).json()

    assert next(looks) > missed
    assert (answer["delete_count"], answer["remaining_lead_ids"]) == (0, [1])
    assert tables.rows(LIST)[1] == before[1]


def test_a_key_that_is_dropped_is_not_enforced_any_more(tables: Tables, api: Api) -> None:
    tables.live(1, 2)
    tables.execute(
        f"CREATE TABLE notes (lead_id INT UNSIGNED, CONSTRAINT own FOREIGN KEY (lead_id) REFERENCES {LIST} (lead_id))"
    )
    tables.execute("INSERT INTO notes VALUES (1)")
    assert api.archive_all([1, 2]).json()["remaining_lead_ids"] == [1]

    tables.execute("ALTER TABLE notes DROP FOREIGN KEY own")

    assert api.archive_all([1]).json()["delete_count"] == 1
    assert tables.ids() == ([], [1, 2])
