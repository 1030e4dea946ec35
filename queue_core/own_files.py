"""The user's own TOML files: read only if nobody else can have written them, with errors that say where."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from typing import Any

from queue_core import toml_places
from queue_core.errors import SettingsError

MOST_BYTES = 1024 * 1024
_MEND = "mend it there, or remove what you cannot mend"
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read(path: str, *, trust_own_group: bool = False) -> dict[str, Any]:
    """The tables of a file, none if there is no file; SettingsError names what is wrong, with line and column."""
    return parse(path, read_text(path, trust_own_group=trust_own_group))


def read_text(path: str, *, trust_own_group: bool = False) -> str:
    """What a file holds, nothing if there is none; SettingsError if another user can change it.

    With `trust_own_group` the user's own group may write it: where every user has a group of their own,
    that is how files are made. A link is followed: to a file of the user's own, in a folder as safe.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingsError(f"{path} could not be read ({error.strerror})") from None
    try:
        _refuse_unsafe(path, os.fstat(descriptor), trust_own_group)
        content = _all_of(descriptor)
    except OSError as error:
        raise SettingsError(f"{path} could not be read ({error.strerror})") from None
    finally:
        os.close(descriptor)
    if len(content) > MOST_BYTES:
        raise SettingsError(f"{path} has more than {MOST_BYTES} bytes, so it is not read; make it shorter")
    return _decoded(path, content)


def _all_of(descriptor: int) -> bytes:
    """What a file holds, or enough to tell that it is too much."""
    content = b""
    while len(content) <= MOST_BYTES and (chunk := os.read(descriptor, MOST_BYTES + 1 - len(content))):
        content += chunk
    return content


def _refuse_unsafe(path: str, found: os.stat_result, trust_own_group: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SettingsError(f"{path} could not be read: it is no regular file; make it one, or remove it")
    if found.st_uid != os.geteuid():
        raise SettingsError(f"{path} belongs to another user, so it is not read; {_yours(path)}")
    if _others_may_write(found, trust_own_group):
        raise SettingsError(f"{path} can be changed by other users, so it is not read; run `chmod 600 {path}`")
    refuse_replaceable(path, trust_own_group=trust_own_group)


def refuse_replaceable(path: str, *, trust_own_group: bool = False) -> None:
    """SettingsError if another user can put another file in this one's place. OSError if that cannot be told."""
    for folder in dict.fromkeys((os.path.dirname(path) or ".", os.path.dirname(os.path.realpath(path)))):
        around = os.stat(folder)
        if around.st_uid not in (0, os.geteuid()):
            raise SettingsError(f"{path} is in another user's folder, so it is not read; {_yours(folder)}")
        if _others_may_write(around, trust_own_group):
            raise SettingsError(
                f"{path} can be replaced by other users, so it is not read; run `chmod go-w {folder}` "
                "once you have looked at what it holds"
            )


def _yours(path: str) -> str:
    return f"make it yours (`sudo chown {os.geteuid()} {path}`) once you have looked at what it holds"


def _others_may_write(found: os.stat_result, trust_own_group: bool) -> bool:
    others = 0o002 if trust_own_group and found.st_gid == os.getegid() else 0o022
    return bool(stat.S_IMODE(found.st_mode) & others)


def _decoded(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        where = toml_places.place(before, len(before))
        raise SettingsError(f"{path}, {where}: not valid TOML, because not UTF-8; save the file as UTF-8") from None


def parse(path: str, text: str) -> dict[str, Any]:
    """The tables that a text holds; SettingsError says where it is broken."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        found = _PLACE.search(said)
        if found is None:
            raise SettingsError(f"{path} is not valid TOML: {said}; {_MEND}") from None
        where = f"line {found[1]}, column {found[2]}" if found[1] else toml_places.place(text, len(text))
        raise SettingsError(f"{path}, {where}: not valid TOML: {said[: found.start()]}; {_MEND}") from None
    except RecursionError:
        raise SettingsError(f"{path} is not valid TOML: it is nested too deeply; {_MEND}") from None
