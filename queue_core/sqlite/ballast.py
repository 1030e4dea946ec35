"""Ballast: room on the disk that is kept for ends, and given up when the disk is full.

On a full disk even the small UPDATE "this job has ended" fails, a DELETE too, and a checkpoint, whose pages
make the database grow. So a worker lays a file of real blocks beside the database before it claims anything.
Only what ends something may spend it: how jobs ended, cancellations, leaving. While it is spent, nothing is
claimed. A file of no length says that it is spent; without one, none has been laid yet.
"""

from __future__ import annotations

import os
import stat

from queue_core.home import free_mib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home

# An end writes 10 pages of 4 KiB to the WAL, with the longest tail of an output 13, and lets the database grow by 3
# (measured). Sixty-four that end together share most pages, and take less than 900 KiB; one by one it is room for
# twenty without any checkpoint, and each that works gives the WAL's room back.
SIZE = 1024 * 1024  # bytes
SPENT = "the ballast is spent: free space in {}; until then what runs is recorded, and nothing is claimed"


def lay(home: Home) -> bool:
    """Set the room aside, if it is not and the disk has it to spare; whether it is there now."""
    path, before = home.ballast, _length(home.ballast)
    if before == SIZE:
        return True
    if free_mib(home.data) < 2 * SIZE / (1024 * 1024):  # what others leave is not all taken
        return False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        # Noise: a file system that compresses would set nothing aside for zeros.
        whole = os.write(descriptor, os.urandom(SIZE)) == SIZE
    except OSError:
        whole = False
    try:
        if whole:
            os.ftruncate(descriptor, SIZE)
        elif before is None:
            os.unlink(path)  # none was laid, so none is spent
        else:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
    return whole


def give_up(home: Home) -> bool:
    """Make room with it; False if there is none to give up."""
    if not _length(home.ballast):
        return False
    try:
        descriptor = os.open(home.ballast, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.ftruncate(descriptor, 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def spent(home: Home) -> bool:
    """Whether it was given up, and there has not been enough room to lay it again."""
    length = _length(home.ballast)
    return length is not None and length < SIZE


def _length(path: str) -> int | None:
    """How much is set aside, in bytes; None if there is no such file."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
