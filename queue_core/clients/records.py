"""What an install has done to the files it changed, kept in the home, so that an undo can restore them byte for byte.

Of a file's own text nothing is kept, for clients have tokens in their files: only sums, the pieces that were changed,
and the names of what was there.
"""

from __future__ import annotations

import hashlib
import json
import os

from queue_core.clients import splices
from queue_core.clients.splices import Splice
from queue_core.home import Home, make_folder, prepare, sync
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Record(Frozen):
    """One file: the sums of what it held before (None: there was none) and once written, and what parts the two."""

    path: str
    before: str | None
    known: str  # of what was there before, what decides what is ours: `Part.gist`
    folders: tuple[str, ...]  # those made for it
    after: str  # empty: somebody else has written in between, so there is no way back to `before`
    splices: tuple[Splice, ...] = ()

    def restored(self, content: bytes) -> bytes | None:
        """What the file held before, if this is what it held once written; None if it is not, or there was no file."""
        if self.after != sum_of(content):
            return None
        found = splices.reverted(content.decode("utf-8"), self.splices).encode("utf-8", "surrogatepass")
        return found if sum_of(found) == self.before else None


def sum_of(content: bytes) -> str:
    """What a record knows a file's content by."""
    return hashlib.sha256(content).hexdigest()


def find(home: Home, path: str) -> Record | None:
    """The record of a file, None if there is none that can be used."""
    try:
        with open(_place(home, path), encoding="utf-8") as file:
            found: Any = json.load(file)
        pieces = tuple(Splice(start=int(start), old=str(old), new=str(new)) for start, old, new in found["splices"])
        record = Record(
            path=found["path"],
            before=found["before"],
            known=found["known"],
            folders=tuple(found["folders"]),
            after=found["after"],
            splices=pieces,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if record.path == path else None


def keep(home: Home, record: Record) -> None:
    """Have a record on the disk, in place of the file's earlier one. OSError, HomeError."""
    prepare(home)
    folder = make_folder(home.path("installs"))
    place = _place(home, record.path)
    made = f"{place}.{os.getpid()}"
    pieces = [(one.start, one.old, one.new) for one in record.splices]
    content = json.dumps({**record.__dict__, "splices": pieces}).encode()
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(made, place)
    except OSError:
        os.unlink(made)
        raise
    sync(folder)


def forget(home: Home, path: str) -> None:
    """Remove the record of a file, if there is one."""
    try:
        os.unlink(_place(home, path))
    except OSError:  # it would only be of no use: its sum fits no file any more
        pass


def _place(home: Home, path: str) -> str:
    return home.path("installs", hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32] + ".json")
