"""What a keeper notes in its own folder of the commands that it starts: a second witness beside the records.

A command may remove its own record, which would then look like a claim that never started, and be run once more,
even beside itself. So it is noted before it is spawned, and again with its process: job, claim, pid, start ticks,
pid namespace, Unix time. The latest line of a claim is what holds; pid 0 says that it may run, -1 that it never did.
"""

from __future__ import annotations

import os

from queue_core.keeper import locks, protocol
from queue_core.keeper.records import Start
from queue_core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.keeper.protocol import Claim

FILE = "started"
LONGEST = 64 * 1024  # bytes: beyond that the notes are written anew, without what has a recorded end
_NOTED = 6  # fields of a line
_NEVER = -1
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class Started:
    """The notes of the keeper with this folder (a descriptor)."""

    def __init__(self, home: int) -> None:
        self._home = home
        self._fd = os.open(FILE, _FLAGS, 0o600, dir_fd=home)
        self._size, self._longest = 0, LONGEST
        self._open: dict[Claim, bytes] = {}  # the lines of claims without a recorded end

    def note(self, start: Start) -> None:
        """Note a command that is about to run, or runs. OSError if the disk fails."""
        line = self._open[start.job, start.claim] = _line(start)
        self._add(line)

    def never(self, start: Start) -> None:
        """It was noted, but could not be spawned. OSError if the disk fails."""
        self._open.pop((start.job, start.claim), None)
        self._add(_line(replace(start, pid=_NEVER)))

    def ended(self, claim: Claim) -> None:
        """Its end is recorded: the note may be forgotten."""
        self._open.pop(claim, None)
        if self._size > self._longest:
            try:
                self._begin_anew()
            except OSError:  # a full disk: the long ones are as good, for a while
                self._longest = 2 * self._size

    def _add(self, line: bytes) -> None:
        # The line begins anew: a disk that fills up may have taken but a part of the one before.
        taken = os.write(self._fd, b"\n" + line)
        self._size += taken
        if taken <= len(line):
            raise OSError("the disk took only a part of the note: is it full?")

    def _begin_anew(self) -> None:
        """Whoever reads finds the notes from before, or all that still count."""
        fresh, content = FILE + ".new", b"".join(self._open.values())
        fd = os.open(fresh, _FLAGS | os.O_TRUNC, 0o600, dir_fd=self._home)
        try:
            if os.write(fd, content) != len(content):
                raise OSError("the disk took only a part of the notes")
            os.rename(fresh, FILE, src_dir_fd=self._home, dst_dir_fd=self._home)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._size = fd, len(content)
        self._longest = max(LONGEST, 2 * self._size)


def _line(start: Start) -> bytes:
    at = divmod(
        max(0, int(start.started_at * 1_000_000)), 1_000_000
    )  # "%f" takes longer than the note's way to the file
    return b"%d %d %d %d %d %d.%06d\n" % (
        *(start.job, start.claim, start.pid or 0, start.ticks or 0, start.pid_namespace),
        *at,
    )


def find(keeper_dir: str, job: int, claim: int) -> Start | None:
    """The start of a claim as its keeper noted it; None if it did not start it, or can't be asked."""
    return noted(keeper_dir, b"%d %d " % (job, claim)).get((job, claim))


def noted(keeper_dir: str, wanted: bytes = b"") -> dict[Claim, Start]:
    """All starts that a keeper has noted, or those whose lines begin so. OSError if its notes can't be read."""
    found: dict[Claim, Start] = {}
    lines = [line.split() for line in _read(os.path.join(keeper_dir, FILE)).split(b"\n") if line.startswith(wanted)]
    boot = _read(os.path.join(keeper_dir, protocol.BOOT)).decode("ascii", "replace")
    for fields in lines:
        if len(fields) != _NOTED:
            continue
        job, claim, pid = (int(field) for field in fields[:3])
        found[job, claim] = Start(
            job=job,
            claim=claim,
            keeper=os.path.basename(keeper_dir),
            boot_id=boot,
            pid=pid or None,
            ticks=int(fields[3]) or None,
            pid_namespace=int(fields[4]),
            started_at=float(fields[5]),
        )
    return {claim: start for claim, start in found.items() if start.pid != _NEVER}


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in locks.NO_FILE:
            return b""
        raise
    with os.fdopen(fd, "rb") as file:
        return file.read()
