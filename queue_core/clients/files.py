"""Other programs' files, read and written so that nothing of them is lost.

They are replaced whole (a file beside them, synced, renamed into place) or not at all; links are followed, mode and
owner stay. Measured on Claude Code 2.1.330: before it rewrites `~/.claude.json` or a `settings.json` it makes a folder
of the file's own name (a link's, not its target's) with `.lock` behind it, sets its time to now, and takes one that is
older than 10 s for a dead program's. Whoever writes those files here does the same.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import ExitStack, contextmanager

from queue_core.clients.splices import Splice
from queue_core.errors import QueueError
from queue_core.home import sync
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

MOST_BYTES = 64 * 1024 * 1024
LOCK_PATIENCE = 3.0  # seconds that a client's lock is waited for: it holds it for the time of one write
LOCK_STALE = 10.0  # seconds after which a lock is a dead program's
LOCK_POLL = 0.05  # seconds
PART = ".runq-new"  # behind the name of a file: what it is to hold. One name, so that the next finds what is left
PART_STALE = 10.0  # seconds after which it is a dead program's


class Target(Frozen):
    """A file of a client's: by the name it is known by, and where that leads."""

    path: str
    private: bool = False  # made with 0600, since clients keep secrets in it
    locked: bool = False  # its client takes a lock before it writes it

    @property
    def real(self) -> str:
        """The file itself, links followed."""
        return os.path.realpath(self.path)


class Change(Frozen):
    """What a file holds and what it is to hold (None: there is no file), and what parts the two."""

    target: Target
    before: bytes | None
    after: bytes | None
    splices: tuple[Splice, ...] = ()


def read(target: Target) -> bytes | None:
    """What the file holds, None if there is none. QueueError where it cannot be read."""
    try:
        descriptor = os.open(target.real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise QueueError(f"{target.path} could not be read ({error.strerror}); nothing was changed") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise QueueError(f"{target.path} is no regular file, so it is left alone; make it one, or remove it")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MOST_BYTES:
        raise QueueError(f"{target.path} has more than {MOST_BYTES} bytes, so it is left alone")
    return content


def commit(changes: Sequence[Change]) -> None:
    """Write all of them, or none. QueueError if one has changed since it was read, or cannot be written."""
    with ExitStack() as stack:
        try:
            for change in changes:
                if change.target.locked:
                    stack.enter_context(_lock(change.target.path))
            made = [stack.enter_context(_made(change)) for change in changes]
            for change in changes:
                if read(change.target) != change.before:
                    raise QueueError(
                        f"{change.target.path} was changed meanwhile, so nothing was written; run it again"
                    )
            _put_all_in_place(changes, made)
        except OSError as error:
            raise QueueError(
                f"{error.filename or changes[0].target.path} could not be written ({error.strerror}); "
                "mend that and run it again"
            ) from None


def missing_folders(path: str) -> list[str]:
    """The folders that would have to be made for a file, the innermost first."""
    missing: list[str] = []
    folder = os.path.dirname(path)
    while folder and not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing


@contextmanager
def _made(change: Change) -> Generator[str | None]:
    """The file as it is to be, ready beside its place; gone again if it was not put there."""
    found = _writable(change)
    if change.after is None:
        yield None
        return
    real = change.target.real
    os.makedirs(os.path.dirname(real), exist_ok=True)
    path = real + PART
    descriptor = _opened(path)
    ours = os.fstat(descriptor)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _take_after(descriptor, found, change)
            file.write(change.after)
            file.flush()
            os.fsync(descriptor)
        yield path
    finally:
        try:
            if os.path.samestat(os.lstat(path), ours):  # once ours is in place, another install may have its own there
                os.unlink(path)
        except FileNotFoundError:
            pass


def _opened(path: str) -> int:
    """A new file that is ours alone; what a dead program left there goes. QueueError if it may be a living one's."""
    for is_last in (False, True):
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            if is_last or time.time() - os.lstat(path).st_mtime <= PART_STALE:
                break
            os.unlink(path)
    raise QueueError(f"another install is writing {path}; if none is, run this again in {PART_STALE:g} seconds")


def _writable(change: Change) -> os.stat_result | None:
    """What there is to know of the file that is to be replaced. QueueError where its owner wants it to stay."""
    try:
        found = os.stat(change.target.real)
    except FileNotFoundError:
        return None
    if not found.st_mode & 0o200:
        raise QueueError(f"{change.target.path} is read-only, so it is left alone; whoever made it so has to change it")
    return found


def _take_after(descriptor: int, found: os.stat_result | None, change: Change) -> None:
    """Mode and owner of the file that is replaced, or what a new one has."""
    if found is None:
        mask = os.umask(0o077)
        os.umask(mask)
        os.fchmod(descriptor, 0o600 if change.target.private else 0o666 & ~mask)
        return
    ours = os.fstat(descriptor)
    if (ours.st_uid, ours.st_gid) != (found.st_uid, found.st_gid):
        try:
            os.fchown(descriptor, found.st_uid, found.st_gid)
        except PermissionError:
            raise QueueError(
                f"{change.target.path} belongs to another user or group, which it would lose, so it is left alone"
            ) from None
    os.fchmod(descriptor, stat.S_IMODE(found.st_mode))


def _put_all_in_place(changes: Sequence[Change], made: Sequence[str | None]) -> None:
    """All of them; where one cannot be replaced (it may be a mount of its own), those before it as they were."""
    done: list[Change] = []
    try:
        for change, path in zip(changes, made, strict=True):
            _put_in_place(change, path)
            done.append(change)
    except OSError:
        for change in done:
            back = Change(target=change.target, before=change.after, after=change.before)
            with _made(back) as path:
                _put_in_place(back, path)
        raise


def _put_in_place(change: Change, made: str | None) -> None:
    real = change.target.real
    if made is None:
        os.unlink(real)
    else:
        os.rename(made, real)
    sync(os.path.dirname(real))


@contextmanager
def _lock(path: str) -> Generator[None]:
    """The lock that a file's client takes: waited for with a bound, taken from a dead program."""
    lock = path + ".lock"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    deadline = time.monotonic() + LOCK_PATIENCE
    while not _take(lock):
        if time.monotonic() > deadline:
            raise QueueError(f"another program is writing {path} (it holds {lock}); run it again")
        time.sleep(LOCK_POLL)
    try:
        yield
    finally:
        _let_go(lock)


def _take(lock: str) -> bool:
    try:
        os.mkdir(lock)
    except FileExistsError:
        pass
    else:
        return True
    try:
        if time.time() - os.stat(lock).st_mtime > LOCK_STALE:
            os.rmdir(lock)
    except FileNotFoundError:  # it was let go just now
        pass
    return False


def _let_go(lock: str) -> None:
    try:
        os.rmdir(lock)
    except OSError:  # somebody took it for a dead program's
        pass
