"""Draw sites: how administrators set up the two tables, the tables around them, the server, and the account.

A site has up to three peculiarities. Everything else is as Vicidial installs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from support.sites.columns import Column, columns
from support.sites.combinations import TOGETHER
from support.sites.links import FOREIGN_KEYS, TRIGGERS
from support.sites.surroundings import ALL, IN_USE, PRINTED, PRIVILEGES, READS_ALL, STOCK, VARIABLES
from support.sites.tables import CHANGED_COLUMNS, IDS, KEYS, LEAD_IDS, TABLES, Peculiarity


def _of_column(column: Column) -> Peculiarity:
    stuck = IDS if column.may_refuse_rows else frozenset()
    name = f"column {column.names}: {column.definitions}"
    return Peculiarity(name, tuple(column.additions()), columns=(column,), stuck=stuck, stuck_back=stuck)


PECULIARITIES = st.one_of(
    columns().map(_of_column),
    columns().map(_of_column),
    *map(
        st.sampled_from,
        (CHANGED_COLUMNS, LEAD_IDS, KEYS, TABLES, FOREIGN_KEYS, TRIGGERS, VARIABLES, PRIVILEGES, IN_USE, TOGETHER, TOGETHER),
    ),
)

VALUES: dict[str, tuple[str, ...]] = {
    "entry_date": ("NULL", "'0000-00-00'", "'2020-02-00'", "'2024-02-03 04:05:07'"),
    "modify_date": ("'0000-00-00 00:00:00'", "'2038-01-19 03:14:07'", "'2024-10-27 00:30:00'"),
    "status": ("NULL", "''", "'new'", "'NEW '"),
    "vendor_lead_code": ("NULL", "'012'", "'12abc'", "'12'"),
    "list_id": ("0", "18446744073709551615", "9007199254740993"),
    "gmt_offset_now": ("NULL", "-99.99", "5.75"),
    "called_since_last_reset": ("NULL", "0", "'D'"),
    "phone_number": ("''", "'2125550199'", "'2125550199 '"),
    "first_name": ("NULL", "'JOSE'", "'a '", r"'\0'", "_utf8mb4 '日本'", "_utf8mb4 '😀'"),
    "last_name": ("NULL", "'Short'", "REPEAT('x', 30)"),
    "comments": ("''", "REPEAT('x', 255)", "'?'"),
    "gender": ("NULL", "0", "'F'"),
    "date_of_birth": ("'0000-00-00'", "'2020-00-00'", "'9999-12-31'"),
    "called_count": ("NULL", "0", "255", "65535"),
    "rank": ("-32768", "32767"),
    "owner": ("NULL", "' '", "_utf8mb4 'ł'"),
}
"""Values of Vicidial's columns, as SQL, that differ from those of an ordinary lead."""

ODD_VALUES = st.one_of(*[st.tuples(st.just(name), st.sampled_from(values)) for name, values in VALUES.items()])
SOME_ODD_VALUES = st.lists(ODD_VALUES, max_size=3).map(dict)


@dataclass(frozen=True)
class Lead:
    """A lead: its values in vicidial_list and in the archive that differ from an ordinary lead's. None: no row there."""

    lead_id: int
    live: dict[str, str] | None
    archived: dict[str, str] | None
    own_values_differ: bool = False
    """Whether the archived row has other values in the columns that the site has added."""


OTHER_LEAD = {"entry_date": "'2019-01-01 00:00:00'", "phone_number": "'3125550777'"}
"""Values of a second lead with the same id: they show that the id was reused."""


@st.composite
def leads(draw: st.DrawFn, lead_id: int) -> Lead:
    live = draw(SOME_ODD_VALUES)
    match draw(st.sampled_from(["live", "archived", "alike", "almost alike", "almost alike", "differs", "reused"])):
        case "live":
            return Lead(lead_id, live, None)
        case "archived":
            return Lead(lead_id, None, live)
        case "alike":
            return Lead(lead_id, live, live)
        case "almost alike":
            return Lead(lead_id, live, live, own_values_differ=True)
        case "differs":
            return Lead(lead_id, live, draw(SOME_ODD_VALUES), own_values_differ=draw(st.booleans()))
        case _:
            return Lead(lead_id, {}, OTHER_LEAD)


@dataclass(frozen=True)
class Call:
    operation: str
    body: dict[str, Any]


@st.composite
def calls(draw: st.DrawFn, lead_ids: list[int]) -> Call:
    operation = draw(st.sampled_from(["archive", "archive", "dearchive"]))
    flags = ["insert_leads", "update_leads", "delete_leads"]
    if operation == "dearchive":
        flags.remove("update_leads")
    chosen = draw(st.lists(st.sampled_from(lead_ids), unique=True, min_size=1))
    often = st.sampled_from([True, True, True, False])
    return Call(operation, {**{flag: draw(often) for flag in flags}, "lead_ids": chosen})


@dataclass(frozen=True)
class Site:
    peculiarities: list[Peculiarity]
    leads: list[Lead]
    calls: list[Call]
    grants: tuple[str, ...]
    leads_in_use: str
    """The value of the setting LEADS_IN_USE."""
    columns: list[Column] = field(default_factory=list)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(peculiarity.name for peculiarity in self.peculiarities)

    def stuck(self, operation: str, foreign_keys_act: bool) -> frozenset[int]:
        each = [
            peculiarity.stuck if operation == "archive" else peculiarity.stuck_back
            for peculiarity in self.peculiarities
            if foreign_keys_act or not peculiarity.by_foreign_key
        ]
        return frozenset().union(*each)

    def alters(self, table: str) -> bool:
        return any(table in peculiarity.alters for peculiarity in self.peculiarities)


@st.composite
def sites(draw: st.DrawFn) -> Site:
    count = draw(st.sampled_from([0, 1, 1, 1, 1, 2, 2, 2, 3]))
    peculiarities = draw(st.lists(PECULIARITIES, min_size=count, max_size=count, unique_by=lambda each: each.name))
    # One lead to insert, one to update, one to bring back, so that every statement runs.
    others = [4, 5, *dict.fromkeys(lead_id for each in peculiarities for lead_id in each.lead_ids)]
    drawn = [draw(leads(lead_id)) for lead_id in others[draw(st.integers(0, 2)) :]]
    everybody = [
        Lead(1, draw(SOME_ODD_VALUES), None),
        Lead(2, {"status": "'SOLD'"}, draw(SOME_ODD_VALUES.map(lambda values: {"status": "'OLD'", **values}))),
        Lead(3, None, draw(SOME_ODD_VALUES)),
        *drawn,
    ]
    lead_ids = [lead.lead_id for lead in everybody]
    grants = next((each.grants for each in peculiarities if each.grants), None)
    return Site(
        peculiarities,
        everybody,
        draw(st.lists(calls(lead_ids), max_size=3)),
        grants or draw(st.sampled_from([ALL, STOCK, PRINTED, READS_ALL])),
        draw(st.sampled_from(["keep", "keep", "keep", "ignore"])),
        [column for each in peculiarities for column in each.columns],
    )
