"""A database that was found damaged: noted beside it, so that nobody writes to it until it is restored or mended."""

from __future__ import annotations

import os

from queue_core.errors import StoreError
from queue_core.sqlite.engine import identity
from queue_core.sqlite.wording import damaged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home

LONGEST = 250  # characters of a note that are read


def note(home: Home, file: tuple[int, int], what: str) -> None:
    """From now on this very file (`identity`) is read at most. OSError if that cannot be noted."""
    part = f"{home.damaged}.{os.getpid()}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(f"{file[0]} {file[1]}\n{what}".encode("utf-8", "backslashreplace"))
    os.replace(part, home.damaged)


def refusal(home: Home) -> StoreError | None:
    """Why the file that is there now is not written to, with the ways out; None if it may be."""
    what = _noted(home)
    if not what:
        return None
    until = "nothing is written to it until then, or until `runq doctor` finds it sound"
    return StoreError(f"{damaged(home, what)}; {until}")


def _noted(home: Home) -> str | None:
    try:
        descriptor = os.open(home.damaged, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
            which, _, what = file.read(LONGEST).partition("\n")
    except OSError:
        return None
    now = identity(home.database)
    what = "".join(letter for letter in what if letter.isprintable())  # any command may have written it
    return what if now is not None and which == f"{now[0]} {now[1]}" else None


def forget(home: Home) -> None:
    """It has been found sound, or another has taken its place."""
    try:
        os.unlink(home.damaged)
    except OSError:
        pass
