"""The environment of the two tables: server variables, privileges of the account, tables that show leads in use."""

from __future__ import annotations

from support.sites.columns import ARCHIVE, LIST, Column
from support.sites.tables import Peculiarity

VARIABLES = [
    Peculiarity(f"{name} = {value}", variables=((name, value),))
    for name, value in (
        ("sql_select_limit", "0"),
        ("sql_select_limit", "15"),
        ("sql_quote_show_create", "0"),
        ("sql_safe_updates", "1"),
        ("sql_mode", "''"),
        ("sql_mode", "'TRADITIONAL,NO_ZERO_DATE,NO_ZERO_IN_DATE,ONLY_FULL_GROUP_BY'"),
        ("sql_mode", "'ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'"),
        ("sql_mode", "'ORACLE,SIMULTANEOUS_ASSIGNMENT'"),
        ("max_allowed_packet", "1048576"),
        ("max_allowed_packet", "65536"),
        ("completion_type", "1"),
        ("completion_type", "2"),
        ("tx_read_only", "1"),
        ("read_only", "1"),
        ("autocommit", "0"),
        ("tx_isolation", "'SERIALIZABLE'"),
        ("foreign_key_checks", "0"),
        ("unique_checks", "0"),
        ("check_constraint_checks", "0"),
        ("low_priority_updates", "1"),
        ("init_connect", "'SET NAMES latin1, sql_mode = TRADITIONAL'"),
        ("sql_big_selects", "0"),
        ("max_join_size", "1"),
        ("max_sort_length", "8"),
        ("max_length_for_sort_data", "4"),
        ("group_concat_max_len", "4"),
        ("sql_auto_is_null", "1"),
        ("time_zone", "'+05:45'"),
        ("character_set_server", "ucs2"),
        ("collation_server", "latin1_bin"),
        ("div_precision_increment", "0"),
        ("max_statement_time", "0.5"),
        ("binlog_format", "STATEMENT"),
        ("binlog_format", "ROW"),
        ("innodb_strict_mode", "0"),
        ("default_storage_engine", "MyISAM"),
        ("default_tmp_storage_engine", "MEMORY"),
        ("old_mode", "''"),
        ("in_predicate_conversion_threshold", "2"),
        ("updatable_views_with_limit", "0"),
        ("explicit_defaults_for_timestamp", "0"),
        ("max_error_count", "0"),
        ("join_cache_level", "8"),
        ("eq_range_index_dive_limit", "1"),
        ("alter_algorithm", "'INSTANT'"),
        ("system_versioning_alter_history", "KEEP"),
    )
]

IN_USE_TABLES = ("vicidial_hopper", "vicidial_live_agents", "vicidial_auto_calls", "vicidial_callbacks")

ALL = ("GRANT ALL PRIVILEGES ON *.* TO {account}",)
STOCK = ("GRANT SELECT, INSERT, UPDATE, DELETE, LOCK TABLES ON <db>.* TO {account}",)
READS_ALL = ("GRANT SELECT ON *.* TO {account}", *STOCK)
PRINTED = ("what `python -m service grants` prints",)
"""A placeholder for the output of the command."""

NEEDED = {
    **dict.fromkeys((LIST, ARCHIVE), ("SELECT", "INSERT", "UPDATE", "DELETE")),
    **dict.fromkeys(IN_USE_TABLES, ("SELECT",)),
}


def _all_but(table: str, privilege: str) -> tuple[str, ...]:
    grants = {**NEEDED, table: tuple(each for each in NEEDED[table] if each != privilege)}
    return tuple(
        f"GRANT {', '.join(privileges)} ON <db>.{name} TO {{account}}" for name, privileges in grants.items() if privileges
    )


# All columns of Vicidial except the last, listed one by one; none that a site has added.
SEEN = (
    "lead_id, entry_date, modify_date, status, user, vendor_lead_code, source_id, list_id, gmt_offset_now,"
    " called_since_last_reset, phone_code, phone_number, title, first_name, middle_initial, last_name, address1, address2,"
    " address3, city, state, province, postal_code, country_code, gender, date_of_birth, alt_phone, email, security_phrase,"
    " comments, called_count, last_local_call_time, `rank`, owner"
)
BY_COLUMN = "GRANT SELECT ({seen}), INSERT ({seen}), UPDATE ({seen}), DELETE ON <db>.{table} TO {{account}}"

CALLBACK = "INSERT INTO vicidial_callbacks (lead_id, status) VALUES"
USES = (
    ("vicidial_hopper.lead_id", "INSERT INTO vicidial_hopper (lead_id, status) VALUES ({}, 'READY')"),
    ("vicidial_live_agents.lead_id", "INSERT INTO vicidial_live_agents (lead_id) VALUES ({})"),
    (
        "vicidial_live_agents.preview_lead_id",
        "INSERT INTO vicidial_live_agents (lead_id, preview_lead_id) VALUES (0, {})",
    ),
    (
        "vicidial_live_agents.external_lead_id",
        "INSERT INTO vicidial_live_agents (lead_id, external_lead_id) VALUES (0, {})",
    ),
    ("vicidial_auto_calls.lead_id", "INSERT INTO vicidial_auto_calls (lead_id, status) VALUES ({}, 'RINGING')"),
    ("vicidial_callbacks.lead_id", f"{CALLBACK} ({{}}, 'ACTIVE')"),
    ("vicidial_callbacks.lead_id", f"{CALLBACK} ({{}}, 'LIVE')"),
    ("vicidial_callbacks.lead_id", f"{CALLBACK} ({{}}, 'TFHCCL')"),
    ("", f"{CALLBACK} ({{}}, 'INACTIVE')"),
)

PRIVILEGES = [
    *(
        Peculiarity(
            f"no {privilege} on {table}",
            grants=_all_but(table, privilege),
            in_use=tuple((1, where, use.format(1)) for where, use in USES if where.startswith(f"{table}.lead_id"))[:1],
        )
        for table, privileges in NEEDED.items()
        for privilege in privileges
    ),
    *(
        Peculiarity(
            f"columns hidden by privileges ({len(tables)} tables, entry_list_id {'too' if hidden else 'seen'})",
            grants=(
                *(BY_COLUMN.format(seen=SEEN if hidden else f"{SEEN}, entry_list_id", table=table) for table in tables),
                *(
                    f"GRANT SELECT, INSERT, UPDATE, DELETE ON <db>.{table} TO {{account}}"
                    for table in {LIST, ARCHIVE} - tables
                ),
                *(f"GRANT SELECT ON <db>.{table} TO {{account}}" for table in IN_USE_TABLES),
            ),
            columns=(Column(("contract_no",) * 2, ("VARCHAR(10)",) * 2, ("'C-1'", "'C-2'", "'C-3'")),),
        )
        for tables in (frozenset({LIST}), frozenset({ARCHIVE}), frozenset({LIST, ARCHIVE}))
        for hidden in (True, False)
    ),
    Peculiarity(
        "a role",
        grants=(
            "CREATE ROLE <db>_role",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON <db>.* TO <db>_role",
            "GRANT <db>_role TO {account}",
            "SET DEFAULT ROLE <db>_role FOR {account}",
        ),
    ),
    Peculiarity(
        "a role that is not set",
        grants=(
            "CREATE ROLE <db>_role",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON <db>.* TO <db>_role",
            "GRANT <db>_role TO {account}",
        ),
    ),
    Peculiarity(
        "the two tables alone",
        grants=_all_but("vicidial_hopper", "SELECT")[:2],
        in_use=((1, "vicidial_hopper.lead_id", "INSERT INTO vicidial_hopper (lead_id) VALUES (1)"),),
    ),
    Peculiarity("read only", grants=("GRANT SELECT ON <db>.* TO {account}",)),
    Peculiarity("the archive alone", grants=(f"GRANT SELECT, INSERT, UPDATE, DELETE ON <db>.{ARCHIVE} TO {{account}}",)),
]

IN_USE = [
    *(
        Peculiarity(f"lead {lead_id} in use: {statement[12:60]}", in_use=((lead_id, where, statement.format(lead_id)),))
        for lead_id in (1, 2, 3)
        for where, statement in USES
    ),
    *(
        Peculiarity(f"{table} in {engine}", (f"ALTER TABLE {table} ENGINE = {engine}",), in_use=((1, where, use.format(1)),))
        for table in IN_USE_TABLES
        for engine in ("MEMORY", "MyISAM")
        for where, use in [next(each for each in USES if each[0].startswith(table))]
    ),
    *(Peculiarity(f"no {table}", (f"DROP TABLE {table}",)) for table in IN_USE_TABLES),
    Peculiarity("vicidial_hopper has no lead_id", ("ALTER TABLE vicidial_hopper DROP COLUMN lead_id",)),
    Peculiarity(
        "vicidial_callbacks keeps lead_id as text",
        ("ALTER TABLE vicidial_callbacks MODIFY lead_id VARCHAR(20)",),
        in_use=((1, "vicidial_callbacks.lead_id", f"{CALLBACK} ('1', 'ACTIVE')"),),
    ),
    Peculiarity(
        "vicidial_hopper is a view",
        ("RENAME TABLE vicidial_hopper TO waiting", "CREATE VIEW vicidial_hopper AS SELECT * FROM waiting"),
        in_use=((1, "vicidial_hopper.lead_id", "INSERT INTO waiting (lead_id) VALUES (1)"),),
    ),
    Peculiarity(
        "vicidial_hopper is a view without its table",
        (
            "RENAME TABLE vicidial_hopper TO waiting",
            "CREATE VIEW vicidial_hopper AS SELECT * FROM waiting",
            "DROP TABLE waiting",
        ),
    ),
]
