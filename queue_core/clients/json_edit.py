"""Single values of a JSON text set, added and removed by splicing: no other character of it changes.

What is added goes last, laid out as its neighbours are; to remove it again gives the text from before. (An object in
which nothing but blanks stood comes back as `{}`.)
"""

from __future__ import annotations

import json
import re
from typing import Any

from queue_core.clients.json_tree import Document, Entry, JsonError, Node, comments_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Path = Sequence[str | int]

UNIT = "  "  # the indentation where a text shows none
_TO_LINE_END = re.compile(r"[ \t]*(?:\r?\n|$)")


def find(document: Document, path: Path) -> Node | None:
    """The value at a path, None if there is none. JsonError where a key of the path stands twice."""
    found = _entry(document, path)
    return document.root if not path else found.value if found else None


def put(document: Document, path: Path, value: Any) -> str:
    """The text with this value at the path; objects on the way are made. JsonError if another value is in the way."""
    chain = [document.root]
    for depth, key in enumerate(path):
        entry = _child(document, chain[-1], key, path[:depth])
        if entry is None:
            for missing in reversed(path[depth + 1 :]):
                value = {missing: value}
            return _insert(document, chain, key, value)
        chain.append(entry.value)
    old = chain.pop()
    indent = _indent(document, chain) if chain else ""
    return document.text[: old.start] + _rendered(document, value, indent) + document.text[old.end :]


def append(document: Document, path: Path, value: Any) -> str:
    """The text with the value as the last item of the array at the path; an array that is missing is made."""
    chain = [document.root]
    for depth, key in enumerate(path):
        entry = _child(document, chain[-1], key, path[:depth])
        if entry is None:
            return put(document, path, [value])
        chain.append(entry.value)
    if chain[-1].kind != "array":
        raise document.error(chain[-1], f"{_name(path)} is no array")
    return _insert(document, chain, None, value)


def remove(document: Document, path: Path) -> str:
    """The text without what stands at the path; as it is, if nothing does. Comments stay."""
    container, entry = find(document, path[:-1]), _entry(document, path)
    if container is None or entry is None:
        return document.text
    spans = _spans(document.text, container, container.entries.index(entry))
    if len(container.entries) == 1:
        inner = _without(document.text, spans, container.start + 1, container.end - 1)
        if not inner.strip():
            spans = [(container.start + 1, container.end - 1)]
    return _without(document.text, spans, 0, len(document.text))


def _entry(document: Document, path: Path) -> Entry | None:
    node, found = document.root, None
    for depth, key in enumerate(path):
        found = _child(document, node, key, path[:depth])
        if found is None:
            return None
        node = found.value
    return found


def _child(document: Document, node: Node, key: str | int, path: Path) -> Entry | None:
    wanted = "object" if isinstance(key, str) else "array"
    if node.kind != wanted:
        raise document.error(node, f"{_name(path)} is no {wanted}")
    if isinstance(key, int):
        return node.entries[key] if key < len(node.entries) else None
    same = [entry for entry in node.entries if entry.key == key]
    if len(same) > 1:
        raise JsonError(document.text, same[1].start, f"the key {_name((*path, key))} stands there twice")
    return same[0] if same else None


def _name(path: Path) -> str:
    return ".".join(map(str, path)) or "what stands at the top"


def _insert(document: Document, chain: Sequence[Node], key: str | int | None, value: Any) -> str:
    """The text with one entry more, at the end of the last container of the chain."""
    text, container = document.text, chain[-1]
    indent = _indent(document, chain)
    name = "" if key is None else json.dumps(key, ensure_ascii=False) + _colon(text, container, indent)
    entry = name + _rendered(document, value, indent)
    if not container.entries:
        return _fill(document, chain, entry)
    last = container.entries[-1]
    end = last.value.end if last.comma is None else last.comma + 1
    at, by_line = comments_end(text, end, container.end - 1)
    lead = _lead(document, indent, by_line=by_line) if indent is not None or by_line else _gap(text, container)
    if last.comma is not None:
        return text[:at] + lead + entry + "," + text[at:]
    return text[:end] + "," + text[end:at] + lead + entry + text[at:]


def _fill(document: Document, chain: Sequence[Node], entry: str) -> str:
    """The text with the first entry of an empty container."""
    text, container, indent = document.text, chain[-1], _indent(document, chain)
    start, end = container.start + 1, container.end - 1
    if text[start:end].strip():
        at, by_line = comments_end(text, start, end)
        return text[:at] + _lead(document, indent, by_line=by_line) + entry + text[at:]
    if indent is None:
        return text[:start] + entry + text[end:]
    around = (_indent(document, chain[:-1]) or "") if len(chain) > 1 else ""
    return text[:start] + _lead(document, indent) + entry + newline(text) + around + text[end:]


def _lead(document: Document, indent: str | None, *, by_line: bool = False) -> str:
    """What stands before an entry: a new line, where entries have lines of their own or a comment takes the rest."""
    return " " if indent is None and not by_line else newline(document.text) + (indent or "")


def _gap(text: str, container: Node) -> str:
    """What stands between the entries of one line."""
    if len(container.entries) > 1:
        before = container.entries[-2].comma
        between = text[(before or 0) + 1 : container.entries[-1].start]
        if before is not None and not between.strip():
            return between
    return " " if _colon(text, container, None) == ": " else ""


def _colon(text: str, container: Node, indent: str | None) -> str:
    """The colon as the neighbours of one line have it; on lines of their own, with a blank."""
    if indent is None and container.kind == "object" and container.entries:
        return ": " if text[container.entries[-1].value.start - 1] in " \t" else ":"
    return ": "


def _indent(document: Document, chain: Sequence[Node]) -> str | None:
    """The indentation of the entries of the chain's last container; None where they share a line."""
    text, container = document.text, chain[-1]
    if container.entries:
        start = container.entries[-1].start
        blanks = text[:start].rpartition("\n")[2]
        return blanks if not blanks.strip() and start > len(blanks) else None
    if len(chain) == 1:
        return _unit(document)
    around = _indent(document, chain[:-1])
    return None if around is None else around + _unit(document)


def _unit(document: Document) -> str:
    if document.root.entries:
        blanks = document.text[: document.root.entries[0].start].rpartition("\n")[2]
        if blanks and not blanks.strip():
            return blanks
    return UNIT


def newline(text: str) -> str:
    """How the lines of a text end."""
    return "\r\n" if "\r\n" in text else "\n"


def _rendered(document: Document, value: Any, indent: str | None) -> str:
    if indent is None:
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, ensure_ascii=False, indent=_unit(document))
    return lines.replace("\n", newline(document.text) + indent)


def _spans(text: str, container: Node, index: int) -> list[tuple[int, int]]:
    """What goes with an entry: the blanks before it, and one comma."""
    entry = container.entries[index]
    before = container.entries[index - 1].comma if index else None
    start, by_line = comments_end(text, container.start + 1 if before is None else before + 1, entry.start)
    end = entry.value.end
    if entry.comma is None:
        commas = [] if before is None else [(before, before + 1)]
    elif text[end : entry.comma].strip():
        commas = [(entry.comma, entry.comma + 1)]
    else:
        commas, end = [], entry.comma + 1
    if by_line and not _TO_LINE_END.match(text, end):
        start = entry.start  # what follows would become a part of the comment
    return sorted([*commas, (start, end)])


def _without(text: str, spans: Sequence[tuple[int, int]], start: int, end: int) -> str:
    """A part of the text without the spans in it."""
    parts: list[str] = []
    for first, last in spans:
        parts.append(text[start:first])
        start = last
    return "".join(parts) + text[start:end]
