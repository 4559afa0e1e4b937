"""Lead ids from a file, as spreadsheets, databases and people write them: read as a stream, and checked to the last line.

A lead that nobody named must never be sent. So an id has only digits, a range is allowed only in a list of plain ids, and a
row of CSV whose cells do not match the column names is an error, not a guess.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator

from lead_archive.errors import UsageError, visible
from lead_archive.spool import Range, Spool

COLUMN = "lead_id"
"""The column that is read if no other is named."""
LARGEST_LEAD_ID = 4294967295
LONGEST_LINE = 1024 * 1024
"""Characters. A longer line is not text; it is not read into memory."""
DIGITS = tuple("0123456789+-")
MOST_ERRORS = 10
"""The number of errors that one message lists."""

# Vicidial writes no leading zeros: a number that has them is a phone number or a code of the user's own. Nor is 12.0 an id:
# a column of decimal numbers holds something else.
_ID = re.compile(r"0|[1-9][0-9]{0,19}")
_RANGE = re.compile(r"(0|[1-9][0-9]{0,19})\s*[-–]\s*(0|[1-9][0-9]{0,19})")  # noqa: RUF001  # a spreadsheet's hyphen
_QUOTED = re.compile(r"""(["'])(.*)\1""")
# A separator that can be part of a number would cut numbers into ids.
_SEPARATOR_LINE = re.compile(r"sep=([,;\t|^~])", re.IGNORECASE)
HOW = "write one lead id a line, such as 4711, or a range, such as 1-1000"

Found = Iterator[tuple[int, Range | str]]
"""The number of a line, and the ids on it, or the error in it."""


def read_ids(stream: io.BufferedReader, name: str, column: str | None, spool: Spool) -> None:
    """Read all ids of a CSV column, or of a list with one id or range a line, into a spool. The stream is closed.

    column: None means lead_id if there are columns. A list has none, so that a name is an error.

    Raises UsageError, which names each wrong line (up to MOST_ERRORS of them), and how to fix it.
    """
    if column is not None and not column.strip():
        raise UsageError("--column is the name of a column, and cannot be empty")
    errors: list[str] = []
    try:
        with _text(stream) as text:
            for line, found in _ranges(text, name, column):
                if isinstance(found, Range):
                    spool.add(*found)
                    continue
                errors.append(f"{name}, line {line}: {found}")
                if len(errors) == MOST_ERRORS:
                    errors.append("there may be more errors further down")
                    break
    except csv.Error as error:
        raise UsageError(f"{name}: {error}") from None
    except UnicodeError:
        raise UsageError(f"{name} is not text: save it as CSV in UTF-8") from None
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror or error}") from None
    if errors:
        raise UsageError("\n".join(errors))
    if not spool.given:
        raise UsageError(f"{name}: there are no lead ids in it; {HOW}")
    spool.merge()


def parse_line(text: str) -> Range | str:
    """Return the ids on a line of a list: one, or a range. Return what is wrong if there are none."""
    plain = text.rstrip(",;").rstrip()  # the separators of empty columns
    if quoted := _QUOTED.fullmatch(plain):
        plain = quoted[2].strip()
    if single := _ID.fullmatch(plain):
        return _range(int(single[0]), int(single[0]))
    if several := _RANGE.fullmatch(plain):
        if plain == text:
            return _range(int(several[1]), int(several[2]))
        return f"{_shown(text)} is not a lead id, and a range stands alone on its line: take quotes and separators away"
    return f"{_shown(text)} is not a lead id: {HOW}; digits only, and no zeros before them"


def parse_cell(text: str, column: str) -> Range | str:
    """Return the one id in a cell of a CSV column. Return what is wrong if it is none: a cell holds no range."""
    if single := _ID.fullmatch(text):
        return _range(int(single[0]), int(single[0]))
    if not text:
        return f"there is no lead id in the column {column}: write one, or take the line out"
    return (
        f"{_shown(text)} in the column {column} is not a lead id: a cell has one id, such as 4711, with digits only and no "
        "zeros before them. If this is another column, name the right one with --column; if it is a range, write a file "
        "of plain ids and ranges, without column names"
    )


def _range(first: int, last: int) -> Range | str:
    if last > LARGEST_LEAD_ID:
        return f"{last} is not a lead id: the largest is {LARGEST_LEAD_ID}"
    if first > last:
        return f"the range {first}-{last} ends before it starts: write {last}-{first}"
    return Range(first, last)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _text(stream: io.BufferedReader) -> io.TextIOWrapper:
    """The stream as text: UTF-8, or UTF-16 if it says so as spreadsheets' "Unicode text" does.

    Ids are ASCII, so the contents and the charset of other columns do not matter.
    """
    start = stream.peek(3)
    encoding = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return io.TextIOWrapper(stream, encoding, errors="strict" if encoding == "utf-16" else "replace", newline="")


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"a line has more than {LONGEST_LINE} characters: is this a text file?")
        yield line


def _ranges(text: io.TextIOWrapper, name: str, column: str | None) -> Found:
    """Yield the ids of each line or row, with the number of its first line."""
    lines = _lines(text)
    delimiters = ",;\t|"
    for number, line in enumerate(lines, 1):
        content = line.strip()
        if separator := _SEPARATOR_LINE.fullmatch(line.strip(" \r\n")):  # spreadsheets write it, to read it themselves
            delimiters = separator[1]
        elif content and not content.startswith("#"):
            if content.strip("\"'")[:1] in DIGITS:
                if column is not None:
                    raise UsageError(
                        f"{name} is a list of ids, without a line of column names, so there is no column {column.strip()}: "
                        "leave out --column, or write the names into the first line"
                    )
                yield from _list(number, line, lines)
            else:
                wanted = (column or COLUMN).strip()
                yield from _table(number, line, lines, delimiters=delimiters, name=name, column=wanted)


def _list(number: int, line: str, lines: Iterator[str]) -> Found:
    """Read one id or range a line, from this line on."""
    while line:
        text = line.strip()
        if text.strip(",;\"' \t") and not text.startswith("#"):
            yield number, parse_line(text)
        number, line = number + 1, next(lines, "")


def _table(number: int, line: str, lines: Iterator[str], *, delimiters: str, name: str, column: str) -> Found:
    """Read the ids in a column of CSV, from the header line on."""

    def names(delimiter: str) -> list[str]:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]

    wanted = column.lower()
    headers = sorted(map(names, delimiters), key=len)
    for delimiter in delimiters:
        found = [cell.lower() for cell in names(delimiter)]
        if wanted in found:
            break
    else:
        columns = visible(", ".join(headers[-1]), 200)
        raise UsageError(
            f"{name}, line {number}: there is no column {column}; the columns are {columns}. Name one with --column"
        )
    if found.count(wanted) > 1:
        raise UsageError(f"{name}, line {number}: the column {column} is there {found.count(wanted)} times")
    place = found.index(wanted)

    of_row: list[str] = []

    def noted() -> Iterator[str]:
        for read in lines:
            of_row.append(read)
            yield read

    reader = csv.reader(noted(), delimiter=delimiter, strict=True)
    try:
        while True:
            of_row.clear()
            line_number = number + reader.line_num + 1  # a quoted cell may have line breaks in it
            row = next(reader, None)
            if row is None:
                return
            if not any(map(str.strip, row)) or of_row[0].lstrip().startswith("#"):
                continue
            while len(row) > len(found) and not row[-1].strip():  # the separators of empty columns
                row.pop()
            if len(row) != len(found):
                # The cell may contain a part of a number, or the rest of another cell.
                yield (
                    line_number,
                    (
                        f"it has {len(row)} cells and the line of column names {len(found)}, so it is not sure which is the "
                        f"id: put cells that hold {delimiter!r}, quotes or line breaks into quotes, and write numbers without "
                        "separators"
                    ),
                )
            else:
                yield line_number, parse_cell(row[place].strip(), column)
    except csv.Error as error:
        raise csv.Error(f"line {line_number}: {error}; is a quotation mark not closed?") from None
