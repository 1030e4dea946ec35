"""The queue inside a Python program: `import queue_core`, one queue and one worker a process."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import queue_core
from queue_core.errors import UnknownJob
from tests.helpers import wait_until

from .conftest import PATIENCE, ROOT, Rig


@pytest.fixture
def library(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """The module as if it had just been imported by a program whose home this is."""
    for name, value in rig.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(rig.folder)
    yield rig
    queue_core.reset()


def program(rig: Rig, text: str, **env: str) -> str:
    """Run a program that uses the library, to its end; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        env={**rig.env, **env},
        cwd=rig.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_job_is_queued_and_processed_in_one_program(library: Rig) -> None:
    receipt = queue_core.enqueue(["sh", "-c", "exit 4"], retries=0)
    second = queue_core.enqueue("printf %s", kwargs={"title": "Today", "draft": True, "no": False})
    status = queue_core.process_queue()
    assert status["counts"]["dead"] == status["counts"]["succeeded"] == 1
    assert status["worker"]["state"] == "off"
    shown = queue_core.get_status(receipt.id)
    assert (shown["state"], shown["exit_code"]) == ("dead", 4)
    assert queue_core.get_status(second.id)["argv"] == ["printf", "%s", "--title", "Today", "--draft"]
    assert queue_core.get_worker() is None
    with pytest.raises(UnknownJob):
        queue_core.get_status(99)


def test_a_worker_in_a_thread_runs_what_comes_until_it_is_stopped(library: Rig) -> None:
    queue_core.enqueue(["true"])
    assert queue_core.start_worker()
    assert queue_core.start_worker()  # there is one
    worker = queue_core.get_worker()
    assert worker is not None
    gate = library.gate()
    job = queue_core.enqueue(["sh", "-c", gate.wait]).id
    library.reaches(job, "running")
    assert queue_core.get_status()["worker"] == {"state": "busy", "pids": [os.getpid()]}
    assert not queue_core.stop_worker(timeout=0.2)  # it waits for the command
    assert queue_core.get_worker() is worker
    gate.open()
    assert queue_core.stop_worker()
    assert library.state(job) == "succeeded"
    assert queue_core.get_worker() is None
    assert queue_core.stop_worker()
    assert not library.keepers() and not library.queue.store.workers()


def test_stopping_now_puts_jobs_back(library: Rig) -> None:
    job = queue_core.enqueue(["sleep", "60"]).id
    assert queue_core.start_worker()
    library.reaches(job, "running")
    assert queue_core.stop_worker(now=True)
    assert (library.state(job), library.job(job).attempt) == ("available", 0)


def test_a_worker_starts_when_enough_jobs_wait(library: Rig) -> None:
    assert not queue_core.start_worker()
    queue_core.enqueue(["true"])
    queue_core.enqueue(["true"])
    assert not queue_core.start_worker(threshold=3)
    assert queue_core.get_worker() is None
    job = queue_core.enqueue(["true"]).id
    assert queue_core.start_worker(threshold=3)
    library.reaches(job, "succeeded")


def test_what_a_dead_worker_left_counts_as_waiting(library: Rig) -> None:
    gate = library.gate()
    job = library.sh(gate.wait)
    dead = library.worker()
    library.pid_of(job)
    dead.kill()
    assert queue_core.start_worker()
    gate.open()
    library.reaches(job, "succeeded")


def test_work_stop_reaches_it_without_harm_to_its_program(library: Rig) -> None:
    queue_core.enqueue(["true"])
    assert queue_core.start_worker()
    library.runq("work", "--stop")
    wait_until(lambda: queue_core.get_worker() is None, "the worker has left", PATIENCE)
    queue_core.enqueue(["true"])
    assert queue_core.start_worker()


def test_many_threads_share_commits(library: Rig) -> None:
    ids: list[int] = []

    def add() -> None:
        for _ in range(5):
            ids.append(queue_core.enqueue(["true"], queue="many").id)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 40
    assert queue_core.process_queue(parallelism=8)["counts"]["succeeded"] == 40


def test_resetting_forgets_the_queue_but_not_what_it_holds(library: Rig) -> None:
    job = queue_core.enqueue(["sleep", "60"]).id
    queue_core.start_worker()
    first = queue_core.get_queue()
    library.reaches(job, "running")
    queue_core.reset()
    assert queue_core.get_worker() is None
    assert queue_core.get_queue() is not first
    assert queue_core.get_status(job)["state"] == "available"


def test_under_a_hook_it_says_nothing(library: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(sys, "stderr", _Terminal(said))
    queue_core.enqueue(["true"])
    assert said and "Queued job 1" in said.pop()
    queue_core.enqueue(["true"], silent=True)
    assert not said
    monkeypatch.setenv("CLAUDECODE", "1")
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(library.folder))
    job = queue_core.enqueue(["true"]).id
    assert not said
    assert library.job(job).caller == "hook"
    queue_core.enqueue(["true"], silent=False)
    assert "Queued job 4" in said[0]


class _Terminal:
    def __init__(self, said: list[str]) -> None:
        self._said = said

    def write(self, text: str) -> int:
        self._said.append(text)
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_a_program_may_end_with_its_worker_at_work(rig: Rig) -> None:
    """It neither hangs nor takes the command with it; the next worker picks it up."""
    gate = rig.gate()
    program(
        rig,
        "import os, queue_core, time\n"
        f"queue_core.enqueue(['sh', '-c', 'echo begun > begun; {gate.wait}; exit 0'])\n"
        "assert queue_core.start_worker()\n"
        "while not os.path.exists('begun'): time.sleep(0.01)\n",  # what is claimed may not have begun
    )
    rig.worker()
    gate.open()
    assert rig.reaches(1, "succeeded").attempt == 1


def test_importing_it_imports_nothing_heavy(rig: Rig) -> None:
    loaded = program(rig, "import sys; before = set(sys.modules); import queue_core; print(*set(sys.modules) - before)")
    assert set(loaded.split()) <= {"queue_core", "__future__"}
    loaded = program(
        rig, "import sys; from queue_core import enqueue; enqueue(['true'], silent=True); print(*sys.modules)"
    )
    heavy = {"asyncio", "anyio", "pydantic", "mcp", "aiosqlite", "rich", "logging", "subprocess", "json"}
    assert not heavy & set(loaded.split())


def test_a_command_dies_with_neither_its_worker_nor_its_program(rig: Rig) -> None:
    gate = rig.gate()
    process = rig.start_program(
        sys.executable,
        "-c",
        f"import queue_core as q; q.enqueue(['sh', '-c', 'echo begun > begun; {gate.wait}; exit 6'], retries=0);"
        "q.start_worker(); import time; time.sleep(600)",
    )
    rig.wrote("begun")
    process.kill()
    gate.open()
    wait_until(lambda: rig.status(1)["state"] == "dead", "it is settled by a look", PATIENCE)
    assert rig.outcomes(1) == [("exited", 6)]


def test_the_package_is_typed() -> None:
    assert (Path(ROOT) / "queue_core" / "py.typed").exists()
