"""End a command with all that belongs to it: TERM and CONT, a grace, KILL until nobody is left."""

from __future__ import annotations

import os
import time

from queue_core.keeper import processes, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from queue_core.keeper.processes import Lock
else:
    import _signal as signal

RESCAN = 0.2  # seconds between two looks at who is left
LAST_CALL = 5.0  # seconds after the first KILL until what is still left (it hangs in the kernel) is given up


class Tree:
    """A command's session and its strays, which carry the claim's token in their environment, or its lock."""

    def __init__(self, session: int, ticks: int | None, token: str | None, lock: Lock | None = None) -> None:
        self._session = session
        self._ticks = ticks
        self._token = token
        self._lock = lock

    def pids(self) -> list[int]:
        """Who is alive, as numbers for `os.kill`.

        A session's number can't be used again while a member lives. If a process of that number has
        other start ticks, the session is gone and the number somebody else's.
        """
        ours = self._ticks is None or processes.start_ticks(self._session) in (None, self._ticks)
        return processes.members(self._session if ours else 0, self._token, self._lock)

    def send(self, *signals: int) -> list[int]:
        """Signal everybody; returns whom."""
        pids = self.pids()
        for pid in pids:
            try:
                for number in signals:
                    os.kill(pid, number)
            except OSError:  # gone in the meantime, or it became another user (sudo)
                continue
        return pids


class Ending:
    """A termination under way; it never waits, the keeper's loop calls `step` when it is `due`."""

    def __init__(self, tree: Tree, reason: str, grace: float, now: float) -> None:
        """Begin: TERM, and CONT for those that are stopped. Times are monotonic seconds."""
        self.reason = reason
        self._tree = tree
        self._kill_at = now + max(0.0, grace)
        self.due = self._kill_at
        self._reaped = False
        self._any_left(signal.SIGTERM, signal.SIGCONT)

    def step(self, now: float, *, reaped: bool) -> bool:
        """Is it over? `reaped`: the command itself has ended, which makes a look at the rest worth while."""
        if now < self.due and reaped == self._reaped:
            return False
        self._reaped = reaped
        left = self._any_left(*[signal.SIGKILL] if now >= self._kill_at else [])
        self.due = self._next(now)
        return reaped and (not left or now >= self._kill_at + LAST_CALL)

    def _any_left(self, *signals: int) -> bool:
        """Signal who is left; was there anybody? Yes, as long as the system has no descriptors to look with."""
        try:
            return bool(self._tree.send(*signals))
        except OSError:
            return True

    def _next(self, now: float) -> float:
        if now < self._kill_at and not self._reaped:
            return self._kill_at
        # On a machine with very many processes a look takes long: then look less often.
        pause = max(RESCAN, 10 * (time.monotonic() - now))
        return now + pause if now >= self._kill_at else min(now + pause, self._kill_at)


def end_orphan(start: records.Start, token: str | None = None, grace: float = 5.0, *, lock: Lock | None = None) -> bool:
    """End a command that has lost its keeper; True when nothing of it is left.

    Blocks for at most about `grace` + 5 seconds. The recorded process is signalled only if boot id, pid
    namespace, pid and start ticks match; if it is gone, only what carries the claim's token or lock is. False,
    and no signal at all, from another boot or pid namespace, without /proc, and if nothing can be named.
    """
    alive = records.process_alive(start)
    if not (processes.HAVE_PROC and records.same_place(start) and (alive or token or lock)):
        return False
    tree = Tree(start.pid if alive and start.pid else 0, start.ticks, token, lock)
    ending = Ending(tree, "cancelled", grace, time.monotonic())
    give_up = time.monotonic() + grace + LAST_CALL
    while not ending.step(time.monotonic(), reaped=not records.process_alive(start)):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return not tree.pids()
