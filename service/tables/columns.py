"""A column, and its definition in SQL for the statement that adds it to the other table."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from service.database.statements import identifier

TEXT = re.compile(r"('(?:[^']|'')*')")
"""A quoted text in a definition: a default, a comment, or a member of an ENUM or SET. Nothing in it is a keyword."""

TYPE = re.compile(r" \w+(?:\((?:'(?:[^']|'')*'|[^')])*\))?")
"""The type at the beginning of a definition. The members of an ENUM may contain brackets."""


@dataclass(frozen=True)
class Column:
    """A column as information_schema and SHOW CREATE TABLE describe it."""

    name: str
    data_type: str
    column_type: str
    charset: str | None
    collation: str | None
    expression: str | None
    """The expression of a generated column; ROW START or ROW END in a system-versioned table."""
    auto_increment: bool
    privileges: frozenset[str]
    """What the account may do with it: select, insert, update."""
    definition: str

    @property
    def generated(self) -> bool:
        return self.expression is not None

    @property
    def members(self) -> list[str]:
        """Return the members of an ENUM or SET, quoted as in SQL."""
        return TEXT.findall(self.column_type) if self.data_type in {"enum", "set"} else []

    @property
    def attributes(self) -> str:
        """Return the definition for another table, without the name: with the charset, since that table's default may differ,
        and without AUTO_INCREMENT."""
        attributes = self.definition.removeprefix(identifier(self.name))
        if self.auto_increment:
            attributes = outside_texts(attributes, lambda part: part.replace(" AUTO_INCREMENT", ""))
        typed = TYPE.match(attributes)
        assert typed is not None, self.definition
        if self.charset is None:
            return attributes
        charset = f" CHARACTER SET {self.charset}"
        charset += f" COLLATE {self.collation}" if self.charset != "binary" else ""  # it has one; MariaDB 10.5 takes no name
        rest = outside_texts(attributes[typed.end() :], lambda part: re.sub(r" (CHARACTER SET|COLLATE) \w+", "", part))
        return attributes[: typed.end()] + charset + rest

    @property
    def full_definition(self) -> str:
        """Return the definition for another table."""
        return identifier(self.name) + self.attributes

    def with_type(self, column_type: str) -> str:
        """Return the definition for its own table with another type. Everything else stays, such as AUTO_INCREMENT and the
        default."""
        attributes = self.definition.removeprefix(identifier(self.name))
        typed = TYPE.match(attributes)
        assert typed is not None, self.definition
        rest = re.sub(r"^( unsigned| zerofill| CHARACTER SET \w+| COLLATE \w+)+", "", attributes[typed.end() :])
        return f"{identifier(self.name)} {column_type}{rest}"


def outside_texts(definition: str, change: Callable[[str], str]) -> str:
    """Return a definition with `change` applied to everything but quoted texts."""
    return "".join(part if number % 2 else change(part) for number, part in enumerate(TEXT.split(definition)))
