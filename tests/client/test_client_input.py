"""Input of the bulk client: files from spreadsheets, databases and people are checked before the first request."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.client import Client

from lead_archive import spool as spool_module
from lead_archive.errors import UsageError
from lead_archive.ids import read_ids
from lead_archive.spool import Spool

NOWHERE = "http://127.0.0.1:1"
"""A server that no test may reach."""


def read(content: bytes | str, spool: Spool, column: str | None = None) -> None:
    data = content.encode() if isinstance(content, str) else content
    read_ids(io.BufferedReader(io.BytesIO(data)), "leads.csv", column, spool)


def ids(content: bytes | str, column: str | None = None) -> list[int]:
    with Spool() as spool:
        read(content, spool, column)
        return [lead_id for batch in spool.batches(3) for lead_id in batch]


def digest(content: str) -> str:
    with Spool() as spool:
        read(content, spool)
        return spool.digest


def refusal(content: bytes | str) -> str:
    with Spool() as spool, pytest.raises(UsageError) as caught:
        read(content, spool)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1\n2\n3\n", [1, 2, 3]),
        ("1\n2\n3", [1, 2, 3]),
        ("3\n1\n2\n3\n1\n", [1, 2, 3]),
        ("1\r2\r3\r", [1, 2, 3]),
        ("\ufeff1\r\n\r\n  2 \r\n", [1, 2]),
        ("# yesterday's\n1-3\n2-5\n 7 - 9 \n11–12\n", [1, 2, 3, 4, 5, 7, 8, 9, 11, 12]),  # noqa: RUF001
        ("0\n4294967295\n42\n", [0, 42, 4294967295]),
        ("'1'\n\"2\"\n3;\n4,,\n", [1, 2, 3, 4]),
        ("lead_id\n1\n2\n", [1, 2]),
        ("lead_id,name,,\n1,a,,\n2,b,,,,\n", [1, 2]),
        ("name, Lead_ID \nJohn,1\n", [1]),
        ('name;lead_id\r\n"a;b\r\nc";1\r\n;\r\n"";2\r\n', [1, 2]),
        ('"lead_id","reason"\n"1","in use, or not"\n', [1]),
        ("lead_id|x\n1|y\n# 2|y\n3|y\n", [1, 3]),
        ('name,lead_id\n#N/A,1\n"#1 VIP",2\n"of two\n# lines",3\n', [2, 3]),
        ("sep=;\nlead_id;name\n1;a,b\n", [1]),
        ("lead_id\tname\r\n1\tJosé\r\n".encode("utf-16"), [1]),
        ("name,lead_id\nJosé,1\n".encode("latin-1"), [1]),
        ("name,lead_id\n" + "".join(f"x,{lead_id}\n" for lead_id in range(9)), list(range(9))),
    ],
)
def test_files_of_every_supported_format_are_read(content: bytes | str, expected: list[int]) -> None:
    assert ids(content) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "leads.csv: there are no lead ids in it; write one lead id a line"),
        ("\n# none\n", "leads.csv: there are no lead ids in it; write one lead id a line"),
        ("lead_id\n", "leads.csv: there are no lead ids in it; write one lead id a line"),
        ("1\n\nabc\n", "leads.csv, line 3: 'abc' is not a lead id: write one lead id a line, such as 4711, or a range"),
        ("1\n-2\n", "leads.csv, line 2: '-2' is not a lead id"),
        ("-2\n", "leads.csv, line 1: '-2' is not a lead id"),
        ("1,2,3\n", "leads.csv, line 1: '1,2,3' is not a lead id"),
        ("1.000\n", "leads.csv, line 1: '1.000' is not a lead id"),
        ('1\n"2\n', "leads.csv, line 2: '\"2' is not a lead id"),
        ('1\n"555-1234"\n', "leads.csv, line 2: '\"555-1234\"' is not a lead id, and a range stands alone on its line"),
        ("555-1234;;\n", "leads.csv, line 1: '555-1234;;' is not a lead id, and a range stands alone on its line"),
        ("4.29E+09\n", "leads.csv, line 1: '4.29E+09' is not a lead id"),
        ("٤\n", "leads.csv, line 1: there is no column lead_id; the columns are ٤. Name one with --column"),
        ("4294967296\n", "leads.csv, line 1: 4294967296 is not a lead id: the largest is 4294967295"),
        ("9-1\n", "leads.csv, line 1: the range 9-1 ends before it starts: write 1-9"),
        ("name,id\na,1\n", "leads.csv, line 1: there is no column lead_id; the columns are name, id. Name one with --column"),
        ("lead_id,LEAD_ID\n1,2\n", "leads.csv, line 1: the column lead_id is there 2 times"),
        ('lead_id,name\n1,"a\nb"\n,c\n', "leads.csv, line 4: there is no lead id in the column lead_id: write one, or take"),
        ("name,lead_id\na\n", "leads.csv, line 2: it has 1 cells and the line of column names 2"),
        ('lead_id,name\n1,"a\n2,b\n', "leads.csv: line 2: unexpected end of data; is a quotation mark not closed?"),
        ("x" * 2**20, "leads.csv: a line has more than 1048576 characters: is this a text file?"),
        (b"\xff\xfe1\x00\n\x00\x00\xd8", "leads.csv is not text: save it as CSV in UTF-8"),
    ],
)
def test_what_is_refused_names_the_line_and_what_to_do(content: bytes | str, message: str) -> None:
    assert message in refusal(content)


@pytest.mark.parametrize(
    "cell",
    [
        *("555-1234", "1-3", "1 - 3", "11–12", "2024-01-01", "01-2024", "555 1234", "555.1234", "(555)1234"),  # noqa: RUF001
        *("0301234567", "00", "007", "12.0", "12.", "1e3", "1E3", "+5", "-5", "0x10", "0b1", "1_000", "1'000", "1.234.567"),
        *("1,234", "12:30", "5%", "$5", "=5", "5h", "٤", "²", "1\u00a0234", "1\x00", "NULL", "\\N", "nan", "-", "*"),
    ],
)
def test_a_cell_of_csv_is_digits_or_it_is_refused(cell: str) -> None:
    said = refusal(f'phone,lead_id\nx,1\nx,"{cell}"\n')

    assert f"leads.csv, line 3: {cell!r} in the column lead_id is not a lead id: a cell has one id, such as 4711" in said
    assert "name the right one with --column" in said
    assert "leads.csv, line 2" in refusal(f'lead_id\n"{cell}"\n')
    assert "leads.csv, line 2" in refusal(f"lead_id;x\n{cell};y\n")


@pytest.mark.parametrize(
    "line", ["12.0", "1e3", "+5", "0x10", "1_000", "1,234", "007", "01-2024", "1-07", "2024-01-01", "1 2"]
)
def test_a_line_of_a_list_is_an_id_or_a_range_or_it_is_refused(line: str) -> None:
    assert f"leads.csv, line 2: {line!r} is not a lead id" in refusal(f"1\n{line}\n")


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        ("lead_id\n1,234\n", 2),  # a thousands separator, not lead 1
        ("lead_id,name\n1,234,Ana\n", 3),
        ("name,lead_id\nLee, Ana,17\n", 3),  # without quotes, the comma shifts all other cells
        ("name,lead_id,comments\nAna,17,called\nthem,4711\n", 2),  # without quotes, a line break begins another row
        ("lead_id,comments\n17,called\n4711\n", 1),
    ],
)
def test_a_row_that_does_not_fit_the_column_names_is_refused(content: str, cells: int) -> None:
    said = refusal(content)

    assert f"line {content.count(chr(10))}: it has {cells} cells and the line of column names" in said
    assert "so it is not sure which is the id: put cells that hold" in said


@pytest.mark.parametrize("separator", ["1", "-", ".", "x", " "])
def test_a_separator_that_cuts_numbers_into_ids_is_none(separator: str) -> None:
    said = refusal(f"sep={separator}\nlead_id{separator}name\n555{separator}234\n")

    assert "leads.csv, line 1: there is no column lead_id" in said


def test_an_empty_column_name_is_no_column() -> None:
    with pytest.raises(UsageError, match="--column is the name of a column"):
        ids("name,\nx,1\n", " ")


def test_column_names_the_column_that_is_read() -> None:
    assert ids("lead_id,id\n1,2\n", "ID") == [2]
    assert ids("lead_id,id\n1,2\n", "lead_id") == [1]


@pytest.mark.parametrize("content", ["1\n2\n", "# comment\n\n17\n", "1-3\n"])
def test_a_column_of_a_file_without_columns_is_an_error(content: str) -> None:
    for column in ("customer", "lead_id"):
        with pytest.raises(
            UsageError, match=f"leads.csv is a list of ids, .* so there is no column {column}: leave out --column"
        ):
            ids(content, column)


def test_several_errors_are_told_at_once_but_not_thousands() -> None:
    errors = refusal("1\n" + "x\n" * 1_000).splitlines()

    assert errors[0].startswith("leads.csv, line 2: ")
    assert errors[9].startswith("leads.csv, line 11: ")
    assert errors[10:] == ["there may be more errors further down"]


@given(ranges=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), min_size=1), size=st.integers(1, 9))
def test_whatever_is_added_comes_out_sorted_and_once(ranges: list[tuple[int, int]], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "RUN", 3)
        patch.setattr(spool_module, "BLOCK", 2)
        with Spool() as spool:
            for first, more in ranges:
                spool.add(first, first + more)
            spool.merge()
            batches = list(spool.batches(size))
    expected = sorted({lead_id for first, more in ranges for lead_id in range(first, first + more + 1)})

    assert [lead_id for batch in batches for lead_id in batch] == expected
    assert {len(batch) for batch in batches[:-1]} <= {size}
    assert 0 < len(batches[-1]) <= size
    assert (spool.count, spool.given) == (len(expected), sum(more + 1 for _, more in ranges))


def test_the_same_ids_have_the_same_digest() -> None:
    assert digest("1-3\n5\n") == digest("lead_id\n5\n3\n2\n1\n") != digest("1-4\n")


PEAK = """
from lead_archive.cli import main
try:
    main()
finally:
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(line.split()[1])
"""
"""A program that runs the command and prints its peak memory in KiB. wait4() would include the parent's memory."""


def peak_memory(client: Client, file: str) -> int:
    """Return the peak memory in KiB of a client that reads a file and finds no server."""
    arguments = ["archive", file, "--quiet", "--retry-for", "0", "--start-over"]
    result = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments],
        cwd=client.folder,
        env=client.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 3, result.stderr
    return int(result.stdout.splitlines()[-1])


def test_300_000_ids_take_no_more_memory_than_ten(tmp_path: Path) -> None:
    shuffled = list(range(1, 600_000, 2))
    random.Random(1).shuffle(shuffled)
    client = Client(tmp_path, NOWHERE)
    few = peak_memory(client, client.write("ten", "lead_id", *shuffled[:10]))
    many = peak_memory(client, client.write("many", "lead_id", *shuffled))

    # As a list of integers, 300,000 ids are 10 MiB.
    assert many < few + 4 * 1024
