"""What agents have been told by `runq digest`: a small file for each session and project, beside the database.

Files, since a hook at every prompt must not take the write lock, and this is no durable fact: whoever loses
it is told something twice. What an agent learned by itself (`run` gave it the result) is marked in files
beside, by appending a line; the line has the end that it was shown, so that a job that ends once more is news.
Nothing here is trusted: what cannot be read counts as nothing.
"""

from __future__ import annotations

import os
import stat

from queue_core.errors import HomeError
from queue_core.fastjson import dumps, loads
from queue_core.home import make_folder
from queue_core.shapes import is_list, is_object
from queue_core.value import Frozen
from queue_core.visible import rfc3339

try:
    from _blake2 import blake2b
except ImportError:  # pragma: no cover - an interpreter that is made otherwise
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from queue_core.home import Home

MOST_BYTES = 1024 * 1024  # of a file that is believed
MOST_HELD = 20_000  # held jobs that are remembered one by one
LONGEST_MARKS = 64 * 1024  # bytes of marks that are kept


class Told(Frozen):
    """Where a session stands: what came before `cursor` (a completion's number; None: nothing) was told.

    That number counts for the database of which it is: the one in this `file`, with this `newest` completion.
    """

    cursor: int | None = None
    file: Any = None  # [device, inode]
    newest: Any = None  # [job, when it ended] of the completion with that number, if there was one
    held: frozenset[int] = frozenset()  # jobs that were told as waiting for approval
    full: bool = False  # whether this session was told that the queue is full
    begun: bool = False  # whether this session has looked before
    marked: Mapping[int, bytes] = {}  # the ends that this session's agent knows by itself
    known: Mapping[int, bytes] = {}  # those that another session's agent of this project does

    def knows(self, job_id: int, ended_at: float, *, own: bool) -> bool:
        """Whether that very end is no news. What a session has queued itself (`own`), it alone can know of."""
        marks = [self.marked.get(job_id), None if own else self.known.get(job_id)]
        return marks != [None, None] and (rfc3339(ended_at) or "").encode("ascii") in marks


def recall(home: Home, session: str, project: str) -> Told:
    """Where this session stands; a new one begins where the furthest of its project was told.

    A project is its real folder. What waits for approval still does: that, every session is told itself.
    """
    places = _Places(home, session, project)
    found = _read(places.own + ".json")
    start = found if found is not None else _read(places.project + ".json") or {}
    cursor, held, full = start.get("cursor"), start.get("held"), start.get("full")
    return Told(
        cursor=cursor if type(cursor) is int and 0 <= cursor < 2**63 else None,
        file=start.get("file"),
        newest=start.get("newest"),
        held=frozenset([one for one in held if type(one) is int]) if is_list(held) else frozenset(),
        full=bool(full),
        begun=found is not None,
        marked=_marks(places.session),
        known=_marks(places.project),
    )


def remember(home: Home, session: str, project: str, told: Told, *, news: bool, anew: bool) -> None:
    """Where a session stands from now on; with `news`, what came before need not be told to later ones either.

    `anew`: what was remembered before is of another database. What cannot be written is told again.
    """
    standing = {"cursor": told.cursor, "file": told.file, "newest": told.newest}
    own = {**standing, "held": sorted(told.held)[-MOST_HELD:], "full": told.full}
    try:
        places = _Places(home, session, project)
        make_folder(_folder(home))
        _write(places.own + ".json", own)
        _remove(places.session + ".told")
        if news and (anew or not _is_further(_read(places.project + ".json"), told)):
            _write(places.project + ".json", standing)
    except (OSError, HomeError):
        pass


def _is_further(found: Mapping[str, Any] | None, told: Told) -> bool:
    """Whether the project's next session begins behind this already: another one has looked meanwhile."""
    cursor = found.get("cursor") if found else None
    return type(cursor) is int and told.cursor is not None and cursor > told.cursor


def mark(home: Home, session: str, project: str, ends: Iterable[tuple[int, str | None]]) -> None:
    """An agent has been shown that these jobs ended, and when (None: not yet). Microseconds; never an error."""
    lines = "".join([f"{job_id} {ended_at}\n" for job_id, ended_at in ends if ended_at]).encode("ascii")
    if not lines:
        return
    try:
        make_folder(_folder(home))
        places = _Places(home, session, project)
        for path in (places.session, places.project):
            _append(path + ".told", lines)
    except (OSError, HomeError):
        pass


def sweep(home: Home, *, before: float) -> int:
    """Forget sessions that nobody has told anything since `before` (seconds since the epoch); how many files went."""
    try:
        names = os.listdir(_folder(home))
    except OSError:
        return 0
    return sum([_remove_old(f"{_folder(home)}/{name}", before) for name in names])


def _remove_old(path: str, before: float) -> bool:
    try:
        if os.lstat(path).st_mtime >= before:
            return False
        os.unlink(path)
    except OSError:
        return False
    return True


def _folder(home: Home) -> str:
    return home.path("sessions")


class _Places:
    """The files of a session and its project, without their endings: names come from outside."""

    def __init__(self, home: Home, session: str, project: str) -> None:
        real = os.path.realpath(project) if project else ""
        self.own = _path(home, "both", session, real)
        self.session = _path(home, "session", session)  # whose marks count wherever its shell goes
        self.project = _path(home, "project", real)


def _path(home: Home, *key: str) -> str:
    text = "\0".join(key).encode("utf-8", "surrogatepass")
    return f"{_folder(home)}/{blake2b(text, digest_size=16).hexdigest()}"


def _read(path: str) -> dict[str, Any] | None:
    """The object in a file; None if there is none, or nothing of the kind."""
    try:
        found: Any = loads(_content(path, MOST_BYTES).decode("ascii"))
    except (OSError, ValueError):
        return None
    return found if is_object(found) else None


def _marks(path: str) -> dict[int, bytes]:
    """The jobs that are marked, each with its end; lines that are none are passed over."""
    marks: dict[int, bytes] = {}
    try:
        lines = _content(path + ".told", LONGEST_MARKS).split(b"\n")
    except OSError:
        return marks
    for line in lines[:-1]:
        job_id, _, ended_at = line.partition(b" ")
        try:
            marks[int(job_id)] = ended_at
        except ValueError:
            continue
    return marks


def _content(path: str, most: int) -> bytes:
    """A regular file, or the last lines of a long one. Without waiting, and through no link: any command can write."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return b""
        if found.st_size <= most:
            return os.read(descriptor, most)
        os.lseek(descriptor, found.st_size - most, os.SEEK_SET)
        return os.read(descriptor, most).partition(b"\n")[2]
    finally:
        os.close(descriptor)


def _write(path: str, content: Mapping[str, Any]) -> None:
    """Whole or not at all. Not synced: what is lost is told again."""
    part = f"{path}.{os.getpid()}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, dumps(content).encode("ascii"))
    finally:
        os.close(descriptor)
    os.rename(part, path)


def _append(path: str, lines: bytes) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        if os.fstat(descriptor).st_size > LONGEST_MARKS:  # what is older was told, or will be once more
            os.ftruncate(descriptor, 0)
        os.write(descriptor, lines)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
