"""The command line as a real process, in a home of its own, with nothing of the tester's environment."""

import fcntl
import json
import os
import pty
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queue_core.home import Home
from tests.helpers import wait_until

PATIENCE = 60  # seconds: a verb that hangs fails its test
RUNQ = [sys.executable, "-P", "-c", "import sys; from queue_core.launch import main; sys.exit(main())"]
ROOT = Path(__file__).parents[2]
AGENT = {"CLAUDECODE": "1"}


class Ran:
    """How one call ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.raw = out
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


class Cli:
    """`runq` with a home and a project folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        self.project = folder / "project"
        self.project.mkdir()
        self.env = {
            "RUNQ_HOME": str(self.home),
            "HOME": str(folder),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def paths(self) -> Home:
        return Home(data=str(self.home), config=str(self.home))

    @property
    def hook_env(self) -> dict[str, str]:
        return {**AGENT, "CLAUDE_PROJECT_DIR": str(self.project)}

    def __call__(self, *words: str | bytes, stdin: bytes = b"", timeout: float = PATIENCE, **env: str) -> Ran:
        done = subprocess.run(
            [*RUNQ, *words],
            env={**self.env, **env},
            cwd=self.project,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout,
        )
        ran = Ran(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in ran.err, ran.err
        return ran

    def ok(self, *words: str | bytes, stdin: bytes = b"", **env: str) -> Ran:
        """Run a verb that is to end well."""
        ran = self(*words, stdin=stdin, **env)
        assert ran.code == 0, ran.err
        return ran

    def add(self, *words: str, **env: str) -> int:
        """Queue a command; its id."""
        return int(self.ok("add", *words, **env).out)

    def job(self, job_id: int) -> dict[str, Any]:
        return self.ok("status", str(job_id), "--json").json

    def states(self) -> dict[int, str]:
        return {job["id"]: job["state"] for job in self.ok("list", "--json").json["jobs"]}

    def stored(self) -> int:
        """How many jobs there are, without a process."""
        if not (self.home / "runq.db").exists():
            return 0
        connection = sqlite3.connect(self.home / "runq.db")
        count: int = connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
        connection.close()
        return count

    def work(self) -> None:
        """Run all that may run now."""
        self.ok("work", "--until-empty")

    def dead(self, *words: str) -> int:
        """A dead letter."""
        job_id = self.add("--retries", "0", *(words or ("--", "sh", "-c", "echo broken; exit 3")))
        self.work()
        assert self.states()[job_id] == "dead"
        return job_id

    def start(self, *words: str, **env: str) -> "subprocess.Popen[bytes]":
        """A verb that goes on beside the test."""
        process = subprocess.Popen(
            [*RUNQ, *words],
            env={**self.env, **env},
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    def worker(self) -> "subprocess.Popen[bytes]":
        """A worker that stands until the test is over."""
        process = self.start("work", "--json")
        wait_until(lambda: self.ok("status", "--json").json["worker"]["pids"], "the worker is up")
        return process

    def running(self, job_id: int) -> None:
        wait_until(lambda: self.states()[job_id] == "running", f"job {job_id} runs")

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            process.communicate(timeout=PATIENCE)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path)
    yield made
    if any(process.poll() is None for process in made.processes):
        made("work", "--stop", "--now")
    made.end()


def finish(process: "subprocess.Popen[bytes]") -> Ran:
    """The end of a verb that was started beside the test."""
    out, err = process.communicate(timeout=PATIENCE)
    return Ran(process.returncode, out, err)


def on_terminal(cli: Cli, *words: str, columns: int = 80, **env: str) -> str:
    """What a verb writes on a terminal of this width."""
    return answered(cli, *words, columns=columns, **env)[1]


def answered(
    cli: Cli,
    *words: str,
    answer: bytes = b"",
    meanwhile: Callable[[], object] = lambda: None,
    columns: int = 80,
    **env: str,
) -> tuple[int, str]:
    """How a verb ends on a terminal whose user gives this answer to its question: the exit code, and what was shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*RUNQ, *words],
        env={**cli.env, "TERM": "xterm-256color", **env},
        cwd=cli.project,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, is_asked = b"", False
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
            if answer and not is_asked and b"[y/N]" in shown:
                is_asked = True
                meanwhile()
                os.write(ours, answer)
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return process.wait(PATIENCE), shown.decode("utf-8", "replace").replace("\r\n", "\n")
