"""Columns that a site may have added or changed: every type of MariaDB with boundary values, attributes, odd names."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

LIST, ARCHIVE = "vicidial_list", "vicidial_list_archive"


def _integers(bits: int) -> dict[str, tuple[str, ...]]:
    name = {8: "TINYINT", 16: "SMALLINT", 24: "MEDIUMINT", 32: "INT", 64: "BIGINT"}[bits]
    half = 2 ** (bits - 1)
    unsigned = ("0", "7", str(half), str(2 * half - 1))
    return {
        name: (str(-half), "-1", "0", "7", str(half - 1)),
        f"{name} UNSIGNED": unsigned,
        f"{name}(3) UNSIGNED ZEROFILL": unsigned,
    }


TEXT_VALUES = ("''", "'0'", "'a'", "'A'", "'a '", "' a'", "'é'", "_utf8mb4 'é'", "'ß'", "_utf8mb4 'ł'", "'007'", r"'\0'")
LONG_TEXT_VALUES = (*TEXT_VALUES, "_utf8mb4 '😀'", "REPEAT('x', 255)")
# With a max_allowed_packet of 1 MiB, MariaDB cannot send the last two values. They have the same length.
HUGE_TEXT_VALUES = (*TEXT_VALUES, "CONCAT(REPEAT('x', 1100000), 'y')", "CONCAT(REPEAT('x', 1100000), 'z')")
BYTE_VALUES = ("''", "x'00'", "x'FF'", "x'41'", "x'6100'", "'a '")
HUGE_BYTE_VALUES = (*BYTE_VALUES, "CONCAT(REPEAT('x', 1100000), 'y')", "CONCAT(REPEAT('x', 1100000), 'z')")
DATES = ("'0000-00-00'", "'2020-02-00'", "'2020-00-00'", "'1000-01-01'", "'9999-12-31'", "'2024-02-29'")
TIMESTAMPS = ("'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2024-10-27 00:30:00'", "'2038-01-19 03:14:07'")

TYPES: dict[str, tuple[str, ...]] = {
    **_integers(8),
    **_integers(16),
    **_integers(24),
    **_integers(32),
    **_integers(64),
    "DECIMAL(10,3)": ("-9999999.999", "0", "0.001", "7", "7.500"),
    "DECIMAL(65,30)": ("0", f"0.{'0' * 29}1", "7", f"{'9' * 35}.{'9' * 30}"),
    "DECIMAL(5,1) UNSIGNED ZEROFILL": ("0", "7", "9999.9"),
    "FLOAT": ("0e0", "-0e0", "0.1e0", "0.10000001e0", "16777217e0", "1e-40", "3.4e38"),
    "FLOAT(7,2)": ("0e0", "0.1e0", "12345.67e0", "12345.68e0"),
    "DOUBLE": ("0e0", "-0e0", "0.1e0", "0.30000000000000004e0", "0.3e0", "9007199254740993", "1.7e308", "5e-324"),
    "DOUBLE(10,3) UNSIGNED": ("0e0", "0.1e0", "9999999.999e0"),
    "BIT(1)": ("0", "1"),
    "BIT(13)": ("0", "1", "65", "8191"),
    "BIT(64)": ("0", "18446744073709551615", "9223372036854775808"),
    "CHAR(5)": TEXT_VALUES,
    "VARCHAR(5)": TEXT_VALUES,
    "VARCHAR(300)": LONG_TEXT_VALUES,
    "TINYTEXT": TEXT_VALUES,
    "TEXT": LONG_TEXT_VALUES,
    "MEDIUMTEXT": HUGE_TEXT_VALUES,
    "LONGTEXT": HUGE_TEXT_VALUES,
    "BINARY(4)": BYTE_VALUES,
    "VARBINARY(10)": BYTE_VALUES,
    "TINYBLOB": BYTE_VALUES,
    "BLOB": BYTE_VALUES,
    "MEDIUMBLOB": HUGE_BYTE_VALUES,
    "LONGBLOB": HUGE_BYTE_VALUES,
    "JSON": ("'{}'", "'{ }'", "'[1, 1.0]'", "'null'", '\'{"a": "é"}\'', "'0'"),
    "ENUM('a','b','A b','x)','it''s')": ("'a'", "'b'", "0", "'x)'"),
    "ENUM('','0','1')": ("''", "0", "1", "2", "'0'"),
    "SET('a','b','c','0')": ("''", "'a'", "'a,b,c,0'", "'0'"),
    "DATE": DATES,
    "TIME": ("'00:00:00'", "'-838:59:59'", "'838:59:59'", "'12:30:00'"),
    "TIME(3)": ("'00:00:00.000'", "'-838:59:59.999'", "'12:30:00.500'"),
    "DATETIME": (*DATES, "'2024-03-31 02:30:00'"),
    "DATETIME(6)": (*DATES, "'2024-03-31 02:30:00.000001'"),
    "TIMESTAMP": TIMESTAMPS,
    "TIMESTAMP(6)": (*TIMESTAMPS, "'2024-10-27 00:30:00.000001'"),
    "YEAR": ("0", "1901", "2155", "2024"),
    "POINT": ("ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('POINT(-0.5 1e300)')", "ST_GeomFromText('POINT(1 2)', 4326)"),
    "GEOMETRY": ("ST_GeomFromText('LINESTRING(0 0,1 1)')", "ST_GeomFromText('POINT(1 2)')"),
    "INET6": ("'::'", "'::1.2.3.4'", "'2001:db8::ff'"),
    "UUID": ("'00000000-0000-0000-0000-000000000000'", "'123e4567-e89b-12d3-a456-426655440000'"),
    "INET4": ("'0.0.0.0'", "'255.255.255.255'"),
    "VECTOR(2)": ("VEC_FromText('[0,0]')", "VEC_FromText('[1,-0.5]')"),
}
"""SQL types with values that are not NULL, as SQL literals or expressions."""

NARROWER = {
    "BIGINT": "INT",
    "INT UNSIGNED": "SMALLINT UNSIGNED",
    "VARCHAR(300)": "VARCHAR(20)",
    "TEXT": "TINYTEXT",
    "MEDIUMTEXT": "TEXT",
    "LONGTEXT": "MEDIUMTEXT",
    "LONGBLOB": "BLOB",
    "DECIMAL(10,3)": "DECIMAL(9,2)",
    "DECIMAL(65,30)": "DECIMAL(50,20)",
    "DOUBLE": "FLOAT",
    "BIT(64)": "BIT(13)",
    "DATETIME(6)": "DATETIME",
    "TIMESTAMP(6)": "TIMESTAMP",
    "TIME(3)": "TIME",
    "DATETIME": "DATE",
    "ENUM('a','b','A b','x)','it''s')": "ENUM('b','a')",
    "ENUM('','0','1')": "ENUM('1','0')",
    "SET('a','b','c','0')": "SET('b','a')",
    "GEOMETRY": "POINT",
    "VARBINARY(10)": "BINARY(10)",
    "CHAR(5)": "CHAR(2)",
}

TEXTS = tuple(kind for kind in TYPES if kind.startswith(("CHAR", "VARCHAR", "ENUM", "SET")) or kind.endswith("TEXT"))
CHARSETS = (
    ("latin1", "latin1_swedish_ci"),
    ("latin1", "latin1_bin"),
    ("latin2", "latin2_general_ci"),
    ("ascii", "ascii_general_ci"),
    ("cp1251", "cp1251_general_ci"),
    ("ucs2", "ucs2_general_ci"),
    ("utf16", "utf16_unicode_ci"),
    ("utf32", "utf32_general_ci"),
    ("utf8mb3", "utf8mb3_bin"),
    ("utf8mb4", "utf8mb4_unicode_520_ci"),
    ("utf8mb4", "utf8mb4_nopad_bin"),
    ("sjis", "sjis_japanese_ci"),
    ("binary", "binary"),
)

# The column's name in vicidial_list and in the archive, or the other way round.
NAMES = (
    ("contract_no", "contract_no"),
    ("Contract_No", "CONTRACT_NO"),
    ("a `b;c", "a `b;c"),
    ("two words", "Two Words"),
    ("it's", "it's"),
    ('say "so"', 'say "so"'),
    ("select", "SELECT"),
    ("İL", "İL"),
    ("İL", "il"),
    ("Größe", "gRÖSSE".replace("SS", "ß")),
    ("ÉTAT", "état"),
    ("日本", "日本"),
    ("a,b.c(d)", "a,b.c(d)"),
    ("100%s", "100%S"),
    ("{columns}", "{columns}"),
    (":lead_ids", ":lead_ids"),
    ("?", "?"),
    ("-- x", "-- x"),
    ("a/*b*/#", "a/*b*/#"),
    ("back\\slash", "back\\slash"),
    ("source", "target"),
    ("lead_id_", "lead_id_"),
    ("x" * 64, "X" * 64),
)


@dataclass(frozen=True)
class Column:
    """A column that the site has added: its name, definition (None: the table lacks it) and values.

    Pairs are for vicidial_list and for the archive.
    """

    names: tuple[str, str]
    definitions: tuple[str | None, str | None]
    values: tuple[str, ...]
    """SQL literals. Leads take them in turn. Empty for a generated column."""

    @property
    def may_refuse_rows(self) -> bool:
        """Whether the column may refuse a row for its value, instead of storing a changed value."""
        mine, theirs = self.definitions
        different = (
            mine is not None and theirs is not None and mine.split("(")[0].split()[0] != theirs.split("(")[0].split()[0]
        )
        return different or "CHECK" in f"{mine}{theirs}"

    def additions(self) -> list[str]:
        return [
            f"ALTER TABLE {table} ADD COLUMN {quoted(name)} {definition}"
            for table, name, definition in zip((LIST, ARCHIVE), self.names, self.definitions, strict=True)
            if definition is not None
        ]


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


@st.composite
def columns(draw: st.DrawFn) -> Column:
    """Draw a column that is usually the same in both tables."""
    name = draw(st.sampled_from(NAMES) | st.just(NAMES[0]))
    if name == ("source", "target"):
        name = ("source", "source") if draw(st.booleans()) else ("target", "target")
    if draw(st.integers(0, 9)) == 0:
        definition = draw(st.sampled_from(GENERATED))
        other = draw(st.sampled_from([definition, definition, None, *GENERATED, "BIGINT NULL"]))
        first, second = draw(st.permutations([definition, other]))
        return Column(name, (first, second), ())
    kind = draw(st.sampled_from(list(TYPES)))
    values = tuple(draw(st.lists(st.sampled_from([*TYPES[kind], "NULL"]), min_size=2, max_size=4)))
    charset = draw(st.sampled_from(CHARSETS)) if kind in TEXTS and draw(st.booleans()) else None
    attributes = draw(_attributes(kind))
    places = draw(st.tuples(PLACES, PLACES)) if draw(st.integers(0, 2)) == 0 else ("", "")
    mine = _definition(kind, charset, attributes) + places[0]
    theirs: str | None = _definition(kind, charset, attributes) + places[1]
    match draw(st.sampled_from(["same"] * 6 + ["absent", "other", "narrower", "attributes", "charset"])):
        case "absent":
            theirs = None
        case "other":
            theirs = _definition(draw(st.sampled_from(list(TYPES))), None, "") + places[1]
        case "narrower" if kind in NARROWER:
            theirs = _definition(NARROWER[kind], charset, attributes.replace(" COMPRESSED", "")) + places[1]
        case "attributes":
            theirs = _definition(kind, charset, draw(_attributes(kind))) + places[1]
        case "charset" if kind in TEXTS:
            theirs = _definition(kind, draw(st.sampled_from(CHARSETS)), attributes) + places[1]
    if "NOT NULL" in f"{mine}{theirs}":
        values = tuple(value for value in values if value != "NULL") or TYPES[kind][:1]
    both = draw(st.permutations([mine, theirs])) if theirs != mine else [mine, theirs]
    return Column(name, (both[0], both[1]), values)


GENERATED = (
    "INT AS (called_count * 2) VIRTUAL",
    "INT AS (called_count * 2) PERSISTENT",
    "VARCHAR(61) AS (CONCAT(first_name, ' ', last_name)) PERSISTENT",
    "VARCHAR(61) AS (CONCAT(first_name, ' ', last_name)) VIRTUAL INVISIBLE",
    "BIGINT AS (lead_id % 7) VIRTUAL",
    "DATE AS (CAST(modify_date AS DATE)) VIRTUAL",
)

PLACES = st.sampled_from(["", " FIRST", " AFTER lead_id", " AFTER phone_number", " AFTER `rank`"])


def _definition(kind: str, charset: tuple[str, str] | None, attributes: str) -> str:
    spelled = f" CHARACTER SET {charset[0]} COLLATE {charset[1]}" if charset else ""
    compressed = " COMPRESSED" if " COMPRESSED" in attributes else ""
    return f"{kind}{spelled}{compressed}{attributes.replace(' COMPRESSED', '')}"


def _attributes(kind: str) -> st.SearchStrategy[str]:
    some = [
        "",
        " NULL",
        " NULL",
        f" NOT NULL DEFAULT {TYPES[kind][-1]}",
        " NOT NULL",
        " INVISIBLE NULL",
        " COMMENT 'it''s, `'",
    ]
    some.append(f" NULL DEFAULT {TYPES[kind][0]}")
    if kind in {"VARCHAR(300)", "VARBINARY(10)"} or kind.endswith(("TEXT", "BLOB")):
        some += [" COMPRESSED", " COMPRESSED"]
    if kind.startswith(("TIMESTAMP", "DATETIME")):
        now = f"CURRENT_TIMESTAMP{'(6)' if '(6)' in kind else '()'}"
        some += [f" NULL ON UPDATE {now}", f" NOT NULL DEFAULT {now} ON UPDATE {now}"]
    if kind.endswith(("INT", "INT UNSIGNED")):
        some.append(" NULL CHECK (`rank` < 100 OR `rank` IS NULL)")
    return st.sampled_from(some)
