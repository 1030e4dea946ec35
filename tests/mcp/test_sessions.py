"""Start and end of a session, over real stdio: who gets commands run, and what survives whom."""

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from queue_core import changes
from tests.helpers import wait_until
from tests.mcp.places import Place, ask
from tests.mcp.servers import Server

MANY = 20
# Says that it runs, waits until the test lets it go, and ends with a code of its own.
GATED = 'echo run >> "ran.$1"; read line < "gate.$1"; exit "$1"'


class Gated:
    """Commands that each wait for a word of the test's. What they did is written in the project folder."""

    def __init__(self, place: Place, count: int, **fields: Any) -> None:
        self._place = place
        self.codes = list(range(count))
        for code in self.codes:
            os.mkfifo(self._gate(code))
        self.ids = [place.add("sh", "-c", GATED, "sh", str(code), **fields) for code in self.codes]

    def _gate(self, code: int) -> Path:
        return self._place.project / f"gate.{code}"

    def _ran(self, code: int) -> Path:
        return self._place.project / f"ran.{code}"

    def all_run(self) -> None:
        wait_until(lambda: all(self._ran(code).exists() for code in self.codes), "all commands run")

    def let_go(self) -> None:
        for code in self.codes:
            with os.fdopen(wait_until(lambda: self._opened(code), "the command waits at its gate"), "w") as gate:  # noqa: B023
                gate.write("go\n")

    def _opened(self, code: int) -> int | None:
        try:
            return os.open(self._gate(code), os.O_WRONLY | os.O_NONBLOCK)  # or a dead command would hang the test
        except OSError:
            return None

    def assert_each_ran_once_with_its_exit_code(self) -> None:
        self._place.all_end(self.ids)
        assert [self._place.job(job_id).exit_code for job_id in self.ids] == self.codes
        assert [self._ran(code).read_text() for code in self.codes] == ["run\n"] * len(self.codes)
        assert [len(self._place.job(job_id).attempts) for job_id in self.ids] == [1] * len(self.codes)


def the_worker(place: Place) -> int:
    """The pid of the one worker there is."""
    (pid,) = wait_until(place.queue.live_workers, "a worker has been booted").values()
    return pid


def worker_leaves(place: Place) -> None:
    wait_until(lambda: not place.queue.live_workers(), "the worker has left")


def server_has_looked(place: Place, server: Server) -> None:
    """The server looks for work once after it has taken a ring, so a second ring taken means a look behind us."""
    bell = wait_until(
        lambda: list((place.home / "bells").glob(f"work-{server.process.pid}-*")), "the server listens for work"
    )[0]
    for _ in range(2):
        changes.ring(place.queue.home, "work")
        wait_until(lambda: _is_empty(bell), "the server has taken the ring")


def _is_empty(bell: Path) -> bool:
    descriptor = os.open(bell, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4) == b"\0" * 4
    finally:
        os.close(descriptor)


# -- start ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_backlog_is_drained_without_being_asked(place: Place, mode: Any) -> None:
    ids = [place.add("sh", "-c", f"exit {code}") for code in range(3)]
    server = StdioServerParameters(command=sys.executable, args=["-m", "mcp_server"], env=place.environ)
    with anyio.fail_after(60):
        async with Client(server, mode=mode) as client:
            await anyio.to_thread.run_sync(lambda: place.all_end(ids))
            assert (await ask(client, "status"))["worker"]["state"] in ("idle", "busy")
    assert [place.job(job_id).exit_code for job_id in ids] == [0, 1, 2]
    worker_leaves(place)


def test_what_hooks_left_in_the_spool_is_taken_in_and_run(place: Place) -> None:
    with closing(sqlite3.connect(place.queue.home.database, isolation_level=None)) as locked:
        locked.execute("BEGIN IMMEDIATE")
        hook = [sys.executable, "-c", "from queue_core.launch import main; main()", "hook", "--", "true"]
        subprocess.run(hook, env=place.environ, cwd=place.project, input=b"{}", check=True)
        locked.execute("ROLLBACK")
    assert os.listdir(place.home / "spool")
    with Server(place) as server:
        server.shake_hands()
        wait_until(lambda: place.queue.store.states_of([1]) == {1: "succeeded"}, "the spooled job has run")


def test_with_nothing_queued_no_worker_runs_and_nothing_is_written(place: Place) -> None:
    place.pause("idle")  # there is a database, and a queue in it
    with closing(sqlite3.connect(place.queue.home.database, isolation_level=None)) as observer:
        before = observer.execute("PRAGMA data_version").fetchone(), _files(place)
        with Server(place) as server:
            server.shake_hands()
            for tool in ("status", "health", "list_jobs", "dead_letter_list"):
                server.call(tool)
            server_has_looked(place, server)
            assert (observer.execute("PRAGMA data_version").fetchone(), _files(place)) == before
            assert observer.execute("SELECT count(*) FROM workers").fetchone() == (0,)
        assert not (place.home / "workers").exists()  # where each worker has its lock: there has never been one
        assert (observer.execute("PRAGMA data_version").fetchone(), _files(place)) == before


def _files(place: Place) -> dict[str, bytes]:
    """The database and its log, byte for byte."""
    return {path.name: path.read_bytes() for path in place.home.glob("runq.db*") if not path.name.endswith("-shm")}


def open_descriptors(server: Server) -> int:
    folder = f"/proc/{server.process.pid}/fd"
    return len(os.listdir(folder)) if os.path.isdir(folder) else 0


def test_work_that_arrives_later_boots_a_worker_that_leaves_when_idle_and_another_after_it(place: Place) -> None:
    with Server(place, RUNQ_IDLE="0.2") as server:
        server.shake_hands()
        server_has_looked(place, server)
        assert not place.queue.live_workers()
        descriptors: list[int] = []
        for _ in range(2):
            job_id = int(place.cli("add", "--", "true"))
            place.end(job_id)
            assert place.job(job_id).state == "succeeded"
            worker_leaves(place)
            server_has_looked(place, server)
            descriptors.append(open_descriptors(server))
        # Nothing is left of a worker that has gone (a bell that is rung just now does not count).
        wait_until(lambda: open_descriptors(server) <= min(descriptors), "the second worker's descriptors are closed")
        assert server.call("status")["worker"]["state"] == "off"


def test_a_worker_that_cannot_start_is_reported_and_tried_again(place: Place) -> None:
    job_id = place.add("true")
    keepers = place.home / "keepers"
    keepers.write_text("in the way of the keepers' folder")
    with Server(place, stderr=subprocess.PIPE) as server:
        server.shake_hands()
        assert server.process.stderr
        assert b"worker did not start" in server.process.stderr.readline()
        assert server.call("status", job_id=job_id)["state"] == "available"
        keepers.unlink()
        place.end(job_id)


# -- end -----------------------------------------------------------------------------------------------------


@contextmanager
def session_with_a_running_command(place: Place, **how: Any) -> Iterator[tuple[Server, Gated]]:
    """A server whose worker runs one command; it must be found to have ended well after the server has."""
    commands = Gated(place, 1)
    with Server(place, **how) as server:
        server.shake_hands()
        commands.all_run()
        yield server, commands
        commands.let_go()
        commands.assert_each_ran_once_with_its_exit_code()
        worker_leaves(place)


@pytest.mark.parametrize("end", ["EOF", "SIGTERM", "SIGINT", "SIGHUP"])
def test_the_end_of_a_session_ends_the_server_and_not_the_command(place: Place, end: str) -> None:
    with session_with_a_running_command(place) as (server, _):
        server.send(id="busy", method="tools/call", params={"name": "wait", "arguments": {"job_ids": [1]}})
        server.call("health")  # so the one before it has been taken up
        if end == "EOF":
            server.stdin.close()
        else:
            server.process.send_signal(getattr(signal, end))
        assert server.process.wait(timeout=60) == 0
        assert place.job(1).state == "running"
        assert not list((place.home / "bells").glob(f"*-{server.process.pid}-*"))  # it has left in good order


def test_a_server_whose_parent_was_killed_leaves(place: Place) -> None:
    run_as_child = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with session_with_a_running_command(place, wrapper=(sys.executable, "-c", run_as_child)) as (server, _):
        bells = place.home / "bells"
        (bell,) = bells.glob("watch-*")
        server.process.kill()
        wait_until(lambda: not bell.exists(), "the server has left")
        assert place.job(1).state == "running"


def test_a_killed_server_costs_no_command_its_result(place: Place) -> None:
    commands = Gated(place, MANY)
    with Server(place, RUNQ_MAX_RUNNING=str(MANY), RUNQ_PARALLELISM=str(MANY)) as server:
        server.shake_hands()
        commands.all_run()
        server.process.kill()
        server.process.wait()
        commands.let_go()
        commands.assert_each_ran_once_with_its_exit_code()
        worker_leaves(place)


def test_a_killed_server_and_worker_cost_no_command_its_result(place: Place) -> None:
    limits = {"RUNQ_MAX_RUNNING": str(MANY), "RUNQ_PARALLELISM": str(MANY)}
    commands = Gated(place, MANY)
    with Server(place, **limits) as server:
        server.shake_hands()
        commands.all_run()
        os.kill(the_worker(place), signal.SIGKILL)
        server.process.kill()
        server.process.wait()
    worker_leaves(place)
    commands.codes, later = commands.codes[:10], commands.codes[10:]
    commands.let_go()  # half of them end while nobody but their keeper looks on
    commands.codes = later
    with Server(place, **limits) as server:
        server.shake_hands()
        the_worker(place)
        commands.let_go()
        commands.codes = list(range(MANY))
        commands.assert_each_ran_once_with_its_exit_code()


# -- together ------------------------------------------------------------------------------------------------


def test_two_servers_and_the_command_line_share_one_queue_and_its_limits(place: Place) -> None:
    place.configure(agents="allow", parallelism=2)
    # None ends before two have begun: that two may run at once is seen for certain.
    script = 'echo "+ $1" >> log; until [ $(grep -c + log) -ge 2 ]; do sleep 0.02; done; sleep 0.05; echo "- $1" >> log'
    with Server(place) as one, Server(place) as other:
        one.shake_hands()
        other.shake_hands()
        ids: list[int] = []
        for number in range(4):
            for name, server in (("one", one), ("other", other)):
                ids.append(server.call("enqueue", argv=["sh", "-c", script, "sh", f"{name}{number}"])["id"])
            ids.append(int(place.cli("add", "--", "sh", "-c", script, "sh", f"cli{number}")))
            if number == 1:
                ids.append(one.call("enqueue", argv=["sh", "-c", script, "sh", "alone"], sequential=True)["id"])
        assert other.call("wait", job_ids=ids)["done"]
        assert one.call("status")["counts"] == {"succeeded": 13}
    most, beside = _overlaps((place.project / "log").read_text().splitlines())
    assert most == 2
    assert beside == set()


def _overlaps(log: list[str]) -> tuple[int, set[str]]:
    """How many ran at once at the most, and which ran beside the one that has to be alone."""
    running: set[str] = set()
    most, beside = 0, set[str]()
    for line in log:
        sign, name = line.split()
        if sign == "+":
            running.add(name)
        if "alone" in running:
            beside |= running - {"alone"}
        most = max(most, len(running))
        if sign == "-":
            running.remove(name)
    assert not running
    return most, beside


# -- stderr --------------------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_stderr_is_served_all_the_same(place: Place) -> None:
    with Server(place, stderr=subprocess.PIPE) as server:
        server.shake_hands()
        server.stdin.write(b"this is no frame\n" * 5_000)  # a warning each, and a pipe holds some 64 KB
        assert server.call("health")["level"] == "ok"
        server.stdin.close()
        assert server.process.wait(timeout=60) == 0


def test_only_frames_are_on_stdout_and_only_plain_warnings_on_stderr(place: Place) -> None:
    place.home.chmod(0o755)
    with Server(place, stderr=subprocess.PIPE) as server:
        server.shake_hands()
        assert "is open to other users" in server.ask("tools/call", name="status", arguments={})["content"][0]["text"]
        server.stdin.close()
        assert server.process.stdout and server.process.stderr
        assert server.process.stdout.read() == b""
        lines = server.process.stderr.read().decode().splitlines()
        assert lines and all(line.startswith("runq-mcp: ") for line in lines)
        assert len(lines) == 1


def test_what_breaks_inside_is_told_in_one_sentence_and_explained_in_the_log(place: Place) -> None:
    with Server(place) as server:
        server.shake_hands()
        job_id = place.end(place.add("echo", "hello"))
        with closing(sqlite3.connect(place.queue.home.database, isolation_level=None)) as connection:
            connection.execute("UPDATE jobs SET meta = 'no JSON' WHERE id = ?", (job_id,))
        result = server.ask("tools/call", name="output", arguments={"job_id": job_id})
        assert result["content"][0]["text"] == "`output` failed inside runq; `runq logs` shows why."
        log = (place.home / "logs" / "runq.log").read_text()
        assert "Traceback" in log and "JSON" in log
