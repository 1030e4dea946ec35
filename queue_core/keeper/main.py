"""The keeper's process: one loop that spawns, waits, ends and tells.

Children are waited for by SIGCHLD and wait4 rather than by pidfd or kqueue: it is the same on every
system, costs no descriptor a command, brings the resource usage along, and a pid can't be used again
before it is reaped here. All modules that a keeper needs are imported when it starts, so that an upgrade
under its feet can't mix versions (but ctypes, for an output above its cap, and json, to word a malformed
message; it does without them if it must).
"""

from __future__ import annotations

import gc
import os
import resource  # noqa: F401 # pyright: ignore[reportUnusedImport] - see `_child_signals`
import select
import time

from queue_core.errors import SpawnFailed
from queue_core.keeper import connections, locks, protocol, records, spawn
from queue_core.keeper.command import NEVER, Command, Place, log
from queue_core.keeper.connections import Connection
from queue_core.keeper.protocol import CONNECTION_FD
from queue_core.keeper.records import End, InTheWay, in_the_way, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Collection
    from typing import Any

    from queue_core.keeper.protocol import Claim, Message
else:
    import _signal as signal  # `signal` takes 5 ms: it makes enums

LOOK_OFTEN, LOOK_SELDOM = 0.05, 0.25  # seconds between two looks at the outputs
ENDS_REMEMBERED = 4096


class Keeper:
    """The commands that run, and who wants to know of them."""

    def __init__(self, place: Place) -> None:
        self.running: dict[Claim, Command] = {}
        self._place = place
        self._by_pid: dict[int, Command] = {}
        self._exited: list[Command] = []  # since the last `advance`
        self._due = NEVER  # not after the first of the running ones is
        self._ended: dict[Claim, bytes] = {}  # the messages; the latest only, the records have them all
        self._promised: set[Claim] = set()  # told to be unknown, so never to be started
        self._look_at, self._look_every = NEVER, LOOK_OFTEN
        self._verbs: dict[Any, Callable[[Connection, Message], None]] = {
            "hello": self._hello,
            "spawn": self._spawn_all,
            "spawn one": self._spawn_one,
            "end": self._end,
            "watch": self._watch,
        }

    def handle(self, sender: Connection, message: Message) -> None:
        """Do what a message asks. One that makes no sense is answered, and hurts nobody."""
        try:
            self._verbs[message["op"]](sender, message)
        except Exception as error:  # whatever it is: a keeper that ends makes its commands lost
            sender.send({"op": "error", "error": f"{type(error).__name__}: {error}"})

    def leave(self, listener: Connection) -> None:
        """A connection is over: there is nobody to tell any more."""
        for running in self.running.values():
            running.listeners.discard(listener)

    def _hello(self, sender: Connection, _message: Message) -> None:
        sender.send(protocol.hello(os.getpid(), len(self.running)))

    def _spawn_all(self, sender: Connection, message: Message) -> None:
        for job in message["jobs"]:
            self.handle(sender, {"op": "spawn one", "job": job})  # a senseless one must not stop the others

    def _spawn_one(self, sender: Connection, message: Message) -> None:
        job = message["job"]
        claim = _claim_of(job)
        try:
            self._spawn(sender, claim, spawn.request_of(job))
        except Exception as error:  # who asked waits for one answer or the other
            sender.send(protocol.about("refused", claim, error=str(error)))

    def _spawn(self, sender: Connection, claim: Claim, request: spawn.Request) -> None:
        """Run one command. An exception means that it was not started, and nothing of it is left."""
        if claim in self._promised:
            raise ValueError("the claim was given up: this keeper has said that it does not know it")
        if claim in self.running or claim in self._ended:
            raise ValueError("the claim was started before")
        try:
            started = Command(request, self._place)
        except InTheWay as error:  # the job's own trouble, which no other job has to wait for
            return self._tell(claim, {sender}, text_of(End(error=in_the_way(error), ended_at=time.time())))
        started.listeners.add(sender)
        try:
            started.spawn(self._place.home)
        except SpawnFailed as why:
            return self._tell(claim, started.listeners, started.fail(why))
        except Exception:
            started.forget()
            raise
        self.running[claim] = self._by_pid[started.pid] = started
        self._due = min(self._due, started.due())
        if started.capped:
            self._look_every = LOOK_OFTEN
            self._look_at = min(self._look_at, time.monotonic() + LOOK_OFTEN)
        return self._note_process(started)

    def _note_process(self, started: Command) -> None:
        try:
            started.note_process()
        except OSError as error:  # it runs, and its end will be tried as well
            log(f"The process of claim {started.claim} could not be recorded: {error}")

    def _end(self, sender: Connection, message: Message) -> None:
        claim, reason = _claim_of(message), message["reason"]
        if reason not in protocol.REASONS:
            raise ValueError("reason is cancelled or interrupted")
        self.reap()  # who has exited by itself was not ended by us
        self.advance()
        if running := self.running.get(claim):
            sender.send(protocol.about("ending", claim))
            running.stop(reason, time.monotonic())
            self._due = min(self._due, running.due())
        elif claim in self._ended:
            sender.send_line(self._ended[claim])
        else:
            sender.send(protocol.about("unknown", claim))

    def _watch(self, sender: Connection, message: Message) -> None:
        claims = [(int(job), int(claim)) for job, claim in message["claims"]]
        running = [claim for claim in claims if claim in self.running]
        unknown = [claim for claim in claims if claim not in self.running and claim not in self._ended]
        self._promised.update(unknown)
        sender.send(protocol.watching(running, unknown))
        for claim in running:
            self.running[claim].listeners.add(sender)
        for claim in claims:
            if claim in self._ended:
                sender.send_line(self._ended[claim])

    def reap(self) -> None:
        """Take note of all children that have exited."""
        while self._by_pid:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if exited := self._by_pid.pop(pid, None):
                exited.exited(status, usage)
                self._exited.append(exited)

    def advance(self) -> None:
        """Do what is due: time-outs, terminations, ends, outputs above their caps."""
        now = time.monotonic()
        looked_at, self._exited = self._exited, []
        if now >= self._due:
            looked_at, self._due = list(self.running.values()), NEVER
        try:
            for running in looked_at:
                if running.over(now):
                    del self.running[running.claim]
                    self._tell(running.claim, running.listeners, running.finish())
                else:
                    self._due = min(self._due, running.due())
        except BaseException:
            self._due = now  # at the next turn all are looked at, those behind this one too
            raise
        if now >= self._look_at:
            self._look_at_outputs(now)

    def due(self) -> float:
        """When `advance` has something to do next, in monotonic seconds."""
        return min(self._look_at, self._due)

    def _look_at_outputs(self, now: float) -> None:
        """Often while something grows, more and more seldom while nothing does, never if nothing runs."""
        capped = [running for running in self.running.values() if running.capped]
        grown = [running.trim() for running in capped]
        self._look_every = LOOK_OFTEN if any(grown) else min(LOOK_SELDOM, self._look_every * 1.5)
        self._look_at = now + self._look_every if capped else NEVER

    def _tell(self, claim: Claim, listeners: Collection[Connection], end: str) -> None:
        message = protocol.ended(claim, end)
        self._ended[claim] = message
        if len(self._ended) > ENDS_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        for listener in listeners:
            listener.send_line(message)


class Loop:
    """What the keeper waits for: connections, children, time."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._connections: dict[int, Connection] = {}
        self._poll = select.poll()
        self._children = _child_signals()
        self._listener = connections.listen(protocol.SOCKET)
        self._poll.register(self._children, select.POLLIN)
        self._poll.register(self._listener.fileno(), select.POLLIN)

    def run(self) -> None:
        """Until the last command has ended and nobody is connected."""
        while self._keeper.running or self._connections:
            for fd, _ in self._poll.poll(self._patience()):
                self._serve(fd)
            self._keeper.reap()
            self._keeper.advance()
            self._attend()

    def add(self, connection: Connection) -> None:
        """Serve one more connection, which is greeted by a `hello`."""
        self._connections[connection.fd] = connection
        connection.polled = select.POLLIN
        self._poll.register(connection.fd, connection.polled)

    def _patience(self) -> float:
        """Milliseconds; at most a minute, as poll can't count further than 24 days."""
        return max(0.0, min(60_000.0, (self._keeper.due() - time.monotonic()) * 1000 + 1))

    def _serve(self, fd: int) -> None:
        if fd == self._children:
            os.read(fd, 4096)
        elif fd == self._listener.fileno():
            self._accept()
        elif connection := self._connections.get(fd):
            for message in connection.receive():
                self._keeper.handle(connection, message)

    def _accept(self) -> None:
        try:
            self.add(connections.accept(self._listener))
        except BlockingIOError:
            return
        except OSError as error:
            log(f"A connection could not be accepted: {error}")
            time.sleep(0.05)  # out of descriptors: it stays in the queue, and must not become a busy loop

    def _attend(self) -> None:
        """Send what is to be said, wait for what each connection is ready for, and close those that are over."""
        for fd, connection in list(self._connections.items()):
            if connection.waits_to_send:
                connection.flush()
            wanted = select.POLLIN | (select.POLLOUT if connection.waits_to_send else 0)
            if connection.open and wanted != connection.polled:
                connection.polled = wanted
                self._poll.register(fd, wanted)  # a second time means a change
            elif not connection.open:
                self._poll.unregister(fd)
                del self._connections[fd]
                self._keeper.leave(connection)
                connection.close()


def _claim_of(values: Message) -> Claim:
    job, claim = values["job"], values["claim"]
    if not (isinstance(job, int) and isinstance(claim, int)):
        raise ValueError("job and claim are numbers")
    return job, claim


def _child_signals() -> int:
    """A descriptor that is readable when children have exited.

    Reaping them imports `resource`, at the first os.wait4, unless that was done before: it is imported
    at the top, as there may be no descriptor left by then, and a keeper that fails there ends.
    """
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.signal(signal.SIGCHLD, _nothing)  # without a handler the system would not write to it
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def _nothing(_number: int, _frame: object) -> None:
    """The descriptor says it all."""


def _settle_in(keeper_dir: str) -> Place:
    """Lock the keeper's directory, for life; leave behind what it should not have inherited."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    most = os.sysconf("SC_OPEN_MAX")  # -1 without a limit
    os.closerange(CONNECTION_FD + 1, min(most, 65536) if most > 0 else 65536)
    os.set_inheritable(CONNECTION_FD, False)
    # No descriptor of the keeper's own may have the number at which commands find their lock.
    os.dup2(0, records.LOCK_FD, inheritable=False)
    os.chdir(keeper_dir)
    locks.take(os.open(protocol.LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    place = Place(os.path.basename(keeper_dir), os.open(".", os.O_RDONLY | os.O_CLOEXEC))
    _note_boot(place)
    return place


def _note_boot(place: Place) -> None:
    """Note the boot id for claims whose record a crash of the machine takes away: so this one is fsynced."""
    made = os.open(protocol.BOOT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.write(made, place.boot_id.encode("ascii"))
    os.close(made)
    for path in (protocol.BOOT, ".", ".."):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(fd)
        os.close(fd)


def main(keeper_dir: str) -> None:
    """Run a keeper in its own directory, until it is not needed any more."""
    place = _settle_in(keeper_dir)
    loop = Loop(Keeper(place))
    first = connections.adopt(CONNECTION_FD)
    loop.add(first)
    first.send(protocol.hello(os.getpid(), 0))
    first.flush()
    gc.freeze()  # what is there by now stays
    loop.run()
    os.unlink(protocol.SOCKET, dir_fd=place.home)
