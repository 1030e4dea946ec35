"""An MCP server's entry in a client's JSON file, put in and taken out."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from functools import lru_cache

from queue_core.clients import json_edit, json_tree
from queue_core.clients.change import Part
from queue_core.clients.json_tree import Document, JsonError, as_object
from queue_core.errors import QueueError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Any

    from queue_core.clients.files import Target

EMPTY = "{}\n"
_URL_SECRETS = re.compile(r"(?<=//)[^/]*@|(?<=[?#]).+", re.DOTALL)


def server_part(target: Target, key: str, entry: Mapping[str, Any], *, comments: bool = False) -> Part:
    """The server `runq` in the file's object of servers, which `key` names."""

    def insert(text: str) -> list[str]:
        with errors_of(target):
            return changed(text, put_server(target, read(text, comments=comments), key, entry))

    def gist(text: str) -> str:
        with errors_of(target):
            document = read(text, comments=comments)
            ours: dict[str, Any] = {"runq": {}} if _had(document, key, "runq") else {}
            return json.dumps({key: ours} if _had(document, key) else {})

    def withdraw(text: str, before: str | None) -> list[str]:
        with errors_of(target):
            known = read(before, comments=comments) if before is not None else None
            return _take_out(read(text, comments=comments), key, known, comments=comments)

    def nothing(text: str) -> bool:
        return has_nothing(text, comments=comments)

    return Part(target=target, empty=EMPTY, insert=insert, gist=gist, withdraw=withdraw, has_nothing=nothing)


def changed(text: str, *stages: str) -> list[str]:
    """The stages of a text that differ from the one before."""
    return [after for before, after in zip((text, *stages), stages, strict=False) if after != before]


@lru_cache(maxsize=2)  # a file of megabytes takes seconds, and each step reads it
def read(text: str, *, comments: bool = False) -> Document:
    """A file's tree. JsonError if it is none, or has no object at the top."""
    document = json_tree.read(text, comments=comments)
    if document.root.kind != "object":
        raise document.error(document.root, "no object at the top")
    return document


def has_nothing(text: str, *, comments: bool = False) -> bool:
    """Whether a file is an empty object without a comment."""
    document = read(text, comments=comments)
    return not document.root.entries and not document.text[document.root.start + 1 : document.root.end - 1].strip()


@contextmanager
def errors_of(target: Target) -> Generator[None]:
    """What is wrong with a file's JSON, as a sentence that says where."""
    try:
        yield
    except JsonError as error:
        raise QueueError(
            f"{target.path}, line {error.line}, column {error.column}: {error.what}; mend it there, nothing was changed"
        ) from None


def put_server(target: Target, document: Document, key: str, entry: Mapping[str, Any]) -> str:
    """The text with the entry; of one that is there, only the program's path is brought up to date. QueueError."""
    node = json_edit.find(document, (key, "runq"))
    if node is None:
        return json_edit.put(document, (key, "runq"), dict(entry))
    there = document.value(node)
    refuse_foreign(target, there, entry)
    if there["command"] == entry["command"]:
        return document.text
    return json_edit.put(document, (key, "runq", "command"), entry["command"])


def refuse_foreign(target: Target, there: Any, entry: Mapping[str, Any]) -> None:
    """QueueError if the server that has our name is not ours."""
    if not is_ours(there):
        server = as_object(there)
        what: Any = server.get("command") or server.get("url")
        name = repr(_URL_SECRETS.sub("…", what)) if isinstance(what, str) else "of another kind"
        raise QueueError(
            f"{target.path} has another server by the name runq already ({name}, not {entry['command']}); "
            "remove or rename it, then run this again"
        )


def is_ours(there: Any) -> bool:
    """Whether an entry starts runq's server as we would, by whatever path."""
    server = as_object(there)
    command = server.get("command")
    return isinstance(command, str) and os.path.basename(command) == "runq-mcp" and not server.get("args")


def _take_out(document: Document, key: str, before: Document | None, *, comments: bool) -> list[str]:
    """The text without our entry, and without the object around it if it is empty; both stay if they were there."""
    node = json_edit.find(document, (key, "runq"))
    if node is None or not is_ours(document.value(node)) or _had(before, key, "runq"):
        return []
    text = json_edit.remove(document, (key, "runq"))
    return changed(document.text, text, prune(read(text, comments=comments), (key,), before))


def prune(document: Document, path: json_edit.Path, before: Document | None) -> str:
    """The text without the container at the path, if it is empty and was not there before."""
    node = json_edit.find(document, path)
    is_bare = node is not None and not document.text[node.start + 1 : node.end - 1].strip()
    return document.text if not is_bare or _had(before, *path) else json_edit.remove(document, path)


def _had(before: Document | None, *path: str | int) -> bool:
    return before is not None and json_edit.find(before, path) is not None
