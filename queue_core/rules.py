"""The user's rules file: read it, add to it. Only the user's own config folder is ever looked at."""

from __future__ import annotations

import json
import os

from queue_core import own_files
from queue_core.errors import SettingsError, UsageError
from queue_core.policy import PLACEHOLDERS, Rule
from queue_core.shapes import is_list, is_object, is_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FIXED_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEYS = {"argv", "program", "cwd", "reason", "env", "stdin", "trust_repository"}


def load(path: str) -> tuple[Rule, ...]:
    """The rules in force, none if there is no file; SettingsError says where a broken one is broken."""
    tables = own_files.read(path)
    return tuple(_rules(tables, path))


def load_or_ask(path: str) -> tuple[tuple[Rule, ...], str | None]:
    """The rules, or none and the reason: a missing or unreadable file means ask, never allow."""
    try:
        return load(path), None
    except SettingsError as error:
        return (), str(error)


def _rules(tables: dict[str, Any], path: str) -> list[Rule]:
    rules: list[Rule] = []
    for kind, entries in tables.items():
        if kind not in ("allow", "deny") or not is_list(entries):
            raise SettingsError(f"{path}: `{kind}` is neither [[allow]] nor [[deny]]")
        for number, entry in enumerate(entries, 1):
            rules.append(_rule(entry, kind == "deny", f"{path}: [[{kind}]] number {number}"))
    return rules


def _rule(entry: Any, deny: bool, where: str) -> Rule:
    if not is_object(entry) or set(entry) - _KEYS:
        raise SettingsError(f"{where} has keys other than {', '.join(sorted(_KEYS))}")
    argv: Any = entry.get("argv")
    if not is_texts(argv) or not argv:
        raise SettingsError(f'{where} needs argv, a list of texts such as ["git", "status"]')
    check_pattern(argv, where)
    _check_rest(entry, where)
    return Rule(
        argv=tuple(argv),
        program=entry.get("program"),
        cwd=entry.get("cwd"),
        deny=deny,
        reason=entry.get("reason"),
        env=tuple(entry.get("env", ())),
        stdin=entry.get("stdin", False),
        trust_repository=entry.get("trust_repository", False),
    )


def _check_rest(entry: dict[str, Any], where: str) -> None:
    """What goes with a pattern: a value of another kind must not widen the rule unnoticed."""
    if not is_texts(entry.get("env", [])):
        raise SettingsError(f'{where}: env is a list of texts such as ["CI", "MODE=fast"]')
    for key in ("stdin", "trust_repository"):
        if not isinstance(entry.get(key, False), bool):
            raise SettingsError(f"{where}: {key} is true or false")
    if not isinstance(entry.get("reason", ""), str):
        raise SettingsError(f"{where}: reason is a text")
    for key, meaning in (("program", "the full path of argv's first word"), ("cwd", "the full path of a folder")):
        path: Any = entry.get(key, "/")
        if not isinstance(path, str) or not path.startswith("/"):
            raise SettingsError(f"{where}: {key} is {meaning}")


def check_pattern(argv: Sequence[str], where: str) -> None:
    """Refuse a pattern that would not mean what its writer thinks."""
    if "..." in argv[:-1]:
        raise SettingsError(f"{where}: `...` stands at the end of a pattern only")
    for token in argv:
        if token.startswith("<") and token.endswith(">") and token not in PLACEHOLDERS:
            raise SettingsError(f"{where}: `{token}` is none of {', '.join(PLACEHOLDERS)}")
    if argv[0] in (*PLACEHOLDERS, "..."):
        raise SettingsError(f"{where}: a pattern begins with a program's name, not with `{argv[0]}`")


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
        check_pattern(argv, repr(text))
    except SettingsError as error:
        raise UsageError(str(error)) from None
    return tuple(argv)


def append(path: str, rule: Rule) -> None:
    """Write one more rule, leaving what the user wrote as it is. The file is 0600, in a 0700 folder."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    load(path)  # a broken file is mended by its writer before anything is added to it
    added = _to_toml(rule)
    _refuse_unless_it_fits(path, added)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{path} could not be written to ({error.strerror}); add the rule by hand:{added}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(added)
        file.flush()
        os.fsync(file.fileno())


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
    for key in ("stdin", "trust_repository"):
        if getattr(rule, key):
            lines.append(f"{key} = true")
    return "\n".join(lines) + "\n"


def _refuse_unless_it_fits(path: str, added: str) -> None:
    """UsageError if the file would be broken afterwards: TOML has lists that cannot be added to."""
    import tomllib

    try:
        added.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("the rule holds bytes that are no UTF-8, which the rules file cannot hold") from None
    before = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8", newline="") as file:
            before = file.read()
    try:
        tomllib.loads(before + added)
    except tomllib.TOMLDecodeError:
        raise UsageError(f"{path} has its rules in a form that cannot be added to; add this by hand:{added}") from None


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
