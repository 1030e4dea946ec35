"""Hostile values for a hook's placeholders: each is one argument or nothing, never an option, never the program."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Cli, cli

__all__ = ["cli"]

TEMPLATE = ("echo", "{tool_input.file_path}", "last")

# What comes of each: the argument, or None where no job is made.
VALUES: dict[str, tuple[Any, str | None]] = {
    "an option": ("-rf", None),
    "a long option": ("--output=/etc/x", None),
    "one dash": ("-", None),
    "two dashes": ("--", None),
    "an option behind a NUL": ("\0-rf", None),
    "a NUL": ("a\0b", None),
    "half a surrogate pair": ("\ud800", None),
    "the other half": ("a\udfffb", None),
    "very much": ("x" * 200_000, None),
    "a line break": ("a\n-rf", "a\n-rf"),
    "a line break before an option": ("\n-rf", "\n-rf"),
    "a blank before an option": (" -rf", " -rf"),
    "blanks": ("a b  c", "a b  c"),
    "quotes": ("a' \"b", "a' \"b"),
    "a shell's signs": ("$(touch x); `id` | x > y & z", "$(touch x); `id` | x > y & z"),
    "braces": ("{session_id}", "{session_id}"),
    "braces in braces": ("{{session_id}}", "{{session_id}}"),
    "braces left open": ("{tool_input.file_path", "{tool_input.file_path"),
    "a way up": ("../../etc/passwd", "../../etc/passwd"),
    "an absolute path": ("/etc/passwd", "/etc/passwd"),
    "a file of arguments": ("@/etc/passwd", "@/etc/passwd"),
    "a list": (["-rf", "/"], '["-rf","/"]'),
    "a list within": ([["--", "-x"]], '[["--","-x"]]'),
    "an object": ({"-rf": "/"}, '{"-rf":"/"}'),
    "nothing": (None, "null"),
    "a number": (12, "12"),
    "a negative number": (-12, None),
    "a large number": (10**30, str(10**30)),
    "a fraction": (-0.5, None),
    "true": (True, "true"),
    "an empty text": ("", ""),
    "an invisible character": ("\u202e\u200b-rf", "\u202e\u200b-rf"),
    "an escape sequence": ("\x1b[2J-rf", "\x1b[2J-rf"),
    "a dash that is none": ("\u2013rf", "\u2013rf"),
    "a line separator": ("a\u2028-rf", "a\u2028-rf"),
    "a variable": ("LD_PRELOAD=/x.so", "LD_PRELOAD=/x.so"),
    "another verb's option": ("--env", None),
}


@pytest.mark.parametrize("what", VALUES)
def test_a_value_is_exactly_one_argument_or_there_is_no_job(cli: Cli, what: str) -> None:
    value, expected = VALUES[what]
    payload = json.dumps({"session_id": "s1", "tool_input": {"file_path": value}}).encode()
    ran = cli("hook", "--", *TEMPLATE, stdin=payload)
    assert ran.out == ""
    if expected is None:
        assert (ran.code, cli.stored()) == (1, 0)
        assert ran.err.startswith("runq: ")
        assert ran.err.count("\n") == 1
        assert len(ran.err) < 1000
    else:
        assert (ran.code, ran.err) == (0, "")
        assert cli.job(1)["argv"] == ["echo", expected, "last"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("{tool_input.file_path}", "x"), 1),
        (("./{tool_input.file_path}",), 1),
        (("echo", "{tool_input.nothing}"), 1),
        (("echo", "{tool_input}"), 0),
        (("echo", "{}", "{ }", "{a b}"), 0),
        (("echo", "{tool_input.file_path.x}"), 1),
        (("echo", "{__class__}"), 1),
        (("echo", "{tool_input.__class__}"), 1),
        (("echo", "{tool_input.0}"), 1),
    ],
)
def test_a_template_reaches_nothing_but_what_the_payload_says(cli: Cli, words: tuple[str, ...], code: int) -> None:
    payload = b'{"session_id": "s1", "tool_input": {"file_path": "sh"}}'
    ran = cli("hook", "--", *words, stdin=payload)
    assert (ran.code, ran.out) == (code, "")
    assert cli.stored() == 1 - code


def test_where_the_template_says_so_an_option_is_an_operand(cli: Cli) -> None:
    payload = b'{"tool_input": {"file_path": "-rf"}}'
    cli.ok("hook", "--", "echo", "--", "{tool_input.file_path}", stdin=payload)
    cli.ok("hook", "--", "echo", "file={tool_input.file_path}", stdin=payload)
    assert [cli.job(number)["argv"][-1] for number in (1, 2)] == ["-rf", "file=-rf"]
