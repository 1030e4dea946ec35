"""A real keeper in a folder of its own, and a worker's end of the connection to it."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queue_core.keeper import boot, protocol, records
from tests.helpers import PATIENCE, wait_until


class Talk:
    """One connection to a keeper, with the messages that came over it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self.socket = connection
        self._lines = protocol.Lines()
        self._read: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.socket.sendall(protocol.encode(message))

    def next(self, op: str, job: int | None = None) -> dict[str, Any]:
        """The next message of this kind; others stay for later."""
        while True:
            for message in self._read:
                if message["op"] == op and job in (None, message.get("job")):
                    self._read.remove(message)
                    return message
            data = self.socket.recv(65536)
            if not data:
                raise AssertionError(f"the keeper hung up instead of saying {op}; read {self._read}")
            self._read += self._lines.feed(data)

    def end(self, job: int) -> records.End:
        return records.end_of(self.next("ended", job)["end"])

    def hung_up(self) -> bool:
        """Read on until the keeper closes the connection."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except ConnectionError:
            pass
        return True


class Rig(Talk):
    """A keeper, the connection that started it, and where its claims lie."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.dir = str(home / "keepers" / "k1")
        started = boot.start(self.dir)
        self.pid = started.pid
        self.gone = False
        self._others: list[socket.socket] = []
        super().__init__(started.socket)

    def run_dir(self, job: int, claim: int = 1) -> Path:
        return self.home / "runs" / str(job) / str(claim)

    def job(self, job: int, *argv: str, **more: Any) -> dict[str, Any]:
        return {
            "job": job,
            "claim": 1,
            "token": f"token-{os.getpid()}-{self.home.name}-{job}",
            "dir": str(self.run_dir(job, more.get("claim", 1))),
            "program": argv[0] if argv else "/bin/true",
            "argv": list(argv),
            "cwd": str(self.home),
            "env": {"PATH": "/usr/local/bin:/usr/bin:/bin"},
            "stdin": None,
            "timeout": None,
            "grace": 5.0,
            "cap": None,
            "confined": False,
            **more,
        }

    def spawn(self, job: int, *argv: str, **more: Any) -> None:
        self.send(protocol.spawn([self.job(job, *argv, **more)]))

    def sh(self, job: int, script: str, **more: Any) -> None:
        self.spawn(job, "/bin/sh", "-c", script, **more)

    def python(self, job: int, script: str, **more: Any) -> None:
        self.spawn(job, sys.executable, "-I", "-S", "-c", script, **more)

    def output(self, job: int) -> bytes:
        path = self.run_dir(job) / "output"
        return path.read_bytes() if path.exists() else b""

    def said(self, job: int, text: bytes) -> None:
        wait_until(lambda: text in self.output(job), f"job {job} says {text!r}")

    def record(self, job: int) -> records.Record:
        record = records.read(str(self.run_dir(job)))
        assert record is not None
        return record

    def other(self) -> Talk:
        self._others.append(protocol.connect(self.dir))
        return Talk(self._others[-1])

    def hang_up(self) -> None:
        for connection in (self.socket, *self._others):
            connection.close()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Wait until the keeper has left."""
        wait_until(lambda: os.waitpid(self.pid, os.WNOHANG)[0], "the keeper leaves")
        self.gone = True


def alive(pid: int) -> bool:
    """Does this process live (a zombie does not)?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def end_everything_in(home: Path, but: int) -> None:
    """End what a test's commands left behind; their working directory tells whose they are."""
    mark = os.fsencode(home) + b"/"
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (os.getpid(), but):
            try:
                if (os.readlink(f"/proc/{name}/cwd".encode()) + b"/").startswith(mark):
                    os.kill(int(name), signal.SIGKILL)
            except OSError:
                continue


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.hang_up()
    end_everything_in(tmp_path, but=rig.pid)  # the keeper has to leave by itself
    if not rig.gone:
        rig.wait()
