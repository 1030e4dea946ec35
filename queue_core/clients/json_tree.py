"""JSON, on request with comments, read into a tree that knows where in the text each part stands."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, cast

BOM = "\ufeff"
DEEPEST = 200  # levels: more than any settings have, fewer than the interpreter's stack takes
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")"""
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9.a-zA-Z_]))"
    r"|(?P<word>(?:true|false|null)(?![0-9a-zA-Z_]))"
)
_BLANKS = re.compile(r"[ \t\r\n]+")
_COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)


class JsonError(Exception):
    """The text is no JSON, or not of the shape that an edit needs; the line and the column count from 1."""

    def __init__(self, text: str, at: int, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.line = text.count("\n", 0, at) + 1
        self.column = at - (text.rfind("\n", 0, at) + 1) + 1


def as_object(value: Any) -> dict[str, Any]:
    """What somebody's file has where an object should be; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_array(value: Any) -> list[Any]:
    """What somebody's file has where an array should be; an empty one for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


class Node(NamedTuple):
    """A value: where it stands, and what it has in it."""

    kind: str  # object | array | scalar
    start: int
    end: int
    entries: tuple[Entry, ...] = ()


class Entry(NamedTuple):
    """An object's member or an array's item: where it begins, its key if it has one, the comma behind it."""

    start: int
    key: str | None
    value: Node
    comma: int | None


class Document(NamedTuple):
    """A text and the tree of it."""

    text: str
    root: Node

    def value(self, node: Node | None = None) -> Any:
        """A node (the whole of it, if none is named) as Python has it; of a key that stands there twice, the last.

        JsonError for a number that Python does not read.
        """
        node = node or self.root
        if node.kind == "object":
            return {entry.key: self.value(entry.value) for entry in node.entries}
        if node.kind == "array":
            return [self.value(entry.value) for entry in node.entries]
        try:
            return json.loads(self.text[node.start : node.end])
        except ValueError:  # the token is JSON, but Python bounds what it reads in one number
            raise self.error(node, "a number of too many digits") from None

    def error(self, node: Node, what: str) -> JsonError:
        """What is wrong with a node, with its place."""
        return JsonError(self.text, node.start, what)


def read(text: str, *, comments: bool = False) -> Document:
    """The tree of a text; with `comments`, comments and commas before a closing bracket pass. JsonError."""
    return _Reader(text, comments=comments).document()


def comments_end(text: str, start: int, end: int) -> tuple[int, bool]:
    """Where the last comment between two tokens ends (`start` if there is none), and whether the line's end ends it."""
    last, by_line = start, False
    for found in _COMMENT.finditer(text, start, end):
        last, by_line = found.end(), found[0].startswith("//")
    return last, by_line


class _Reader:
    def __init__(self, text: str, *, comments: bool) -> None:
        self._text = text
        self._at = 1 if text.startswith(BOM) else 0
        self._comments = comments

    def document(self) -> Document:
        self._skip()
        root = self._value(0)
        self._skip()
        if self._at < len(self._text):
            raise self._error("something follows the end of the value")
        return Document(text=self._text, root=root)

    def _value(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise self._error("it is nested too deeply")
        start = self._at
        opening = self._text[start : start + 1]
        if opening in ("{", "["):
            self._at += 1
            is_object = opening == "{"
            entries = self._entries(depth, "}" if is_object else "]")
            return Node(kind="object" if is_object else "array", start=start, end=self._at, entries=entries)
        found = _TOKEN.match(self._text, start)
        if found is None:
            raise self._error("a value is missing" if opening in ("", ",", "}", "]") else "this is no JSON value")
        self._at = found.end()
        return Node(kind="scalar", start=start, end=self._at)

    def _entries(self, depth: int, closing: str) -> tuple[Entry, ...]:
        found: list[Entry] = []
        self._skip()
        while not self._takes(closing):
            if found and found[-1].comma is None:
                raise self._error(f"a comma or {closing} is missing")
            start = self._at
            key = self._key() if closing == "}" else None
            value = self._value(depth + 1)
            self._skip()
            comma = self._at - 1 if self._takes(",") else None
            found.append(Entry(start=start, key=key, value=value, comma=comma))
            self._skip()
        if found and found[-1].comma is not None and not self._comments:
            raise JsonError(self._text, found[-1].comma, f"a comma stands before {closing}")
        return tuple(found)

    def _key(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.lastgroup != "string":
            raise self._error("a key in double quotes is missing")
        self._at = found.end()
        self._skip()
        if not self._takes(":"):
            raise self._error("a colon is missing")
        self._skip()
        return json.loads(found[0])

    def _takes(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._at):
            return False
        self._at += 1
        return True

    def _skip(self) -> None:
        """Past blanks, and comments where there may be any."""
        while True:
            if found := _BLANKS.match(self._text, self._at):
                self._at = found.end()
            if not self._text.startswith(("//", "/*"), self._at):
                return
            if not self._comments:
                raise self._error("a comment, and JSON has none")
            comment = _COMMENT.match(self._text, self._at)
            if comment is None:
                raise self._error("a comment does not end")
            self._at = comment.end()

    def _error(self, what: str) -> JsonError:
        return JsonError(self._text, self._at, what)
