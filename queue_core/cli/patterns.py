"""Patterns of `runq allow` as a person types them: what a shell would make of a word, and runq does not."""

from __future__ import annotations

import re
from shlex import join, quote

from queue_core.errors import UsageError
from queue_core.policy import PLACEHOLDERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\S*)")
_NEARLY_OPEN = re.compile(r"<(?:int|word|relpath)|(?:int|word|relpath)>")
_OPERATOR = re.compile(r"[&|;<>]")
_EXPANDED = re.compile(r"\$[A-Za-z0-9_{(]|^~|[*?]|\[.+\]|`")
_SPECIAL_IN_DOUBLE_QUOTES = '"$`\\!'


def refuse_shell_words(text: str) -> None:
    """UsageError for what only a shell understands; within the pattern's own quotes anything is meant as it stands."""
    bare = _QUOTED.sub("_", text)
    if found := _ASSIGNMENT.match(bare):
        rest = in_quotes(text.split(maxsplit=1)[-1])
        raise UsageError(f"{text!r} begins with a variable; use --env: runq allow --env {found[0]} {rest}")
    for word in bare.split():
        if word in PLACEHOLDERS:
            continue
        if _NEARLY_OPEN.search(word):
            known = ", ".join(PLACEHOLDERS)
            raise UsageError(f"{text!r}: `{word}` looks like a placeholder and is none; {known} stand alone as words")
        if _OPERATOR.search(word):
            raise UsageError(f"{text!r}: `{word}` is for a shell, and runq runs none; allow each command by itself")
        if _EXPANDED.search(word):
            raise UsageError(f"{text!r}: a shell would expand `{word}`, runq does not; write out what is meant")


def check_variables(given: Sequence[str]) -> tuple[str, ...]:
    """The variables of `--env`, if they are named as variables are; UsageError."""
    for one in given:
        if not _NAME.fullmatch(one.partition("=")[0]):
            raise UsageError(f"--env {one!r} is no variable; it is NAME or NAME=VALUE, such as --env CI=1")
    return tuple(given)


def in_quotes(text: str) -> str:
    """A pattern as one argument for a shell, in the quotes that leave it readable."""
    if "'" not in text:
        return f"'{text}'"
    return quote(text) if any(one in text for one in _SPECIAL_IN_DOUBLE_QUOTES) else f'"{text}"'


def as_typed(argv: Sequence[str]) -> str:
    """The quoted pattern that means just this argv."""
    return in_quotes(join(argv))
