"""One home of a storm: its files, its processes, whatever is started in it, and its certain end.

Everything that belongs to it is known by the path of its folder, which stands in its command line (keepers, commands)
or in its environment (all others). Nothing else is ever signalled, and what is signalled is held by a pidfd first, so
that a pid that was used again cannot be hit.
"""

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.crash import points
from tests.helpers import wait_until

ROOT = Path(__file__).parent.parent.parent
CLI = (sys.executable, "-c", "import sys; from queue_core.launch import main; sys.exit(main())")
SERVER = (sys.executable, "-m", "mcp_server")
SCAN = 0.15  # seconds between two looks at /proc
SETTINGS = """\
agents = "allow"
parallelism = 8
max_running = 16
backoff_base = 0.02
backoff_cap = 0.2
grace = 0.3
idle = 1.5
linger = 0.2
min_free_mb = 0
capacity = 1000000
keep_count = 1000000
snapshot_every = 0
backup_at = ""
"""


class Running(NamedTuple):
    """A command that has told of its start and not yet of its end."""

    job: int
    claim: int
    number: int


class Process:
    """One that the harness has started itself."""

    def __init__(self, role: str, popen: "subprocess.Popen[bytes]", armed: bool) -> None:
        self.role, self.popen, self.armed = role, popen, armed
        self.pid = popen.pid
        self.born = time.monotonic()
        self.until = 0.0  # when its life is to end

    @property
    def over(self) -> bool:
        return self.popen.poll() is not None


class World:
    """A home, what was started in it, and what was done to it. Not for two threads."""

    def __init__(self, folder: Path, *, chance: Random, plant: str = "") -> None:
        self.folder, self.home, self.project = folder, folder / "home", folder / "project"
        self._chance, self._plant = chance, plant
        self.home.mkdir(0o700)
        self.project.mkdir()
        (folder / "locks").mkdir()
        self._events_read = 0
        self._events = (folder / "events").open("a+b", buffering=0)
        self._log = (folder / "errors").open("ab")  # what servers and workers say on stderr
        self.set_clock(0.0)
        self.processes: list[Process] = []
        self.running: dict[int, Running] = {}  # commands, by pid
        self.begun: set[int] = set()  # numbers of the jobs that have begun to run at least once
        self.keepers: dict[int, str] = {}  # pids and ids
        self._armed_keepers: set[int] = set()
        self.booted: set[int] = set()  # workers that servers have started
        self.kills: Counter[str] = Counter()  # by role: what really was hit
        self.stops: Counter[str] = Counter()
        self.points: Counter[str] = Counter()  # how often each was hit
        self.killed_at_points: Counter[str] = Counter()  # by role
        self.started: Counter[str] = Counter()
        self._stopped: dict[int, float] = {}  # pidfds, and when they go on
        self._scanned = 0.0

    def configure(self) -> None:
        """Settings for many short jobs."""
        (self.home / "config.toml").write_text(SETTINGS)
        (self.home / "config.toml").chmod(0o600)

    # starting

    def environ(self, armed: str = "") -> dict[str, str]:
        """What a process of this home sees; `armed`: the points at which it may die."""
        seed = str(self._chance.randrange(1 << 30))
        plant = {"CRASH_PLANT": self._plant} if self._plant else {}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{ROOT}/tests/crash/inside:{ROOT}",
            "RUNQ_HOME": str(self.home),
            "CRASH_FOLDER": str(self.folder),
            "CRASH_POINTS": armed,
            "CRASH_SEED": seed,
            **plant,
        }

    def start(self, role: str, words: Sequence[str], *, armed: str = "", stdin: Any = None) -> Process:
        """Start a process; `words` follow the command line of its role."""
        command = SERVER if role == "server" else CLI
        popen = subprocess.Popen(
            [*command, *words],
            env=self.environ(armed),
            cwd=self.project,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE if role != "worker" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if role == "cli" else self._log,
            start_new_session=True,
        )
        process = Process(role, popen, bool(armed))
        self.processes.append(process)
        self.started[role] += 1
        return process

    def alive(self, role: str) -> list[Process]:
        """Those of a role that the harness has started."""
        return [one for one in self.processes if one.role == role and not one.over]

    # looking

    def look(self, *, anew: bool = False) -> None:
        """Read what the processes have noted, see who lives, let go on what is to go on."""
        self._read_events()
        self.processes = [one for one in self.processes if not one.over]
        now = time.monotonic()
        if anew or now - self._scanned > SCAN:
            self._scanned = now
            self._scan()
        for pidfd, until in list(self._stopped.items()):
            if now >= until:
                self._go_on(pidfd)

    def _read_events(self) -> None:
        new = os.pread(self._events.fileno(), 1 << 24, self._events_read)
        whole = new[: new.rfind(b"\n") + 1]
        self._events_read += len(whole)
        for line in whole.decode().splitlines():
            what, *rest = line.split()
            if what == "start":
                self.running[int(rest[2])] = Running(int(rest[0]), int(rest[1]), int(rest[3]))
                self.begun.add(int(rest[3]))
            elif what == "end" and len(rest) > 1:
                self.running.pop(int(rest[2]), None)
            elif what == "point":
                self._point(*rest)

    def _point(self, action: str, role: str, pid: str, _keeper: str, *name: str) -> None:
        self.points[" ".join(name)] += 1
        if action == "kill":
            self.kills[role] += 1
            self.killed_at_points[role] += 1
        elif action == "stop":
            self.stops[role] += 1
            with suppress(ProcessLookupError):
                self._stopped[os.pidfd_open(int(pid))] = time.monotonic() + self._chance.uniform(0.05, 0.8)

    def _scan(self) -> None:
        keepers: dict[int, str] = {}
        booted: set[int] = set()
        armed: set[int] = set()
        mine = {one.pid for one in self.processes}
        keepers_of_mine = f"{self.home}/keepers/"
        for pid, command in _commands():
            if keepers_of_mine in command:
                keepers[pid] = command.split(keepers_of_mine)[1].split("\0")[0]
                if points.told_of_keepers_points(command):
                    armed.add(pid)
            elif "worker.main" in command and pid not in mine and self.owns(pid):
                booted.add(pid)
        self.keepers, self.booted, self._armed_keepers = keepers, booted, armed

    def may_die_at_a_point(self, pid: int) -> bool:
        """Whether a process was given points that it may pass."""
        return pid in self._armed_keepers or any(one.armed for one in self.processes if one.pid == pid)

    def owns(self, pid: int) -> bool:
        """Whether a process is this home's, alive."""
        if pid == os.getpid() or not alive(pid):
            return False
        command, folder = _read(pid, "cmdline"), os.fsencode(self.folder)
        if folder + b"/" in command or folder + b"\0" in command:
            return True
        return b"CRASH_FOLDER=" + folder + b"\0" in _read(pid, "environ")

    def events(self) -> list[str]:
        """Every line that was noted."""
        return (self.folder / "events").read_text().splitlines()

    # harming

    def kill(self, pid: int, role: str) -> bool:
        """SIGKILL a process of this home; whether it was alive."""
        about = self.keepers.get(pid, "-")
        self.running.pop(pid, None)
        if not self._signal(pid, signal.SIGKILL, f"kill {role} {pid} {about}"):
            return False
        self.kills[role] += 1
        return True

    def stop(self, pid: int, role: str, seconds: float) -> bool:
        """SIGSTOP a process of this home for so long; whether it was alive."""
        if not self._signal(pid, signal.SIGSTOP, f"stop {role} {pid}"):
            return False
        self.stops[role] += 1
        with suppress(ProcessLookupError):
            self._stopped[os.pidfd_open(pid)] = time.monotonic() + seconds
        return True

    def _signal(self, pid: int, number: int, line: str) -> bool:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if not self.owns(pid):
                return False
            self.note(line)
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True

    def _go_on(self, pidfd: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)
        os.close(pidfd)
        del self._stopped[pidfd]

    def go_on(self) -> None:
        """Let go on all that is stopped."""
        for pidfd in list(self._stopped):
            self._go_on(pidfd)

    def note(self, line: str) -> None:
        """What the harness does is noted among what the others do."""
        os.write(self._events.fileno(), line.encode() + b"\n")

    def set_clock(self, seconds: float) -> None:
        """From now on `time.time` is so much wrong in every process of this home."""
        path = self.folder / "clock"
        if not path.exists():
            path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            file.write(struct.pack("d", seconds))

    # the end

    def everybody(self) -> list[int]:
        """All that is this home's and lives."""
        return [pid for pid, _ in _commands() if self.owns(pid)]

    def close(self) -> None:
        """End everything."""
        self.go_on()

        def gone() -> bool:
            for pid in self.everybody():
                self._signal(pid, signal.SIGKILL, f"end {pid}")
            for one in self.processes:
                one.popen.poll()
            return not self.everybody()

        wait_until(gone, f"all of {self.folder} has ended", 30)
        for one in self.processes:
            one.popen.wait(30)
            for stream in (one.popen.stdin, one.popen.stdout, one.popen.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        self._events.close()
        self._log.close()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    return _read(pid, "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"], [b"X"])


def parent(pid: int) -> int:
    """The parent of a process; 0 if it is gone."""
    return int((_read(pid, "stat").rpartition(b")")[2].split() or [b"", b"0"])[1])


def _commands() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (command := _read(int(name), "cmdline")):
            yield int(name), command.decode(errors="replace")


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""
