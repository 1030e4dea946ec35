"""What is done to the processes and files of a storm, one deed at a time, as a seeded chance has it.

Who is hit next is whoever has had less than its share of the kills so far; when, where and how is left to chance.
As long as too few have died at points, whoever may is left to get there: where processes are slow, one that kills by
the clock would else be there first.
"""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from random import Random

from tests.crash.clients import Clients
from tests.crash.frames import Server
from tests.crash.points import ROLES
from tests.crash.world import World, parent

MIB = 1 << 20
STOPS = 0.12  # share of the hits that are SIGSTOP, and SIGCONT a little later
IDLE_KEEPERS = 0.05  # chance that a keeper is hit when none has anything to do
AHEAD = 0.25  # kills for each percent of its share that a role may be ahead of the one that lags most
GROWN_UP = 2.0  # seconds after which a process has opened the database
IMPATIENT = 1.0  # seconds without a hit, after which anybody will do
AT_POINTS = 0.18  # share of the kills of who passes points that are to be at one
WAL = ("", "-wal", "-shm")


class Hunter:
    """Kills and stops processes, in given shares by role."""

    def __init__(self, world: World, clients: Clients, chance: Random, shares: Mapping[str, int]) -> None:
        self._world, self._clients, self._chance, self._shares = world, clients, chance, shares
        self._last = time.monotonic()

    def hunt(self) -> None:
        """Kill, or now and then stop, one process of the role that lags behind the most and has somebody to hit."""
        least = min(map(self._share, self._shares))
        waited = time.monotonic() - self._last
        spare = waited < IMPATIENT and self._too_few_at_points()
        for role in sorted(self._shares, key=self._share):
            if waited < IMPATIENT and self._share(role) > least + AHEAD:
                return  # wait for who lags, rather than hit what is always there
            if victims := self._victims(role, spare=spare):
                self._hit(self._chance.choice(victims), role)
                return

    def had_its_share_at_points(self, role: str) -> bool:
        """Whether a role's kills at points alone are more than its per cent of all kills."""
        return self._world.killed_at_points[role] * 100 > self._shares[role] * self._world.kills.total()

    def _hit(self, victim: int, role: str) -> None:
        self._last = time.monotonic()
        if self._chance.random() < STOPS:
            self._world.stop(victim, role, self._chance.choice((0.02, 0.1, 0.5, 1.2)))
        else:
            self._world.kill(victim, role)

    def _too_few_at_points(self) -> bool:
        kills = sum(self._world.kills[role] for role in ROLES)
        return self._world.killed_at_points.total() < AT_POINTS * kills

    def _share(self, role: str) -> float:
        return self._world.kills[role] / self._shares[role]

    def _victims(self, role: str, *, spare: bool) -> list[int]:
        """Who may be hit now; to spare those who may die at a point, only the others."""
        found = self._all_victims(role)
        return [pid for pid in found if not self._world.may_die_at_a_point(pid)] if spare else found

    def _all_victims(self, role: str) -> list[int]:
        world = self._world
        if role == "command":
            return list(world.running)
        if role == "keeper":
            busy = world.keepers.keys() & {parent(pid) for pid in world.running}
            return list(busy or (world.keepers if self._chance.random() < IDLE_KEEPERS else ()))
        if role == "cli":
            return [one.pid for one in world.alive("cli")]
        if role == "worker" and world.booted and self._chance.random() < 0.3:
            return list(world.booted)
        now = time.monotonic()
        return [one.pid for one in world.alive(role) if one.until <= now]


class Frames:
    """Garbage on the stdin of one server; the others have to go on answering."""

    def __init__(self, world: World, clients: Clients, chance: Random) -> None:
        self._world, self._clients, self._chance = world, clients, chance
        self._asked: list[Server] = []
        self.tried: Counter[str] = Counter()

    def spoil(self) -> None:
        """Choose a server that talks, and talk nonsense to it."""
        able = [one for one in self._clients.servers if one.ready and not one.spoilt]
        if len(able) < 2:
            return
        kind = self._chance.choice(("garbage", "huge", "half"))
        ghost = f'{{"argv":["{self._world.folder}/ghost","{self.tried.total()}"]}}'
        call = f'{{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{{"name":"enqueue","arguments":{ghost}'
        garbage = {
            "garbage": bytes(self._chance.randrange(256) for _ in range(300)).replace(b"\n", b"") + b"\n{]\n\0\n[1,2\n",
            "huge": call.encode().replace(b"ghost", b"ghost" + b"x" * 10 * MIB) + b"}}\n",
            "half": call.encode(),
        }[kind]
        self.tried[kind] += 1
        spoilt, other = self._chance.sample(able, 2)
        spoilt.spoil(garbage, close=kind == "half" or self._chance.random() < 0.3)
        self._asked.append(other)
        other.call("health", {}, lambda _: self._asked.remove(other))

    def unanswered(self) -> int:
        """How many servers beside a spoilt one live and have not answered what they were asked then."""
        return sum(not one.process.over for one in self._asked)


class Trouble:
    """What befalls the files and the clock of a home, for a while, one trouble at a time."""

    def __init__(self, world: World, clients: Clients, chance: Random, *, mounted: bool) -> None:
        self._world, self._clients, self._chance = world, clients, chance
        self._kinds: dict[str, Callable[[], Callable[[], None]]] = {
            "clock": self._clock,
            "foreign": self._foreign,
            "removed": self._removed,
        }
        if mounted:
            self._kinds |= {"full": self._full, "read-only": self._read_only}
        self._undo: Callable[[], None] | None = None
        self._until = 0.0
        self._turn = 0
        self.tried: Counter[str] = Counter()
        self.findings: list[tuple[str, str]] = []
        self.no_clients = False  # while what is accepted would go into a file that is taken away again

    def step(self) -> None:
        """Begin or end a trouble when it is time."""
        now = time.monotonic()
        if now < self._until:
            return
        if self._undo:
            self.end()
            self._until = now + self._chance.uniform(0.5, 1.5)
            return
        kind = list(self._kinds)[self._turn % len(self._kinds)]
        self._turn += 1
        self._world.note(f"trouble {kind}")
        self._undo = self._kinds[kind]()
        self.tried[kind] += 1
        self._until = now + self._chance.uniform(0.5, 2.0)

    def end(self) -> None:
        """All is as it was."""
        if self._undo:
            self._undo()
            self._undo = None
            self._world.note("trouble over")

    def _clock(self) -> Callable[[], None]:
        self._world.set_clock(self._chance.choice((-3600.0, 3600.0)))
        return lambda: self._world.set_clock(0.0)

    def _full(self) -> Callable[[], None]:
        path = self._world.home / "filler"
        with path.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(MIB))
            except OSError:
                pass
            try:
                while True:
                    file.write(bytes(512))
            except OSError:
                pass
        return path.unlink

    def _read_only(self) -> Callable[[], None]:
        """A read-only mount above the home: whatever is open can still be written, nothing can be opened to write."""
        home, apart = str(self._world.home), self._world.folder / "read-only"
        if not apart.exists():  # made ready where nobody is: a mount in which something is written stays writable
            apart.mkdir()
            _run("mount", "--bind", home, str(apart))
            _run("mount", "-o", "remount,bind,ro", str(apart))
        _run("mount", "--bind", str(apart), home)
        return lambda: _run("umount", "-l", home)

    def _foreign(self) -> Callable[[], None]:
        """Another program's file in the database's place: it has to be as it was when it is taken away."""
        foreign = self._world.home / "foreign"  # another file system would mean another inode
        if self._chance.random() < 0.5:
            with closing(sqlite3.connect(foreign)) as database:
                database.execute("PRAGMA application_id = 42")
                database.execute("CREATE TABLE things (name TEXT)")
                database.commit()
        else:
            foreign.write_bytes(self._chance.randbytes(8192))
        before = foreign.read_bytes()
        put_back = self._swapped(foreign)

        def back() -> None:
            if (self._world.home / "runq.db").read_bytes() != before:
                self.findings.append(("file", "a foreign database was written to"))
            put_back()

        return back

    def _removed(self) -> Callable[[], None]:
        """The database is gone for a while. Whoever comes up makes a new one: what that accepted would be gone too.

        So nobody asks for anything meanwhile, and what waits in the spool is taken away with the database.
        """
        self.no_clients = True
        put_back = self._swapped(None)

        def back() -> None:
            put_back()
            self.no_clients = False

        return back

    def _swapped(self, replacement: Path | None) -> Callable[[], None]:
        """Put something in the database's place, under the lock that writers take; what puts it back.

        It is the very file that comes back, which those who have it open could not tell from one that never was
        away. Who is just opening it would take half of either: nobody is, since whoever is young dies before.
        """
        aside = self._world.home / "aside"
        aside.mkdir(exist_ok=True)
        with self._locked():
            self._end_the_young(time.monotonic() - GROWN_UP)
            for path in self._parts():
                path.rename(aside / path.name)
            if replacement:
                replacement.rename(self._world.home / "runq.db")
        swapped = time.monotonic()

        def put_back() -> None:
            with self._locked():
                self._end_the_young(swapped)
                for path in self._parts():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                for path in aside.iterdir():
                    path.rename(self._world.home / path.name)

        return put_back

    def _end_the_young(self, since: float) -> None:
        world = self._world
        young = [one for one in world.processes if one.born > since or one.role == "server"]
        for one in young:
            world.kill(one.pid, one.role)
        world.look(anew=True)
        for pid in world.booted:  # by a server that was about to
            world.kill(pid, "worker")
        for one in young:
            one.popen.wait(60)

    def _parts(self) -> list[Path]:
        names = [f"runq.db{end}" for end in WAL] + (["spool"] if self.no_clients else [])
        return [path for name in names if (path := self._world.home / name).exists()]

    def _locked(self) -> "WriteLock":
        return WriteLock(self._world)


class Busy:
    """The write lock held for longer than a hook has time: what it is to queue has to go by way of the spool."""

    def __init__(self, world: World, chance: Random) -> None:
        self._lock, self._chance = WriteLock(world), chance
        self._until = 0.0
        self.times = 0

    @property
    def held(self) -> bool:
        return bool(self._until)

    def begin(self) -> None:
        if not self._until and self._lock.try_to_take():
            self._until = time.monotonic() + self._chance.uniform(0.5, 0.9)
            self.times += 1

    def end(self, *, at_once: bool = False) -> None:
        """Let go of it when it is time."""
        if self._until and (at_once or time.monotonic() > self._until):
            self._until = 0.0
            self._lock.let_go()


class WriteLock:
    """The queue's own. Whoever holds it may be stopped: while it is waited for, they are let go on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._file = -1

    def try_to_take(self) -> bool:
        try:
            self._file = os.open(self._world.home / "runq.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.let_go()
            return False
        return True

    def let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> None:
        give_up = time.monotonic() + 60
        while not self.try_to_take():
            if time.monotonic() > give_up:
                raise TimeoutError("nobody lets go of the write lock")
            self._world.look()
            time.sleep(0.002)

    def __exit__(self, *_: object) -> None:
        self.let_go()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
