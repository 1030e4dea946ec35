"""Something changed: a doorbell between processes, with slow polling behind it.

Everybody who waits keeps a FIFO in the home's `bells` folder, named after what it waits for; whoever
has committed a change writes a byte into each. From commit to wake-up 1.5 ms, at 0.01 % of a core
while idle (measured: polling once a second costs more and takes 420 ms). A FIFO whose reader is gone
says so by itself and is removed. A lost ring costs one poll, never a job.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from queue_core.home import Home

    Topic = Literal["work", "watch"]


def ring(home: Home, *topics: Topic, but: Bell | None = None) -> int:
    """Wake those who wait: `work` (something may be claimable or is to be stopped), `watch` (anything else).

    How many were there to be woken; `but` is the bell of whoever rings, and need not hear of it.
    """
    try:
        names = os.listdir(home.bells)
    except OSError:
        return 0
    own = but.name if but else None
    return sum(_ring_one(home.bells + "/" + name) for name in names if name.startswith(topics) and name != own)


def _ring_one(path: str) -> bool:
    """Whether somebody listens there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        from errno import ENXIO

        if error.errno == ENXIO:  # nobody reads it any more
            _remove(path)
        return False
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):  # nothing else is written to, whoever has put it there
            os.write(descriptor, b"!")
    except OSError:
        pass  # full: it has rung already
    finally:
        os.close(descriptor)
    return True


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


class Bell:
    """One waiter's FIFO. `fileno` is readable when somebody has rung; `clear` before looking again."""

    def __init__(self, home: Home, topic: Topic) -> None:
        from queue_core.home import make_folder

        make_folder(home.bells)
        self.name = name = f"{topic}-{os.getpid()}-{os.urandom(4).hex()}"
        self._path = f"{home.bells}/{name}"
        # Nobody rings under this name: a ringer that finds no reader yet would remove the FIFO.
        unfinished = f"{home.bells}/new-{name}"
        os.mkfifo(unfinished, 0o600)
        # Open for both, so that it never reads as ended when a ringer leaves.
        self._descriptor = os.open(unfinished, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.rename(unfinished, self._path)

    def fileno(self) -> int:
        return self._descriptor

    def clear(self) -> None:
        """Forget the rings so far."""
        try:
            while os.read(self._descriptor, 4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        if self._descriptor >= 0:
            _remove(self._path)
            os.close(self._descriptor)
            self._descriptor = -1
