"""Storage engines: with rollback, without, and one of each. Without rollback, the order of the statements prevents a loss."""

from __future__ import annotations

from itertools import product

import pytest
from support.api import Api
from support.model import archive as model
from support.tables import Tables

from service.api.error_responses import MAY_BE_APPLIED

ENGINES = ["InnoDB", "MyISAM", "Aria"]
PAIRS = list(product(ENGINES, repeat=2))
FLAGS = list(product([True, False], repeat=3))


def use_engines(tables: Tables, live: str, archive: str) -> None:
    tables.execute(f"ALTER TABLE vicidial_list ENGINE = {live}")
    tables.execute(f"ALTER TABLE vicidial_list_archive ENGINE = {archive}")


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_all_states_and_flags_on_every_pair_of_engines(tables: Tables, api: Api, pair: tuple[str, str]) -> None:
    use_engines(tables, *pair)
    for flags in FLAGS:
        tables.execute("DELETE FROM vicidial_list")
        tables.execute("DELETE FROM vicidial_list_archive")
        tables.live(1, 2, 3, 4)
        tables.archived(2, 5)
        tables.archived(3, status="NEW")
        body = {
            **dict(zip(("insert_leads", "update_leads", "delete_leads"), flags, strict=True)),
            "lead_ids": [5, 3, 2, 1],
        }
        status, answer, live, archived = model(*tables.both(), body)

        response = api.archive(body)

        assert (response.status_code, response.json()) == (status, answer)
        assert tables.both() == (live, archived)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_delete_that_breaks_off_loses_nothing(tables: Tables, api: Api, pair: tuple[str, str]) -> None:
    """The DELETE fails at the second of three leads. What an engine cannot roll back must have its copy already."""
    use_engines(tables, *pair)
    tables.live(1, 2, 3)
    before, _ = tables.both()
    tables.execute(
        "CREATE TRIGGER break_off BEFORE DELETE ON vicidial_list FOR EACH ROW"
        " IF OLD.lead_id = 2 THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'disk full'; END IF"
    )

    response = api.archive_all([1, 2, 3])

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    live, archived = tables.both()
    assert archived | live == before
    if pair == ("InnoDB", "InnoDB"):
        assert "nothing was changed" in response.json()["message"]
        assert (live, archived) == (before, {})
    else:
        assert response.json()["message"] == f"the commit was not confirmed; {MAY_BE_APPLIED}"
    tables.execute("DROP TRIGGER break_off")
    assert api.archive_all([1, 2, 3]).json()["remaining_lead_ids"] == []
    assert tables.both() == ({}, before)


def test_an_insert_that_another_unique_key_of_the_archive_refuses(tables: Tables, api: Api) -> None:
    tables.execute("ALTER TABLE vicidial_list_archive ADD UNIQUE KEY one_phone (phone_number)")
    tables.live(1, 2)
    before, _ = tables.both()

    response = api.archive_all([1, 2])

    assert response.json()["remaining_lead_ids"] == [2]
    assert tables.both() == ({2: before[2]}, {1: before[1]})


def test_an_update_that_another_unique_key_of_the_archive_refuses(tables: Tables, api: Api) -> None:
    tables.execute("ALTER TABLE vicidial_list_archive ADD UNIQUE KEY one_phone (phone_number)")
    tables.live(1, phone_number="1")
    tables.archived(1, phone_number="2")
    tables.archived(7, phone_number="1")
    before = tables.both()

    response = api.archive_all([1])

    assert (response.status_code, response.json()["remaining_lead_ids"]) == (200, [1])
    assert tables.both() == before


@pytest.mark.parametrize("damaged", ["vicidial_list_archive", "vicidial_list"])
@pytest.mark.parametrize("flags", [{"update_leads": True}, {"update_leads": False}], ids=["update", "no update"])
def test_an_index_that_leads_to_another_lead_is_not_believed(
    tables: Tables, api: Api, damaged: str, flags: dict[str, bool]
) -> None:
    """As a full disk can leave a table of MyISAM: its index has the lead_id, and leads to a row that was stored later."""
    tables.set_engines("MyISAM", "MyISAM")
    tables.live(1, 5, 6, 7)
    tables.archived(1, 5, 6, 7, first_name="Old" if flags["update_leads"] else "José")
    index = tables.mariadb.folder / "data" / tables.database / f"{damaged}.MYI"
    tables.execute(f"FLUSH TABLES {damaged}")
    of_one = index.read_bytes()
    tables.execute(f"DELETE FROM {damaged}")
    tables.insert(damaged, 2, 5, 6, 7, first_name="Two" if flags["update_leads"] else "José")
    tables.execute(f"FLUSH TABLES {damaged}")
    index.write_bytes(of_one)
    other_leads = "SELECT * FROM {} IGNORE INDEX (PRIMARY) WHERE lead_id <> 5"
    queries = [other_leads.format(table) for table in ("vicidial_list", "vicidial_list_archive")]
    before = [tables.execute(query) for query in queries]

    answer = api.archive({**api.ALL, **flags, "lead_ids": [1, 5]}).json()

    assert [tables.execute(query) for query in queries] == before, answer
    assert answer["delete_count"] == 1
    assert tables.execute("SELECT lead_id FROM vicidial_list WHERE lead_id = 5") == []
