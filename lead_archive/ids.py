"""Lead ids from a file, as spreadsheets, databases and people write them: read as a stream, and checked to the last line."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator

from lead_archive.errors import UsageError
from lead_archive.spool import Range, Spool

LARGEST_LEAD_ID = 4294967295
LONGEST_LINE = 1024 * 1024
"""Characters. A longer line is no line of text, and is not read into memory."""
DIGITS = tuple("0123456789+-")
MOST_ERRORS = 10
"""Errors that are told at once."""

# One id, or two with a dash between them. A spreadsheet that took the column for decimal numbers adds ".0"; more zeros
# could as well be thousands, so they are not understood.
_ID = re.compile(r"([0-9]{1,20})(?:\.0)?")
_RANGE = re.compile(r"([0-9]{1,20})\s*[-–]\s*([0-9]{1,20})")  # noqa: RUF001  # the dash that spreadsheets make of a hyphen
_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)
HOW = "write one lead id a line, such as 4711, or a range, such as 1-1000"


def read_ids(stream: io.BufferedReader, name: str, column: str, spool: Spool) -> None:
    """Read all ids of a CSV column, or of a list with one id or range a line, into a spool. The stream is closed.

    Raises UsageError, which names each wrong line (up to MOST_ERRORS of them), and how to mend it.
    """
    errors: list[str] = []
    try:
        with _text(stream) as text:
            for line, value in _values(text, name, column):
                try:
                    spool.add(*parse(value))
                except ValueError as error:
                    errors.append(f"{name}, line {line}: {error}")
                    if len(errors) == MOST_ERRORS:
                        errors.append("there may be more errors further down")
                        break
    except csv.Error as error:
        raise UsageError(f"{name}: {error}") from None
    except UnicodeError:
        raise UsageError(f"{name} is not text: save it as CSV in UTF-8") from None
    if errors:
        raise UsageError("\n".join(errors))
    if not spool.given:
        raise UsageError(f"{name}: there are no lead ids in it; {HOW}")
    spool.merge()


def parse(text: str) -> Range:
    """One id or a range, from the first to the last. Raises ValueError, which says how to write it."""
    if single := _ID.fullmatch(text):
        first = last = int(single[1])
    elif several := _RANGE.fullmatch(text):
        first, last = int(several[1]), int(several[2])
    elif not text:
        raise ValueError(f"there is no lead id: {HOW}, or take the line out")
    else:
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise ValueError(f"{shown!r} is not a lead id: {HOW}")
    if last > LARGEST_LEAD_ID:
        raise ValueError(f"{last} is not a lead id: the largest is {LARGEST_LEAD_ID}")
    if first > last:
        raise ValueError(f"the range {text} ends before it starts: write {last}-{first}")
    return Range(first, last)


def _text(stream: io.BufferedReader) -> io.TextIOWrapper:
    """The stream as text: UTF-8, or UTF-16 if it says so as spreadsheets' "Unicode text" does.

    Ids are ASCII, so whatever else is in other columns, in whatever charset, is none of our business.
    """
    start = stream.peek(3)
    encoding = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return io.TextIOWrapper(stream, encoding, errors="strict" if encoding == "utf-16" else "replace", newline="")


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"a line has more than {LONGEST_LINE} characters: is this a text file?")
        yield line


def _values(text: io.TextIOWrapper, name: str, column: str) -> Iterator[tuple[int, str]]:
    """Each value with the number of the line that it starts on."""
    lines = _lines(text)
    delimiters = ",;\t|"
    for number, line in enumerate(lines, 1):
        content = line.strip()
        if separator := _SEPARATOR_LINE.fullmatch(content):  # spreadsheets write it, to read it themselves
            delimiters = separator[1]
        elif content and not content.startswith("#"):
            if content.strip("\"'")[:1] in DIGITS:
                yield from _list(number, line, lines)
            else:
                yield from _table(number, line, lines, delimiters=delimiters, name=name, column=column)


def _list(number: int, line: str, lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    """One value a line, from a line on."""
    while line:
        # What is saved as CSV may be quoted, and end with the separators of empty columns.
        value = line.strip().rstrip(",;").strip("\"' \t")
        if value and not value.startswith("#"):
            yield number, value
        number, line = number + 1, next(lines, "")


def _table(
    number: int, line: str, lines: Iterator[str], *, delimiters: str, name: str, column: str
) -> Iterator[tuple[int, str]]:
    """The values of a column of CSV, from the line with the columns' names on."""

    def names(delimiter: str) -> list[str]:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]

    wanted = column.strip().lower()
    headers = sorted(map(names, delimiters), key=len)
    for delimiter in delimiters:
        found = [cell.lower() for cell in names(delimiter)]
        if wanted in found:
            break
    else:
        columns = ", ".join(headers[-1])[:200]
        raise UsageError(
            f"{name}, line {number}: there is no column {column}; the columns are {columns}. Name one with --column"
        )
    if found.count(wanted) > 1:
        raise UsageError(f"{name}, line {number}: the column {column} is there {found.count(wanted)} times")
    place = found.index(wanted)

    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        while True:
            line_number = number + reader.line_num + 1  # a quoted cell may have line breaks in it
            row = next(reader, None)
            if row is None:
                return
            if not any(map(str.strip, row)) or row[0].lstrip().startswith("#"):
                continue
            yield line_number, row[place].strip() if place < len(row) else ""
    except csv.Error as error:
        raise csv.Error(f"line {line_number}: {error}; is a quotation mark not closed?") from None
