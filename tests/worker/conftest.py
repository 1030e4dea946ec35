"""A home of its own for each test, the real command line in it, and every process that came of it."""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from anyio.from_thread import start_blocking_portal

import queue_core
from queue_core import changes
from queue_core.jobs import Job
from queue_core.keeper import records
from queue_core.service import Queue
from queue_core.worker.loop import Worker
from queue_core.worker.options import Options, Settled
from tests.helpers import PATIENCE, stop, wait_until

ROOT = Path(queue_core.__file__).parent.parent
CLI = [sys.executable, "-m", "queue_core.launch"]
ENDED = ("succeeded", "dead", "cancelled")


class Gate:
    """Something that commands wait for until the test lets them go on."""

    def __init__(self, path: Path, pause: str = "0.02") -> None:
        self.path = path
        self.wait = f"until [ -e {path} ]; do sleep {pause}; done"

    def open(self) -> None:
        self.path.touch()


class Process:
    """A worker that the test has started."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self.popen = popen
        self.pid = popen.pid

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.popen.kill()
        self.popen.wait()

    def left(self) -> "tuple[int, str, str]":
        """Wait until it has left by itself: its exit code and what it said."""
        out, err = self.popen.communicate(timeout=PATIENCE)
        return self.popen.returncode, out, err


class Inner:
    """A worker in a thread of the test's own process, where its parts can be replaced."""

    def __init__(self, queue: Queue, options: Options) -> None:
        self.queue = queue
        self.settled: list[Settled] = []
        self.worker = Worker(queue, options, on_settled=self.settled.append)
        self._context = start_blocking_portal()
        self.portal = self._context.__enter__()
        self.future = self.portal.start_task_soon(self.worker.run)

    def tell(self, mode: Literal["finish", "drain", "stop"]) -> None:
        self.portal.call(self.worker.change_mode, mode)

    def left(self) -> BaseException | None:
        """Wait until it has left; what it failed with."""
        return self.future.exception(PATIENCE)

    def close(self) -> None:
        self.tell("stop")
        self.left()
        self._context.__exit__(None, None, None)
        self.queue.close()


class Rig:
    """One queue, and what a person would do to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "RUNQ_HOME": str(self.home),
            "RUNQ_GRACE": "0.5",
            "RUNQ_BACKOFF_BASE": "0.02",
        }
        self.queue = Queue.open(self.env)
        self._started: list[subprocess.Popen[str]] = []
        self._inner: list[Inner] = []

    # the command line

    def runq(self, *words: str, code: int | None = 0, **more: Any) -> "subprocess.CompletedProcess[str]":
        """Run one verb to its end, with this exit code (None for any)."""
        env = {**self.env, **more.pop("env", {})}
        done = subprocess.run(
            [*CLI, *words], env=env, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False, **more
        )
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done

    def add(self, *words: str, **more: Any) -> int:
        """Queue a command; its id."""
        return int(self.runq("add", *words, **more).stdout)

    def sh(self, script: str, *options: str, **more: Any) -> int:
        """Queue a shell script; its id."""
        return self.add(*options, "--", "sh", "-c", script, **more)

    def add_all(self, jobs: "list[dict[str, Any]]") -> list[int]:
        """Queue many at once; their ids."""
        lines = "\n".join(json.dumps(job) for job in jobs)
        return [int(line) for line in self.runq("add", "--file", "-", input=lines).stdout.split()]

    def drain(self, *words: str, **more: Any) -> "subprocess.CompletedProcess[str]":
        """Run what is there."""
        return self.runq("process-queue", *words, **more)

    def status(self, job_id: int | None = None) -> dict[str, Any]:
        """What `runq status` shows; it settles what a dead worker left."""
        which = [] if job_id is None else [str(job_id)]
        return json.loads(self.runq("status", *which, "--json").stdout)

    def output(self, job_id: int, *words: str) -> str:
        return self.runq("output", str(job_id), *words).stdout

    # looking, without the command line

    def job(self, job_id: int) -> Job:
        return self.queue.job(job_id)

    def state(self, job_id: int) -> str:
        return self.job(job_id).state

    def outcomes(self, job_id: int) -> list[tuple[str, int | None]]:
        """How each attempt ended: its outcome, and the exit code or the signal."""
        found: list[tuple[str, int | None]] = []
        for one in self.job(job_id).attempts:
            found.append((one.outcome, one.exit_code if one.signal is None else one.signal))
        return found

    def reaches(self, job_id: int, *states: str, timeout: float = PATIENCE) -> Job:
        """Wait until a job is in one of these states."""
        try:
            wait_until(lambda: self.state(job_id) in states, f"job {job_id} is {'/'.join(states)}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.job(job_id)}\n{self.log()}") from None
        return self.job(job_id)

    def make_due(self, job_id: int) -> None:
        """Turn a job's clock: what backs off is due now."""
        with closing(sqlite3.connect(self.home / "runq.db", timeout=PATIENCE)) as database, database:
            database.execute("UPDATE jobs SET due_at = 1 WHERE id = ? AND state = 'scheduled'", (job_id,))
        changes.ring(self.queue.home, "work")

    def log(self) -> str:
        path = self.home / "logs" / "runq.log"
        return path.read_text() if path.exists() else ""

    def run_dir(self, job_id: int, claim: int = 1) -> Path:
        return self.home / "runs" / str(job_id) / str(claim)

    # files that commands and tests speak through

    def gate(self, name: str = "gate", pause: str = "0.02") -> Gate:
        return Gate(self.folder / name, pause)

    def wrote(self, name: str, text: str | None = None) -> str:
        """Wait until a command has written this file (with this in it); its text."""
        path = self.folder / name
        wait_until(lambda: path.exists() and (text is None or text in path.read_text()), f"{name} is written", PATIENCE)
        return path.read_text()

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().split("\n")[:-1] if path.exists() else []

    # workers

    def start(self, *words: str, **env: str) -> Process:
        """Start a verb without waiting for its end."""
        return self.start_program(*CLI, *words, **env)

    def start_program(self, *argv: str, **env: str) -> Process:
        """Start any program in this home."""
        popen = subprocess.Popen(
            argv,
            env={**self.env, **env},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(popen)
        return Process(popen)

    def worker(self, *words: str, **env: str) -> Process:
        """A `runq work` that claims."""
        process = self.start("work", *words, **env)
        wait_until(
            lambda: process.pid in self.queue.live_workers().values() or process.popen.poll() is not None,
            "a worker is up",
            PATIENCE,
        )
        return process

    def inner(self, options: Options | None = None, *, group_commit: bool = False, **env: str) -> Inner:
        """A worker in this process that claims."""
        inner = Inner(Queue.open({**self.env, **env}, group_commit=group_commit), options or Options())
        self._inner.append(inner)
        wait_until(
            lambda: inner.worker.id in self.queue.live_workers() or inner.future.done(), "a worker is up", PATIENCE
        )
        return inner

    # processes

    def pid_of(self, job_id: int, claim: int = 1) -> int:
        """The command of a claim, as its keeper recorded it."""

        def recorded() -> int | None:
            record = records.read(str(self.run_dir(job_id, claim)))
            return record.start.pid if record and record.start else None

        return cast("int", wait_until(recorded, f"job {job_id} runs", PATIENCE))

    def keepers(self) -> list[int]:
        """The keepers of this home. Their children look like them until they have become a command."""
        mark = os.fsencode(f"{self.home}/keepers/")
        alike = {pid: _parent(pid) for pid in _pids() if mark in _read(pid, "cmdline")}
        return [pid for pid, parent in alike.items() if parent not in alike]

    def commands(self) -> list[int]:
        """Whatever runs for a job of this home."""
        mark = b"RUNQ_CLAIM_TOKEN="
        home = os.fsencode(f"RUNQ_HOME={self.home}")
        return [pid for pid in _pids() if mark in (env := _read(pid, "environ")) and home in env]

    def stop(self, worker: "Process") -> None:
        """SIGSTOP, but not while it holds the lock that everybody needs who writes."""
        stop(worker.pid, self.queue.home.write_lock)

    def kill_keepers(self) -> None:
        pids = self.keepers()
        for pid in pids:
            _kill(pid)
        wait_until(lambda: not any(alive(pid) for pid in pids), "the keepers are dead", PATIENCE)

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for popen in self._started:
            popen.kill()
            popen.communicate()
        for pid in [*self.keepers(), *self.commands()]:
            _kill(pid)
        for inner in self._inner:
            inner.close()
        self.queue.close()


def _pids() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit() and alive(int(name)):
            yield int(name)


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    return _read(pid, "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"], [b"X"])


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def quoted(*words: object) -> str:
    return shlex.join(str(word) for word in words)


def overlaps(events: list[str]) -> list[str]:
    """Of lines `start NAME` and `end NAME`: the names that ran beside themselves."""
    running: set[str] = set()
    found: list[str] = []
    for event in events:
        what, name = event.split()
        if what == "start" and name in running:
            found.append(name)
        (running.add if what == "start" else running.discard)(name)
    return found


def most_at_once(events: list[str]) -> int:
    """Of lines `start NAME` and `end NAME`: how many ran at the same time at most."""
    running = most = 0
    for event in events:
        running += 1 if event.startswith("start") else -1
        most = max(most, running)
    return most


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()
