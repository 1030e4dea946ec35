"""Codex: a table of `config.toml`, the user's or a project's (which Codex reads in projects that it trusts).

The table goes to the end, where it belongs to none of the user's, and is cut out again as text. (tomlkit takes comments
that follow a table for a part of it, and moves blank lines.) Whatever the layout: that the file then means what it
should, and nothing else, is checked by reading it anew, and a file for which that fails is left alone.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from contextlib import contextmanager

from queue_core.clients.change import Part
from queue_core.clients.files import Target
from queue_core.clients.json_part import is_ours, refuse_foreign
from queue_core.clients.json_tree import as_object
from queue_core.clients.places import Programs, absolute, in_project, user_folder
from queue_core.errors import QueueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from typing import Any

TOOL_TIMEOUT = 60  # seconds; a tool of runq's answers within 55
SERVERS = "mcp_servers"
_HEADER = re.compile(
    r"""^[ \t]*\[mcp_servers\.(?:runq|"runq")(?:\.[^\]\n]*)?\][ \t\r]*(?:#[^\n]*)?(?:\n|\Z)""", re.MULTILINE
)
_LONG_NUMBER = re.compile(r"[0-9][0-9_]{4300}")
_NEXT_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_TAIL = re.compile(r"(?:^[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z))+\Z", re.MULTILINE)  # blank lines and comments at an end
_COMMAND = re.compile(r"""^([ \t]*command[ \t]*=[ \t]*)("[^"\n]*"|'[^'\n]*')""", re.MULTILINE)


def parts(environ: Mapping[str, str], project: str | None, programs: Programs) -> list[Part]:
    """What runq has in Codex's files."""
    if project is not None:
        target = in_project(project, ".codex", "config.toml")
    else:
        folder = absolute("CODEX_HOME", environ) or user_folder(environ) + "/.codex"
        target = Target(path=os.path.join(folder, "config.toml"), private=True)
    entry: dict[str, Any] = {"command": programs.server, "args": [], "tool_timeout_sec": TOOL_TIMEOUT}

    def insert(text: str) -> list[str]:
        with _errors_of(target):
            return _with_server(target, text, entry)

    def gist(text: str) -> str:
        with _errors_of(target):
            return f"[{SERVERS}.runq]\n" if "runq" in as_object(_read(text).get(SERVERS)) else ""

    def withdraw(text: str, before: str | None) -> list[str]:
        with _errors_of(target):
            return _without_server(target, text, before)

    return [Part(target=target, empty="", insert=insert, gist=gist, withdraw=withdraw, has_nothing=_has_nothing)]


def _has_nothing(text: str) -> bool:
    return not text.strip()


@contextmanager
def _errors_of(target: Target) -> Generator[None]:
    try:
        yield
    except tomllib.TOMLDecodeError as error:
        raise QueueError(f"{target.path} is not valid TOML: {error}; mend it there, nothing was changed") from None
    except RecursionError:
        raise QueueError(f"{target.path} is nested too deeply; mend it there, nothing was changed") from None


def _read(text: str) -> dict[str, Any]:
    """What a file says, with its floats as they are written: no nan is equal to another. TOMLDecodeError."""
    try:
        return tomllib.loads(text, parse_float=lambda written: ("float", written))
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # more digits than Python reads in one number
        found = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, found.start() if found else 0) + 1
        raise tomllib.TOMLDecodeError(f"a number of too many digits (at line {line})") from None


def _with_server(target: Target, text: str, entry: Mapping[str, Any]) -> list[str]:
    wanted = _read(text)
    servers = as_object(wanted.setdefault(SERVERS, {}))
    if (there := servers.get("runq")) is None:
        servers["runq"] = dict(entry)
        return [_checked(target, _appended(text, entry), wanted)]
    refuse_foreign(target, there, entry)
    if there["command"] == entry["command"]:
        return []
    there["command"] = entry["command"]
    return [_checked(target, _with_command(text, entry["command"]), wanted)]


def _appended(text: str, entry: Mapping[str, Any]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = [f"[{SERVERS}.runq]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items())]
    before = "" if not text else newline if text.endswith("\n") else newline * 2
    return text + before + newline.join(lines) + newline


def _with_command(text: str, command: str) -> str:
    for start, end in _tables(text):
        table, count = _COMMAND.subn(lambda found: found[1] + json.dumps(command, ensure_ascii=False), text[start:end])
        if count:
            return text[:start] + table + text[end:]
    return text


def _without_server(target: Target, text: str, before: str | None) -> list[str]:
    wanted, known = _read(text), _read(before or "")
    servers = as_object(wanted.get(SERVERS))
    if not is_ours(servers.get("runq")) or "runq" in as_object(known.get(SERVERS)):
        return []
    del servers["runq"]
    stages: list[str] = []
    for start, end in reversed(list(_tables(text))):
        stages.append(text := _without_blank_line(text[:start]) + text[end:])
    _checked(target, text, wanted)
    return stages


def _tables(text: str) -> Iterator[tuple[int, int]]:
    """Where our tables stand, without the blank lines and the comments behind them."""
    for header in _HEADER.finditer(text):
        following = _NEXT_HEADER.search(text, header.end())
        end = following.start() if following else len(text)
        tail = _TAIL.search(text[header.end() : end])
        yield header.start(), header.end() + tail.start() if tail else end


def _without_blank_line(text: str) -> str:
    """A text without the blank line at its end that parted the table from it."""
    for newline in ("\r\n", "\n"):
        if text.endswith(newline * 2):
            return text.removesuffix(newline)
    return text


def _meaning(tables: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says; to have no servers or an empty table of them is the same."""
    return {name: value for name, value in tables.items() if name != SERVERS or value}


def _checked(target: Target, text: str, wanted: Mapping[str, Any]) -> str:
    try:
        is_so = _meaning(_read(text)) == _meaning(wanted)
    except tomllib.TOMLDecodeError:
        is_so = False
    if not is_so:
        raise QueueError(
            f"{target.path} has its [{SERVERS}] laid out in a way that cannot be changed safely, so it is left alone; "
            f"edit [{SERVERS}.runq] in it by hand"
        )
    return text
