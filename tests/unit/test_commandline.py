"""kwargs as flags, and a command line's words."""

from __future__ import annotations

from typing import Any

import pytest

from queue_core.commandline import flags, split
from queue_core.errors import InvalidJob


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({}, ()),
        ({"flag": "value"}, ("--flag", "value")),
        ({"flag": True}, ("--flag",)),
        ({"flag": False}, ()),
        ({"flag": None}, ()),
        ({"flag": ["a", "b"]}, ("--flag", "a", "--flag", "b")),
        ({"flag": []}, ()),
        ({"flag": ["a", None, True]}, ("--flag", "a", "--flag")),
        ({"dry_run": True}, ("--dry-run",)),
        ({"n": 5, "x": 1.5}, ("--n", "5", "--x", "1.5")),
        ({"o": {"a": 1}}, ("--o", '{"a":1}')),
        ({"text": ""}, ("--text", "")),
        ({"text": "a b"}, ("--text", "a b")),
        ({"text": "ü"}, ("--text", "ü")),
    ],
)
def test_each_kind_of_value_has_its_flag(kwargs: dict[str, Any], words: tuple[str, ...]) -> None:
    assert flags(kwargs) == words


@pytest.mark.parametrize("value", ["-rf", "--", "-", -5])
def test_a_value_that_looks_like_an_option_cannot_become_one(value: Any) -> None:
    assert flags({"path": value}) == (f"--path={value}",)


@pytest.mark.parametrize("name", ["", "a b", "a=b", "ä", "_", "a;b", "-", "\n"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidJob, match="is no keyword"):
        flags({name: 1})


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidJob, match="x"):
        flags({"x": float("nan")})


def test_a_command_line_is_split_at_its_blanks_and_quotes() -> None:
    assert split("a 'b c' \"d\" e\\ f #g") == ("a", "b c", "d", "e f", "#g")
