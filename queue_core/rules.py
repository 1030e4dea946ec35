"""The user's rules file: read it, add to it. Only the user's own config folder is ever looked at."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager

from queue_core import own_files, toml_places
from queue_core.errors import SettingsError, UsageError
from queue_core.home import make_folders
from queue_core.policy import PLACEHOLDERS, Rule
from queue_core.shapes import is_list, is_object, is_texts
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Any

    Where = Callable[..., str]  # the place of a table, of one of its keys, of a part of that key's value

FIXED_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 5.0  # seconds that a writer waits for another one
FLAGS = ("stdin", "options", "trust_repository")
_KEYS = {"argv", "program", "cwd", "reason", "env", *FLAGS}


class Written(Frozen):
    """A rule and the line of the file that its table begins in, if that can be told."""

    rule: Rule
    line: int | None


def load(path: str) -> tuple[Rule, ...]:
    """The rules in force, none if there is no file; SettingsError says where a broken one is broken."""
    return tuple(_rules(own_files.read_text(path), path))


def load_written(path: str) -> tuple[Written, ...]:
    """The same with their lines; SettingsError."""
    text = own_files.read_text(path)
    found, places = _rules(text, path), _Places(text, path)
    kinds = {deny: [rule for rule in found if rule.deny is deny] for deny in (False, True)}
    return tuple(
        Written(rule=rule, line=places.line("deny" if deny else "allow", number, len(of_kind)))
        for deny, of_kind in kinds.items()
        for number, rule in enumerate(of_kind)
    )


def load_or_ask(path: str) -> tuple[tuple[Rule, ...], str | None]:
    """The rules, or none and the reason: a missing or unreadable file means ask, never allow."""
    try:
        return load(path), None
    except SettingsError as error:
        return (), str(error)


class _Places:
    """Where in the file things stand: looked for only when somebody has to be told."""

    def __init__(self, text: str, path: str) -> None:
        self._text, self._path = text, path
        self._tables: list[toml_places.Table] | None = None

    def _of_kind(self, kind: str) -> list[toml_places.Table]:
        if self._tables is None:
            self._tables = toml_places.tables(self._text)
        return [table for table in self._tables if table.name == kind]

    def _table(self, kind: str, number: int, count: int) -> toml_places.Table | None:
        found = self._of_kind(kind)
        return found[number] if len(found) == count else None  # else written in another form: a list in one line

    def line(self, kind: str, number: int, count: int) -> int | None:
        """The line that a table begins in."""
        table = self._table(kind, number, count)
        return self._text.count("\n", 0, table.start) + 1 if table else None

    def of_kind(self, kind: str) -> str:
        """How a message about all tables of a kind begins."""
        return self._said(next(iter(self._of_kind(kind)), None))

    def plain(self, kind: str) -> str:
        """How a message about a table with single brackets begins."""
        start = toml_places.plain_table(self._text, kind)
        return self._path if start is None else f"{self._path}, {toml_places.place(self._text, start)}"

    def inside(self, kind: str, number: int, count: int) -> Where:
        """How messages about one table begin: with file, line and column where they can be told."""

        def where(key: str | None = None, part: int = 0) -> str:
            table = self._table(kind, number, count)
            return f"{self._said(table, key, part)}: [[{kind}]] number {number + 1}"

        return where

    def _said(self, table: toml_places.Table | None, key: str | None = None, part: int = 0) -> str:
        if table is None:
            return self._path
        offsets = table.keys.get(key or "", (table.start,))
        return f"{self._path}, {toml_places.place(self._text, offsets[min(part, len(offsets) - 1)])}"


def _rules(text: str, path: str) -> list[Rule]:
    rules: list[Rule] = []
    places = _Places(text, path)
    for kind, entries in own_files.parse(path, text).items():
        if kind in ("allow", "deny") and is_object(entries):
            raise SettingsError(f"{places.plain(kind)}: write [[{kind}]] with two brackets")
        if kind not in ("allow", "deny") or not is_list(entries):
            raise SettingsError(f"{places.of_kind(kind)}: `{kind}` is neither [[allow]] nor [[deny]]")
        for number, entry in enumerate(entries):
            rules.append(_rule(entry, kind == "deny", places.inside(kind, number, len(entries))))
    return rules


def _rule(entry: Any, deny: bool, where: Where) -> Rule:
    if not is_object(entry):
        raise SettingsError(f"{where()} is no table; write it as [[{'deny' if deny else 'allow'}]]")
    for key in entry:
        if key not in _KEYS:
            raise SettingsError(f"{where(key)} has the key `{key}`, which is none of {', '.join(sorted(_KEYS))}")
    argv: Any = entry.get("argv")
    if not is_texts(argv) or not argv:
        raise SettingsError(f'{where("argv")} needs argv, a list of texts such as ["git", "status"]')
    check_pattern(argv, lambda number: where("argv", number + 1))
    _check_rest(entry, where)
    if "/" in argv[0] and not argv[0].startswith("/") and "program" not in entry and "cwd" not in entry:
        # In a subfolder an agent could put another program of that name.
        raise SettingsError(
            f"{where('argv', 1)}: a program with a slash needs `program` or `cwd`; add the full path of "
            f"`{argv[0]}`, or of the folder that it is looked up in"
        )
    return Rule(
        argv=tuple(argv),
        program=entry.get("program"),
        cwd=entry.get("cwd"),
        deny=deny,
        reason=entry.get("reason"),
        env=tuple(entry.get("env", ())),
        **{flag: entry.get(flag, False) for flag in FLAGS},
    )


def _check_rest(entry: dict[str, Any], where: Where) -> None:
    """What goes with a pattern: a value of another kind must not widen the rule unnoticed."""
    if not is_texts(entry.get("env", [])):
        raise SettingsError(f'{where("env", 1)}: env is a list of texts such as ["CI", "MODE=fast"]')
    for key in FLAGS:
        if not isinstance(entry.get(key, False), bool):
            raise SettingsError(f"{where(key, 1)}: {key} is true or false")
    if not isinstance(entry.get("reason", ""), str):
        raise SettingsError(f"{where('reason', 1)}: reason is a text")
    for key, meaning in (("program", "the full path of argv's first word"), ("cwd", "the full path of a folder")):
        path: Any = entry.get(key, "/")
        if not isinstance(path, str) or not path.startswith("/"):
            raise SettingsError(f"{where(key, 1)}: {key} is {meaning}")


def check_pattern(argv: Sequence[str], where: Callable[[int], str]) -> None:
    """Refuse a pattern that would not mean what its writer thinks; `where` says where a word of it stands."""
    if argv[0] in (*PLACEHOLDERS, "...", ""):
        raise SettingsError(f"{where(0)}: a pattern begins with a program's name, not with `{argv[0]}`")
    for number, token in enumerate(argv):
        if token == "..." and number < len(argv) - 1:
            raise SettingsError(f"{where(number)}: `...` stands at the end of a pattern only")
        if _looks_open(token) and token not in PLACEHOLDERS:
            raise SettingsError(f"{where(number)}: `{token}` is none of {', '.join(PLACEHOLDERS)}")


def _looks_open(token: str) -> bool:
    return token.startswith("<") and token.endswith(">")


def exact_rule(
    argv: Sequence[str], *, program: str, cwd: str, env: Mapping[str, str], stdin: bool = False
) -> Rule | None:
    """The rule that means this very command in this folder with these variables; None if none can say just that.

    `program` and `cwd` are real paths. A word that reads like a placeholder would stand for more than itself.
    """
    texts = (*argv, program, cwd, *env, *env.values())
    if not argv or not argv[0] or not all(one.startswith("/") for one in (program, cwd)):
        return None
    if any(word == "..." or _looks_open(word) for word in argv) or not all(map(_is_text, texts)):
        return None
    pairs = tuple(f"{name}={value}" for name, value in env.items())
    return Rule(argv=tuple(argv), program=program, cwd=cwd, env=pairs, stdin=stdin)


def _is_text(text: str) -> bool:
    try:
        return "\0" not in text and bool(text.encode("utf-8") or True)
    except UnicodeEncodeError:
        return False


def in_words(rule: Rule) -> str:
    """All that a rule says, in a line: for the audit trail."""
    from shlex import join

    more = [f"program {rule.program}"] if rule.program else []
    more += [f"in {rule.cwd}"] if rule.cwd else []
    more += [f"with {one}" for one in rule.env]
    more += [key for key in FLAGS if getattr(rule, key)]
    return f"{join(rule.argv)} ({', '.join(more)})" if more else join(rule.argv)


def parse_pattern(text: str) -> tuple[str, ...]:
    """One quoted pattern of `runq allow`, split as a shell would."""
    import shlex

    try:
        argv = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the pattern {text!r} cannot be split ({error}); check its quotes") from None
    if not argv:
        raise UsageError("the pattern is empty; give one such as 'git status'")
    try:
        check_pattern(argv, lambda _: repr(text))
    except SettingsError as error:
        raise UsageError(str(error)) from None
    return tuple(argv)


def append(path: str, rule: Rule) -> None:
    """Write one more rule, leaving what the user wrote as it is; a kill leaves the old file or the new one.

    The file is 0600, in a 0700 folder; a link stays one, and what it leads to is replaced. Waits for another
    writer, but not for ever. UsageError or SettingsError, and nothing was written.
    """
    added = _to_toml(rule)
    if os.path.islink(path) and not os.path.exists(path):
        raise UsageError(
            f"{path} leads to {os.path.realpath(path)}, which is not there; make that file, or remove the link"
        )
    try:
        make_folders(os.path.dirname(path))
        with _locked(path + ".lock"):
            before = own_files.read_text(path)
            _refuse_unless_it_fits(path, before, added, rule)
            _replace(os.path.realpath(path), before + added)
    except OSError as error:
        raise UsageError(f"{path} could not be written to ({error.strerror}); add the rule by hand:{added}") from None


@contextmanager
def _locked(path: str) -> Generator[None]:
    """Hold the lock of those who write rules; UsageError if another keeps it for too long."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    give_up = time.monotonic() + PATIENCE
    try:
        while not _taken(descriptor):
            if time.monotonic() > give_up:
                raise UsageError("another process is writing the rules for too long; try again in a moment")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: str, text: str) -> None:
    """Put a new file in the place of the old one, at once and durably."""
    new = path + ".new"
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.path.lexists(new):
            os.unlink(new)  # its writer was killed: whoever writes holds the lock
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(descriptor)
        os.rename(new, path)
        os.fsync(folder)
    finally:
        os.close(folder)


def _to_toml(rule: Rule) -> str:
    lines = [f"\n[[{'deny' if rule.deny else 'allow'}]]", f"argv = {_toml_list(rule.argv)}"]
    if rule.program:
        lines.append(f"program = {_toml_text(rule.program)}")
    if rule.cwd:
        lines.append(f"cwd = {_toml_text(rule.cwd)}")
    if rule.reason:
        lines.append(f"reason = {_toml_text(rule.reason)}")
    if rule.env:
        lines.append(f"env = {_toml_list(rule.env)}")
    for key in FLAGS:
        if getattr(rule, key):
            lines.append(f"{key} = true")
    return "\n".join(lines) + "\n"


def _refuse_unless_it_fits(path: str, before: str, added: str, rule: Rule) -> None:
    """UsageError if the file would be broken afterwards or say something else: TOML has lists that take no more."""
    try:
        added.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("the rule holds bytes that are no UTF-8, which the rules file cannot hold") from None
    known = _rules(before, path)  # a broken file is mended by its writer first
    if len(before.encode("utf-8")) + len(added.encode("utf-8")) > own_files.MOST_BYTES:
        raise UsageError(f"{path} would have more than {own_files.MOST_BYTES} bytes; remove rules that are not needed")
    try:
        after = _rules(before + added, path)
    except SettingsError:
        after = []
    if sorted(map(repr, after)) != sorted(map(repr, [*known, rule])):
        raise UsageError(f"{path} has its rules in a form that cannot be added to; add this by hand:{added}")


def _toml_list(words: Sequence[str]) -> str:
    return "[" + ", ".join(_toml_text(word) for word in words) + "]"


def _toml_text(text: str) -> str:
    """JSON's strings are TOML's basic strings, but for DEL, and TOML has no surrogate pairs."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def resolve(name: str) -> str | None:
    """The real path of a program that a rule names, on a PATH that nothing in the environment moves."""
    folders = [""] if name.startswith("/") else FIXED_PATH.split(":")
    for folder in folders:
        candidate = os.path.join(folder, name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return os.path.realpath(candidate)
    return None
