"""What a keeper notes in its own folder of the commands that it has started: a second witness beside the records.

A command may remove its own record, which would then look like a claim that never started, and be run once more,
even beside itself. One line a command: job, claim, pid, start ticks, pid namespace, Unix time.
"""

from __future__ import annotations

import os

from queue_core.keeper import locks, protocol
from queue_core.keeper.records import Start

FILE = "started"
LONGEST = 64 * 1024  # bytes: beyond that the notes begin anew when nothing runs
_NOTED = 6  # fields of a line


class Started:
    """The notes of the keeper whose folder is the working directory."""

    def __init__(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(FILE, flags, 0o600)
        self._size = 0

    def note(self, start: Start) -> None:
        """Note a command that runs. OSError if the disk fails."""
        values = (start.job, start.claim, start.pid, start.ticks or 0, start.pid_namespace, start.started_at)
        # The line begins anew: a disk that fills up may have taken but a part of the one before.
        self._size += os.write(self._fd, b"\n%d %d %d %d %d %f\n" % values)

    def begin_anew(self) -> None:
        """Nothing runs, and all ends are recorded: the notes may be forgotten once they are long."""
        if self._size > LONGEST:
            os.ftruncate(self._fd, 0)
            self._size = 0


def find(keeper_dir: str, job: int, claim: int) -> Start | None:
    """The start of a claim as its keeper noted it; None if it did not start it, or can't be asked."""
    noted = _read(os.path.join(keeper_dir, FILE)).split(b"\n")
    wanted = b"%d %d " % (job, claim)
    boot = _read(os.path.join(keeper_dir, protocol.BOOT)).decode("ascii", "replace")
    for line in noted:
        fields = line.split()
        if line.startswith(wanted) and len(fields) == _NOTED:
            return Start(
                job=job,
                claim=claim,
                keeper=os.path.basename(keeper_dir),
                boot_id=boot,
                pid=int(fields[2]),
                ticks=int(fields[3]) or None,
                pid_namespace=int(fields[4]),
                started_at=float(fields[5]),
            )
    return None


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in locks.NO_FILE:
            return b""
        raise
    with os.fdopen(fd, "rb") as file:
        return file.read()
