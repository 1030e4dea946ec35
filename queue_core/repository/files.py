"""Reading what an agent may have written: regular files of a usual size, and a suspicion if it is anything else."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 64 * 1024  # of a configuration file: this is looked at while the store waits


class Suspicion(Exception):
    """Something that runs programs, or that cannot be judged; the message names it."""


def text_of(path: str, most: int) -> str | None:
    """The same as `content_of`, as text."""
    content = content_of(path, most)
    return None if content is None else content.decode("utf-8", "surrogateescape")


def content_of(path: str, most: int) -> bytes | None:
    """What a regular file holds, None if there is none; a suspicion if it is anything else, or too long."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise Suspicion(f"{path} is no file of a usual size")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(most)
    finally:
        os.close(descriptor)


def upwards(folder: str) -> Iterator[str]:
    """A folder and all those that it lies in, the nearest first."""
    yield folder
    while (parent := os.path.dirname(folder)) != folder:
        folder = parent
        yield folder
