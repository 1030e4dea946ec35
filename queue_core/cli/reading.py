"""Reading files that grow: their last lines, and an attempt's output over holes, cuts and its closing up.

While a command runs, its keeper punches a hole into the middle of an output that is too large; when it
has ended, the file is closed up around a marker, so that what was read until then lies elsewhere.
"""

from __future__ import annotations

import os

from queue_core.outcomes import open_output, piece

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from queue_core.outcomes import Secrets

PIECE = 256 * 1024


def marker(cut: int) -> bytes:
    """The line that stands for bytes that were cut (the keeper writes the same)."""
    return b"\n[runq: %d bytes cut here]\n" % cut


def start_of_last(descriptor: int, lines: int) -> int:
    """Where the last so many lines of a file begin, in bytes; a last line without its end counts as one."""
    end = os.fstat(descriptor).st_size
    wanted = lines + 1 if end and os.pread(descriptor, 1, end - 1) == b"\n" else lines
    if lines == 0:
        return end
    at = end
    while at > 0:
        begin = max(0, at - PIECE)
        read = os.pread(descriptor, at - begin, begin)
        here = read.count(b"\n")
        if here >= wanted:
            return begin + _after_newline(read, here - wanted + 1)
        wanted -= here
        at = begin
    return 0


def _after_newline(read: bytes, number: int) -> int:
    """The position behind the `number`-th newline, 1 being the first."""
    at = 0
    for _ in range(number):
        at = read.index(b"\n", at) + 1
    return at


class GrowingOutput:
    """One attempt's output, read as it comes, as it may be shown. Positions count what the command wrote."""

    def __init__(self, path: str, secrets: Secrets = (), *, growing: bool = True) -> None:
        """`secrets`: what is masked besides known shapes, None for nothing at all; `growing`: more may come."""
        self._path = path
        self._secrets = secrets
        self._growing = growing
        self._descriptor = -1
        self._at = 0
        self._shrunk_to: int | None = None

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def skip_to_last(self, lines: int) -> None:
        """Begin at the last so many lines of what is there."""
        if self._open():
            self._at = start_of_last(self._descriptor, lines)

    @property
    def position(self) -> int:
        """Where the next byte is read from."""
        return self._at

    def size(self) -> int:
        """How long the file is now, in bytes."""
        return os.fstat(self._descriptor).st_size if self._open() else 0

    def new(self) -> Iterator[bytes]:
        """What has come since the last time."""
        if not self._open():
            return
        length = os.fstat(self._descriptor).st_size
        if length < self._at and not self._begun_anew(length):
            return
        yield from self._until(length)

    def _begun_anew(self, length: int) -> bool:
        """A file that became shorter was closed up, since the command has ended (then nothing is read until
        that is known), or, where no holes can be punched, cut: then it grows again.
        """
        if self._shrunk_to is None or length <= self._shrunk_to:
            self._shrunk_to = length
            return False
        self._at, self._shrunk_to = self._shrunk_to, None
        return True

    def rest(self, *, written: int, cut: int) -> Iterator[bytes]:
        """What is left of an attempt that has ended, having written so many bytes of which so many were cut."""
        if not self._open():
            return
        self._growing = False
        length = os.fstat(self._descriptor).st_size
        if cut:
            self._at = self._in_closed_up(length, written, cut)
        yield from self._until(length)

    def _in_closed_up(self, length: int, written: int, cut: int) -> int:
        """Where, in head + marker + tail, the reading goes on."""
        line = marker(cut)
        where = self._find(line, length)
        behind = length - (written - self._at)  # if the position lies in the tail
        if where < 0 or self._at <= where:
            return min(self._at, length)
        return behind if behind >= where + len(line) else where

    def _find(self, line: bytes, length: int) -> int:
        before, at = b"", 0
        while at < length:
            read = before + os.pread(self._descriptor, PIECE, at)
            if line in read:
                return at - len(before) + read.index(line)
            before = read[-len(line) :]
            at += PIECE
        return -1

    def _until(self, end: int) -> Iterator[bytes]:
        while self._at < end:
            begin, stop = self._data(end)
            if begin > self._at:
                yield marker(begin - self._at)
                self._at = begin
                continue
            shown = piece(self._descriptor, begin, min(PIECE, stop - begin), self._secrets, growing=self._growing)
            if not shown:
                return
            self._at += len(shown)
            yield shown

    def _data(self, end: int) -> tuple[int, int]:
        """The next stretch of the file that is no hole."""
        try:
            begin = os.lseek(self._descriptor, self._at, os.SEEK_DATA)
            return min(begin, end), min(os.lseek(self._descriptor, begin, os.SEEK_HOLE), end)
        except (AttributeError, OSError) as error:
            no_more_data = isinstance(error, OSError) and os.fstat(self._descriptor).st_blocks * 512 < end
            return (end, end) if no_more_data else (self._at, end)

    def _open(self) -> bool:
        if self._descriptor < 0:
            opened = open_output(self._path)
            self._descriptor = -1 if opened is None else opened
        return self._descriptor >= 0
