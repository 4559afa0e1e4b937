"""The variables of a MariaDB server, and the values to test each of them with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pymysql

Value = int | float | str
Execute = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Variable:
    """A variable that can be set while the server runs. values: all that differ from its current value."""

    name: str
    value: Value
    values: tuple[Value, ...]
    session_only: bool


STRINGS: Mapping[str, tuple[str, ...]] = {
    "character_set_collations": ("utf8mb4=utf8mb4_bin",),
    "character_set_client": ("latin1", "utf8mb3", "cp1251", "binary"),
    "character_set_connection": ("latin1", "ucs2", "utf32", "binary"),
    "character_set_database": ("latin1", "ucs2", "utf8mb4"),
    "character_set_filesystem": ("latin1", "ucs2", "utf8mb4"),
    "character_set_results": ("latin1", "ucs2", "utf16", "binary"),
    "character_set_server": ("latin1", "ucs2", "utf8mb4"),
    "collation_connection": ("latin1_german2_ci", "utf8mb4_bin", "ucs2_bin"),
    "collation_database": ("latin1_german2_ci", "utf8mb4_bin", "ucs2_bin"),
    "collation_server": ("latin1_german2_ci", "utf8mb4_bin", "ucs2_bin"),
    "default_master_connection": ("another",),
    "default_storage_engine": ("MEMORY", "Aria", "CSV"),
    "default_tmp_storage_engine": ("MEMORY", "Aria", "MyISAM"),
    "enforce_storage_engine": ("MyISAM", "Aria", "MEMORY"),
    "ft_boolean_syntax": ('+ -><()~*:""@|',),
    "general_log_file": ("another.log",),
    "gtid_pos_auto_engines": ("InnoDB",),
    "init_connect": (
        "SET sql_select_limit = 1",
        "SET autocommit = 0",
        "SET NAMES latin1",
        "SET SESSION TRANSACTION READ ONLY",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
        "START TRANSACTION READ ONLY",
        "SET sql_mode = 'ORACLE'",
        "SET time_zone = '-12:00'",
    ),
    "init_slave": ("SET sql_select_limit = 1",),
    "lc_messages": ("de_DE", "ru_RU", "ja_JP"),
    "lc_time_names": ("de_DE", "ru_RU", "ja_JP"),
    "log_slow_query_file": ("another.log",),
    "proxy_protocol_networks": ("*",),
    "redirect_url": ("mariadb://127.0.0.1:1",),
    "replicate_do_db": ("another",),
    "replicate_do_table": ("another.one",),
    "replicate_ignore_db": ("another",),
    "replicate_ignore_table": ("another.one",),
    "replicate_rewrite_db": ("another->yet_another",),
    "replicate_wild_do_table": ("another%.%",),
    "replicate_wild_ignore_table": ("another%.%",),
    "session_track_system_variables": ("", "*"),
    "slow_query_log_file": ("another.log",),
    "storage_engine": ("MEMORY", "Aria", "CSV"),
    "system_versioning_asof": ("2001-01-01 00:00:00", "2030-01-01 00:00:00"),
    "time_zone": ("-12:00", "+13:00", "UTC"),
}
"""Values of variables for which the server lists none."""

NUMBERS: Mapping[str, tuple[int, ...]] = {
    "max_session_mem_used": (1_000_000,),  # with its smallest or largest value the server crashes
}
"""Values of variables whose smallest or largest value breaks the server for everybody."""

SESSION_ONLY = frozenset({"sql_log_bin", "tcp_nodelay"})
"""Variables that the server lists as global, but that can only be set for a session."""

COMBINATIONS: Mapping[str, tuple[str, ...]] = {
    "sql_mode": (
        "TRADITIONAL,ONLY_FULL_GROUP_BY",
        "ANSI,PIPES_AS_CONCAT,HIGH_NOT_PRECEDENCE",
        "ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,EMPTY_STRING_IS_NULL,SIMULTANEOUS_ASSIGNMENT,"
        "HIGH_NOT_PRECEDENCE,IGNORE_SPACE",
    ),
    "optimizer_switch": (
        "default,index_merge=off,index_merge_sort_union=off,index_condition_pushdown=off,mrr=on,mrr_cost_based=off",
    ),
}


DEFAULTS = "default,"

MANY_FLAGS = 20
"""Only sql_mode and optimizer_switch have more. Each value is a round of its own."""


def read(execute: Execute) -> list[Variable]:
    """Return all variables that can be set, sorted by name."""
    rows = execute(
        "SELECT LOWER(variable_name), variable_scope, variable_type, IFNULL(global_value, session_value), numeric_min_value,"
        " numeric_max_value, enum_value_list FROM information_schema.system_variables WHERE read_only = 'NO'"
        " ORDER BY variable_name"
    )
    variables = []
    for name, scope, kind, text, least, most, listed in rows:
        number = bool(re.search("INT|DOUBLE", kind))
        value = (float(text) if kind == "DOUBLE" else int(text)) if number else text
        if name in NUMBERS:
            values: Iterable[Value] = NUMBERS[name]
        elif number:
            values = _numbers(kind, least, most)
        elif kind == "FLAGSET":
            values = _flags(text, listed.split(","))
        elif kind == "SET":
            members = listed.split(",")
            values = ["", *members, ",".join(members)]
        else:
            values = listed.split(",") if listed else STRINGS.get(name, ())
        others = [other for other in dict.fromkeys([*values, *COMBINATIONS.get(name, ())]) if other != value]
        variables.append(Variable(name, value, tuple(others), scope == "SESSION ONLY" or name in SESSION_ONLY))
    return variables


def _numbers(kind: str, least: str, most: str) -> list[Value]:
    ends: list[Value] = [float(least), float(most)] if kind == "DOUBLE" else [int(least), int(most)]
    return [*ends, 0] if float(least) < 0 else ends


def _flags(value: str, names: list[str]) -> list[Value]:
    """Return values of a set of flags: with each flag inverted, with all off, with all on.

    A flag that a value does not name stays as it is, so each value begins with the defaults. The server refuses to turn off
    both ways of running a subquery.
    """
    flags = dict(flag.split("=") for flag in value.split(","))
    turned: list[Value] = [
        f"{DEFAULTS}{name}={'off' if state == 'on' else 'on'}" for name, state in flags.items() if name in names
    ]
    off = [f"{name}=off" for name in flags if name != "in_to_exists"]
    return [*turned, DEFAULTS + ",".join(off), DEFAULTS + ",".join(f"{name}=on" for name in flags)]


def in_pairs(variable: Variable) -> tuple[Value, ...]:
    """Return the variable's values, two flags in one value if there are many: each flag once, beside one of the other half."""
    flags = [
        value for value in variable.values if isinstance(value, str) and value and "," not in value.removeprefix(DEFAULTS)
    ]
    if len(flags) <= MANY_FLAGS:
        return variable.values
    half = (len(flags) + 1) // 2
    pairs = [
        f"{one},{other.removeprefix(DEFAULTS)}" if other else one for one, other in zip_longest(flags[:half], flags[half:])
    ]
    return (*pairs, *(value for value in variable.values if value not in flags))


def literal(value: Value | None) -> str:
    if value is None:
        return "NULL"
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'" if isinstance(value, str) else repr(value)


class Globals:
    """The global variables of a server. All of them can be reset to their initial values."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.variables = {variable.name: variable for variable in read(execute)}
        self._changed: dict[str, Value] = {}

    def apply(self, changes: Mapping[str, Value]) -> None:
        """Set these variables, and reset all others to their initial values. Skip values that the server refuses.

        init_connect sets session variables, in each session of an account without SUPER.
        """
        wanted = {name: value for name, value in changes.items() if not self.variables[name].session_only}
        if session := [f"{name} = {literal(value)}" for name, value in changes.items() if name not in wanted]:
            more = [str(wanted["init_connect"])] if "init_connect" in wanted else []
            wanted["init_connect"] = "; ".join([f"SET SESSION {', '.join(session)}", *more])
        for name in self._changed.keys() - wanted.keys():
            self._put_back(name)
        for name, value in wanted.items():
            if self._changed.get(name) != value:
                self._changed[name] = value
                self._set(name, literal(value))

    def takes(self, variable: Variable, as_service: Callable[[str], Any]) -> bool:
        """Return whether the server accepts one of the variable's other values. Reset it afterwards.

        as_service: runs a statement in a session of an account that has no more privileges than the service.
        """
        for value in variable.values:
            try:
                if variable.session_only:
                    as_service(f"SET SESSION {variable.name} = {literal(value)}")
                    return True
                if variable.name in NOT_TRIED and NOT_TRIED[variable.name] != REFUSED:
                    return False
                self._execute(f"SET GLOBAL {variable.name} = {literal(value)}")
            except pymysql.err.MySQLError:
                continue
            self._put_back(variable.name)
            return True
        return False

    def _set(self, name: str, sql: str) -> bool:
        try:
            self._execute(f"SET GLOBAL {name} = {sql}")
        except pymysql.err.MySQLError:
            return False
        return True

    def _put_back(self, name: str) -> None:
        # system_versioning_asof refuses the value that it shows at first.
        put_back = self._set(name, literal(self.variables[name].value)) or self._set(name, "DEFAULT")
        assert put_back, name
        self._changed.pop(name, None)


ALONE: Mapping[str, str] = {
    "binlog_commit_wait_count": "with binlog_commit_wait_usec, each COMMIT waits for an hour and more",
    "binlog_format": "the service may refuse",
    "enforce_storage_engine": "the service may refuse",
    "max_allowed_packet": "the service may refuse",
    "max_binlog_cache_size": "the service may refuse",
    "max_binlog_stmt_cache_size": "the service may refuse",
    "max_connections": "the service may not get in",
    "max_prepared_stmt_count": "the service may refuse",
    "max_user_connections": "the service may not get in",
    "read_only": "the service may refuse",
    "require_secure_transport": "the service may not get in",
    "skip_replication": "the service may refuse",
    "wsrep_forced_binlog_format": "the service may refuse",
    "wsrep_reject_queries": "the service may refuse",
}
"""Variables that would hide the effects of others."""

REFUSED = "the server refuses, or an account like the service's may not"
CLUSTER = "means something on a cluster only"
POSITION = "a position of replication, which the server would not take back"
MEMORY = "its ends are more memory than there is, and too little"
SERVER = "nothing that a statement would see"

NOT_TRIED: Mapping[str, str] = {
    "gtid_binlog_state": POSITION,
    "gtid_seq_no": REFUSED,
    "gtid_slave_pos": POSITION,
    "innodb_background_scrub_data_check_interval": "has one value only",
    "innodb_background_scrub_data_interval": "has one value only",
    "innodb_buffer_pool_size": MEMORY,
    "innodb_encrypt_tables": REFUSED,
    "innodb_ft_aux_table": SERVER,
    "innodb_ft_server_stopword_table": SERVER,
    "innodb_ft_user_stopword_table": SERVER,
    "innodb_log_file_size": "its end is more than the disk holds, and the server ends",
    "innodb_max_purge_lag_wait": "to set it is to wait for the purge",
    "innodb_monitor_disable": SERVER,
    "innodb_monitor_enable": SERVER,
    "innodb_monitor_reset": SERVER,
    "innodb_monitor_reset_all": SERVER,
    "innodb_tmpdir": SERVER,
    "key_buffer_size": MEMORY,
    "pseudo_thread_id": REFUSED,
    "rpl_semi_sync_master_enabled": "every COMMIT on the server waits for a replica, and there is none",
    "sql_log_bin": REFUSED,
    "wsrep_cluster_address": CLUSTER,
    "wsrep_cluster_name": CLUSTER,
    "wsrep_dbug_option": CLUSTER,
    "wsrep_debug": CLUSTER,
    "wsrep_desync": REFUSED,
    "wsrep_gtid_seq_no": CLUSTER,
    "wsrep_max_ws_size": REFUSED,
    "wsrep_node_address": CLUSTER,
    "wsrep_node_incoming_address": CLUSTER,
    "wsrep_node_name": CLUSTER,
    "wsrep_on": REFUSED,
    "wsrep_provider_options": CLUSTER,
    "wsrep_slave_threads": CLUSTER,
    "wsrep_sst_auth": CLUSTER,
    "wsrep_sst_donor": CLUSTER,
    "wsrep_sst_method": CLUSTER,
    "wsrep_sst_receive_address": CLUSTER,
    "wsrep_start_position": CLUSTER,
    "wsrep_trx_fragment_size": CLUSTER,
    "wsrep_trx_fragment_unit": CLUSTER,
}

OTHER_VERSIONS: Mapping[str, Callable[[tuple[int, ...]], bool]] = {
    "character_set_collations": lambda version: version >= (11, 2),
    "innodb_background_scrub_data_check_interval": lambda version: version < (10, 6),
    "innodb_background_scrub_data_interval": lambda version: version < (10, 6),
    "innodb_log_file_size": lambda version: version >= (10, 9),
    "log_slow_query_file": lambda version: version >= (10, 11),
    "redirect_url": lambda version: version >= (11, 3),
    "replicate_rewrite_db": lambda version: version >= (10, 11),
}
"""Variables that only some versions of MariaDB have or allow to be set, with these versions."""
