"""File locks as signs of life: free within milliseconds of a SIGKILL, held under SIGSTOP."""

from __future__ import annotations

import errno
import fcntl
import os
import time

TRIES = 200
# What an open says where there is no file of ours, but perhaps something that a command has put in its place.
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


def take(fd: int) -> None:
    """Lock an open file for as long as a copy of this descriptor lives; BlockingIOError when it is held.

    Whoever asks `held` holds a shared lock for a moment, so a refusal is tried again, for 0.2 s.
    """
    for _ in range(TRIES):
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.001)
    return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def held(path: str) -> bool:
    """Does some process hold the lock on this file? What is not there, or a link, is held by nobody."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in NO_FILE:
            return False
        raise
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
