"""The token that a client of the HTTP server shows: a file of the user's own, made when it is first needed."""

from __future__ import annotations

import os
import re
import secrets
import stat
from typing import TYPE_CHECKING

from queue_core import home as homes
from queue_core import own_files
from queue_core.errors import SettingsError

if TYPE_CHECKING:
    from queue_core.home import Home

SHAPE = re.compile(r"runq_[A-Za-z0-9_-]{43,200}")
LONGEST = 4096  # bytes that are looked at


def token_file(home: Home) -> str:
    """Where the token lies: beside the user's rules."""
    return home.config + "/http-token"


def token(home: Home) -> str:
    """The token of this home. SettingsError if its file is not the user's alone, or holds something else."""
    path = token_file(home)
    try:
        return _read(path)
    except FileNotFoundError:
        _make(home, path)
    return _read(path)


def _make(home: Home, path: str) -> None:
    """Whole or not at all: written beside it, then linked, which never replaces what another server has made."""
    if home.config == home.data:
        homes.prepare(home)
    draft = f"{path}.{secrets.token_hex(8)}"
    try:
        os.makedirs(home.config, mode=0o700, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"runq_{secrets.token_urlsafe(32)}\n")
                file.flush()
                os.fsync(descriptor)
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)
    except OSError as error:
        raise SettingsError(f"{path} could not be made ({error.strerror}); make its folder writable for you") from None


def _read(path: str) -> str:
    try:
        # Not blocking, so that a FIFO in its place is refused instead of waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.islink(path):
            raise SettingsError(f"{path} is a link, so it is not read; {_MEND}") from None
        raise SettingsError(f"{path} could not be read ({error.strerror}); {_MEND}") from None
    try:
        _refuse_unless_private(path, os.fstat(descriptor))
        own_files.refuse_replaceable(path)
        text = os.read(descriptor, LONGEST).decode("ascii", "replace").removesuffix("\n")
    finally:
        os.close(descriptor)
    if not SHAPE.fullmatch(text):
        raise SettingsError(f"{path} holds no token of runq's; {_MEND}")
    return text


def _refuse_unless_private(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SettingsError(f"{path} is not a plain file, so it is not read; {_MEND}")
    if found.st_uid != os.geteuid():
        raise SettingsError(f"{path} belongs to another user, so it is not read; {_MEND}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise SettingsError(f"{path} is open to other users, so its token may be known to them; {_MEND}")


_MEND = "remove it, and the next start makes a new one"
