"""The rules file of the bulk client: what it may contain, and that each error is reported with its rule and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.client import Client
from support.paths import ROOT

from lead_archive.conditions import CONDITIONS
from lead_archive.errors import UsageError
from lead_archive.rules import Rule, read_rules

NOWHERE = "http://127.0.0.1:1"
"""A server that no test may reach."""
RULE = '[[rules]]\nname = "a"\nwhere = {statuses = ["NA"]}\n'


def read(folder: Path, content: str | bytes) -> list[Rule]:
    path = folder / "rules.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_rules(path)


def errors(folder: Path, content: str | bytes) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(folder, content)
    return [line.removeprefix(f"{folder}/rules.toml").removeprefix(": ") for line in str(caught.value).splitlines()]


def test_every_condition_and_key_is_understood(tmp_path: Path) -> None:
    rules = read(
        tmp_path,
        """
        # A comment
        [[rules]]
        name = "dead after 30 days"
        at_most = 20_000
        [rules.where]
        statuses = ["B", "DC"]
        not_statuses = ["DNC"]
        called_at_least_days_ago = 30
        entered_at_least_days_ago = 1
        called_count_at_least = 0
        list_active = true

        [[rules]]
        name = "back"
        operation = "dearchive"
        where = { list_ids = [101], campaign_ids = ["X"], entered_before = 2026-01-31, called_before = 2026-01-31T18:00:00,
          never_called = false }

        [[rules]]
        name = "text"
        operation = "archive"
        where.called_before = "2026-01-31T18:00:00"
        """.replace(",\n          never", ", never"),
    )

    first = {
        "statuses": ["B", "DC"],
        "not_statuses": ["DNC"],
        "called_at_least_days_ago": 30,
        "entered_at_least_days_ago": 1,
        "called_count_at_least": 0,
        "list_active": True,
    }
    second = {
        "list_ids": [101],
        "campaign_ids": ["X"],
        "entered_before": "2026-01-31",
        "called_before": "2026-01-31T18:00:00",
        "never_called": False,
    }
    assert rules == [
        Rule("dead after 30 days", first, "archive", 20_000),
        Rule("back", second, "dearchive", None),
        Rule("text", {"called_before": "2026-01-31T18:00:00"}),
    ]
    assert {*first, *second} == set(CONDITIONS)


WRONG: list[tuple[str | bytes, str]] = [
    ("", "there are no rules in it: write each as [[rules]] with name"),
    ("rules = []", "there are no rules in it"),
    ("rules = 1", "there are no rules in it"),
    ("[rules]\nname = 'a'", "there are no rules in it: write each as [[rules]]"),
    ("rules = [1]", "there are no rules in it"),
    ("[[rule]]\nname = 'a'", "there is no key rule; the keys are rules"),
    (RULE + "\n[other]", "there is no key other; the keys are rules"),
    ("[[rules]\n", "is not TOML: "),
    ("[[rules]]\nname = 'a'\nname = 'b'", "is not TOML: Cannot overwrite a value"),
    (b"name = '\xff'", "is not UTF-8"),
    ("[[rules]]\nwhere = {list_ids = [1]}", "rule 1: it has no name"),
    *(
        (f"[[rules]]\nname = {name}\nwhere = {{list_ids = [1]}}", "rule 1, name: ")
        for name in ("''", "' '", "1", "true", "['a']", f"'{'x' * 61}'", '"a\\u001b[2J"')
    ),
    (RULE + RULE, 'rule 2, name: rule 1 is called "a" too: give each its own name'),
    (RULE + "at_most = 0", "rule 1 (a), at_most: 0 is not an integer from 1 to"),
    (RULE + "at_most = -1", "rule 1 (a), at_most: -1 is not an integer"),
    (RULE + "at_most = true", "rule 1 (a), at_most: true is not an integer"),
    (RULE + "at_most = 10.0", "rule 1 (a), at_most: 10.0 is not an integer"),
    (RULE + "at_most = '10'", 'rule 1 (a), at_most: "10" is not an integer'),
    (RULE + "at_most = 99999999999999999999", "rule 1 (a), at_most: "),
    (RULE + "operation = 'delete'", 'rule 1 (a), operation: "delete" is none; the operations are archive, dearchive'),
    (RULE + "operation = ['archive']", 'rule 1 (a), operation: ["archive"] is none'),
    (RULE + "atmost = 10", "rule 1 (a): there is no key atmost; the keys are name, where, at_most, operation"),
    (RULE + "statuses = ['B']", "rule 1 (a): there is no key statuses; the keys are name, where"),
    (
        "[[rules]]\nname = 'a'",
        "rule 1 (a): it has no conditions: write at least one into its table [rules.where]. They are list_ids",
    ),
    ("[[rules]]\nname = 'a'\nwhere = {}", "rule 1 (a): it has no conditions"),
    ("[[rules]]\nname = 'a'\nwhere = 'x'", "rule 1 (a): it has no conditions"),
    ("[[rules]]\nname = 'a'\n[[rules.where]]\nlist_ids = [1]", "rule 1 (a): it has no conditions"),
    (
        "[[rules]]\nname = 'a'\nwhere = {status = 'B'}",
        "rule 1 (a), where: there is no condition status; the conditions are list_ids, ",
    ),
]


@pytest.mark.parametrize(("content", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_a_file_that_cannot_be_understood_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    told = errors(tmp_path, content)

    assert any(line.lstrip(" ").startswith(message) for line in told), told
    assert all(line.isprintable() and len(line) < 500 for line in told)


WRONG_VALUES: dict[str, list[tuple[str, str]]] = {
    "list_ids": [
        ("101", "101 is not an array of integers, such as [101, 102]"),
        ("[]", "it has 0 values: an array of 1 to 1000 is needed"),
        (str(list(range(1001))), "it has 1001 values: an array of 1 to 1000 is needed"),
        ("['101']", '"101" is not the number of a list'),
        ("[101.0]", "101.0 is not the number of a list"),
        ("[true]", "true is not the number of a list"),
        ("[-1]", "-1 is not the number of a list"),
        ("[9007199254740992]", "9007199254740992 is not the number of a list"),
        ("[1, 2, 1]", "1 is given twice"),
    ],
    "statuses": [
        ("'NA'", '"NA" is not an array of strings, such as ["NA", "B"]'),
        ("[1]", "1 is not a string: write it in quotes"),
        ("['NA,B']", '"NA,B" is not one name: write each by itself'),
        ("[' NA']", '" NA" is not one name'),
        ("['NA', 'NA']", '"NA" is given twice'),
        (str(["x"] * 101), "it has 101 values: an array of 1 to 100 is needed"),
    ],
    "campaign_ids": [("['A B', 'C,D']", '"C,D" is not one name')],
    "not_statuses": [("{}", "{} is not an array of strings")],
    "list_active": [("'Y'", '"Y" is not a boolean: write true or false'), ("1", "1 is not a boolean")],
    "never_called": [("0", "0 is not a boolean")],
    "entered_before": [
        ("20260131", "20260131 is not a time: write a date, such as 2026-01-31"),
        ("'yesterday'", '"yesterday" is not a time'),
        ("'2026-02-30'", "2026-02-30 is not in the calendar"),
        ("2026-01-31T18:00:00Z", "2026-01-31T18:00:00+00:00 has a time zone or fractions of a second"),
        ("2026-01-31T18:00:00.5", "2026-01-31T18:00:00.500000 has a time zone or fractions of a second"),
        ("18:00:00", '"18:00:00" is not a time'),
        ("0999-01-01", '"0999-01-01" is not a time'),
    ],
    "called_before": [("['2026-01-31']", '["2026-01-31"] is not a time')],
    "entered_at_least_days_ago": [("0", "0 is not an integer from 1 to 36500"), ("'30'", '"30" is not an integer')],
    "called_at_least_days_ago": [("36501", "36501 is not an integer from 1 to 36500"), ("1.5", "1.5 is not an integer")],
    "called_count_at_least": [("-1", "-1 is not an integer from 0 to 65535"), ("true", "true is not an integer")],
}


@pytest.mark.parametrize(("name", "values"), WRONG_VALUES.items())
def test_a_wrong_value_is_refused_with_rule_and_condition(tmp_path: Path, name: str, values: list[tuple[str, str]]) -> None:
    for value, message in values:
        (told,) = errors(tmp_path, f"[[rules]]\nname = 'a'\n[rules.where]\n{name} = {value}\n")
        assert told.startswith(f"rule 1 (a), where.{name}: {message}")


def test_all_errors_are_told_at_once_and_nothing_is_sent(tmp_path: Path) -> None:
    assert set(WRONG_VALUES) == set(CONDITIONS)
    content: list[Any] = ["[[rules]]", "at_most = 0", "[rules.where]", "statuses = 'NA'", "never_called = 1"]
    content += ["[[rules]]", "name = 'b'", "colour = 'red'", "operation = 1", "[rules.where]", "age = 5"]
    client = Client(tmp_path, NOWHERE)

    result = client.invoke("run", client.write("rules.toml", *content))

    assert (result.status, result.output) == (2, "")
    assert [line.removeprefix("error: rules.toml: ").split(": ")[0] for line in result.errors.splitlines()] == [
        "rule 1",
        "rule 1, at_most",
        "rule 1, where.statuses",
        "rule 1, where.never_called",
        "rule 2 (b)",
        "rule 2 (b), operation",
        "rule 2 (b), where",
    ]
    assert client.invoke("run", "nofile").errors == "error: cannot read nofile: No such file or directory\n"
    assert client.invoke("run", "rules.toml", "--until", "25:00").status == 2
    assert client.invoke("run").status == 2


def test_the_rules_that_are_shipped_can_be_read() -> None:
    rules = read_rules(ROOT / "deploy/rules.example.toml")

    assert [rule.operation for rule in rules] == ["archive"] * len(rules)
    assert all(rule.at_most for rule in rules)
