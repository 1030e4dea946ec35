"""Where in a TOML file the tables of a list and their keys stand: `tomllib` tells no positions. Pure."""

from __future__ import annotations

import re

from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|\#[^\n]*)
    | (?P<line>\n)
    | (?P<text>\"{3}(?:[^\\]|\\.)*?\"{3,5} | '{3}.*?'{3,5} | "(?:[^"\\\n]|\\.)*" | '[^'\n]*')
    | (?P<header>\[\[[^\]\n]*\]\])
    | (?P<mark>[\[\]{}=,])
    | (?P<word>[^\s\[\]{}=,\"'\#]+)
    | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class Table(Frozen):
    """One `[[name]]`: where its header stands, and its keys with their values' parts, as offsets into the text."""

    name: str
    start: int
    keys: dict[str, tuple[int, ...]]  # of each key its own start, then those of the values behind it


def place(text: str, offset: int) -> str:
    """An offset in words: `line 7, column 9`."""
    line = text.count("\n", 0, offset) + 1
    return f"line {line}, column {offset - (text.rfind(chr(10), 0, offset) + 1) + 1}"


def tables(text: str) -> list[Table]:
    """The `[[...]]` tables of a text that is valid TOML, in their order; anything else in it is passed over."""
    found: list[Table] = []
    keys: dict[str, tuple[int, ...]] = {}
    key, depth, fresh, behind = "", 0, True, False
    for kind, part, start in _tokens(text):
        if kind == "line":
            fresh, behind = fresh or depth == 0, behind and depth > 0
        elif fresh and kind == "header":
            keys = {}
            found.append(Table(name=part[2:-2].strip(" \t\"'"), start=start, keys=keys))
            fresh = False
        elif fresh and kind in ("word", "text"):
            key, fresh = part.strip("\"'"), False
            keys[key] = (start,)
        elif kind == "mark":
            behind = behind or part == "="
            depth += (part in "[{") - (part in "]}")
            if fresh and part == "[":
                keys, fresh = {}, False  # a plain [table]: what follows is none of a list's
        elif behind and key in keys:
            keys[key] = (*keys[key], start)
    return found


def plain_table(text: str, name: str) -> int | None:
    """Where `[name]` or `[name.more]` with single brackets stands, as an offset; None if there is none."""
    before: list[tuple[str, int]] = [("\n", 0)]
    for _, part, start in _tokens(text):
        if part.partition(".")[0] == name and [one for one, _ in before[-2:]] == ["\n", "["]:
            return before[-1][1]
        before = [*before[-1:], (part, start)]
    return None


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "header" and match.start() and text[: match.start()].rsplit("\n", 1)[-1].strip():
            yield from (("mark", "[", match.start()), ("mark", "[", match.start() + 1))  # a list in a list
            yield from ((k, p, at + match.start() + 2) for k, p, at in _tokens(match[0][2:-2]))
            yield from (("mark", "]", match.end() - 2), ("mark", "]", match.end() - 1))
        elif kind != "space":
            yield kind, match[0], match.start()
