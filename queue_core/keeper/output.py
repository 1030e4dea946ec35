"""Keep a command's output near its cap: the beginning and the end stay, the middle goes.

The command writes straight into the file, so the keeper can only look from time to time and punch a
hole into a file that has grown too large: it may overshoot by what is written between two looks. While
the command runs, the hole reads as NUL bytes; at the end the file is closed up around a marker line.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCK = 4096
PIECE = 1024 * 1024
_KEEP_SIZE, _PUNCH_HOLE = 1, 2


class Output:
    """The output file of one command, open for reading and writing; `cap` in bytes, None for no cap."""

    def __init__(self, fd: int, cap: int | None) -> None:
        self._fd = fd
        self._cap = cap
        self._head = (cap or 0) // 2
        self._tail = (cap or 0) - self._head
        self._punched = -(-self._head // BLOCK) * BLOCK
        self._dropped = 0  # bytes that are not even counted in the file's size any more
        self._seen = 0

    def trim(self) -> bool:
        """Drop the middle if there is too much; tells whether the file has grown since the last look."""
        size = os.fstat(self._fd).st_size
        grown, self._seen = size != self._seen, size
        end = (size - self._tail) // BLOCK * BLOCK
        if self._cap is not None and size > self._cap and end > self._punched:
            if punch(self._fd, self._punched, end - self._punched):
                self._punched = end
            else:
                self._restart(size)
        return grown

    def _restart(self, size: int) -> None:
        """Where holes can't be punched: keep the head only; the command appends behind it."""
        os.ftruncate(self._fd, self._head)
        self._dropped += size - self._head
        self._seen = self._head

    def close_up(self) -> tuple[int, int]:
        """Put head, marker and tail together. Returns the bytes written by the command and those cut.

        What a process left behind appends meanwhile may be lost; afterwards nobody trims it.
        """
        size = os.fstat(self._fd).st_size
        total = size + self._dropped
        if self._cap is None:
            return total, 0
        tail = min(self._tail, max(0, size - self._head))
        cut = total - min(size, self._head) - tail
        marker = b"\n[runq: %d bytes cut here]\n" % cut
        if cut <= len(marker) and not self._dropped:
            return total, 0
        try:
            self._join(size, tail, marker)
        except OSError:  # a full disk: a true head is better than a scrambled file
            os.ftruncate(self._fd, self._head)
            return total, total - self._head
        return total, cut

    def _join(self, size: int, tail: int, marker: bytes) -> None:
        _move(self._fd, size - tail, self._head + len(marker), tail)
        os.pwrite(self._fd, marker, self._head)
        os.ftruncate(self._fd, self._head + len(marker) + tail)


def _move(fd: int, source: int, target: int, length: int) -> None:
    """Move bytes within a file, piece by piece, in the direction in which nothing is overwritten unread."""
    offsets = range(0, length, PIECE)
    for offset in offsets if target <= source else reversed(offsets):
        piece = os.pread(fd, min(PIECE, length - offset), source + offset)
        if os.pwrite(fd, piece, target + offset) != len(piece):
            raise OSError("the disk took only a part of the output")


_fallocate: Any = None


def punch(fd: int, start: int, length: int) -> bool:
    """Give a range of a file back to the disk, its size unchanged; False where that is not possible."""
    global _fallocate
    if _fallocate is None:
        import ctypes  # 2 MB that most keepers never need

        _fallocate = getattr(ctypes.CDLL(None), "fallocate", False)
        if _fallocate:
            _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)
    return bool(_fallocate) and _fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, start, length) == 0
