"""Workers that a server boots: what they do when its session ends, and when there is nothing to do."""

import os
import signal
import sqlite3

import anyio
import pytest

from queue_core import changes
from queue_core.errors import WorkerError
from queue_core.keeper import processes
from queue_core.sqlite.engine import SCHEMA_VERSION
from queue_core.worker import boot as booting
from queue_core.worker.boot import Booted, Booter, boot
from tests.helpers import descriptors, wait_until

from .conftest import PATIENCE, Rig, alive
from .test_leaving import nothing_is_left


def gone(booted: Booted) -> None:
    wait_until(lambda: not booted.lives(), "the worker has left", PATIENCE)


def started(rig: Rig, **env: str) -> Booted:
    return boot({**rig.env, **env}, booted_by="test")


def test_finish_lets_running_commands_end_and_starts_nothing(rig: Rig) -> None:
    gate = rig.gate()
    running = rig.sh(f"{gate.wait}; exit 4", "--retries", "0")
    booted = started(rig)
    rig.pid_of(running)
    booted.let_go()
    wait_until(lambda: not rig.queue.live_workers(claiming=True), "it claims no more", PATIENCE)
    waiting = rig.sh("true")
    gate.open()
    gone(booted)
    assert rig.outcomes(running) == [("exited", 4)]
    assert rig.state(waiting) == "available"
    nothing_is_left(rig)


@pytest.mark.parametrize("linger", ["0.1", "600"])
def test_drain_empties_the_backlog_and_what_comes_while_it_lingers(rig: Rig, linger: str) -> None:
    gate = rig.gate()
    first = rig.sh(gate.wait)
    second = rig.sh("true")
    booted = started(rig, RUNQ_AFTER_SESSION="drain", RUNQ_LINGER=linger, RUNQ_PARALLELISM="1")
    rig.pid_of(first)
    booted.let_go()
    gate.open()
    rig.reaches(second, "succeeded")
    if linger == "600":
        rig.reaches(rig.sh("true"), "succeeded")
        rig.runq("work", "--stop")
    gone(booted)
    nothing_is_left(rig)


def test_stop_puts_the_jobs_back_uncounted(rig: Rig) -> None:
    job = rig.sh("exec sleep 60", "--retries", "0")
    booted = started(rig, RUNQ_AFTER_SESSION="stop")
    pid = rig.pid_of(job)
    booted.let_go()
    gone(booted)
    assert not alive(pid)
    assert (rig.state(job), rig.job(job).attempt, rig.job(job).failures) == ("available", 0, 0)
    nothing_is_left(rig)


def test_an_idle_worker_leaves_and_deregisters(rig: Rig) -> None:
    job = rig.sh("true")
    booted = started(rig, RUNQ_IDLE="0.2")
    gone(booted)
    assert rig.state(job) == "succeeded"
    nothing_is_left(rig)
    booted.let_go()


def test_a_worker_that_a_person_started_stays(rig: Rig) -> None:
    """Both are idle for as long; the booted one has left, the standing one still runs what comes."""
    standing = rig.worker(RUNQ_IDLE="0.2")
    gone(started(rig, RUNQ_IDLE="0.2"))
    job = rig.sh("true")
    rig.reaches(job, "succeeded")
    assert standing.popen.poll() is None


def test_a_worker_whose_server_dies_while_it_boots_does_what_the_session_says(rig: Rig) -> None:
    """Its pipe is closed before it is up: it registers, sees it, and leaves without having claimed anything."""
    job = rig.sh("true")
    reader, writer = os.pipe()
    heard, say = os.pipe()
    popen = booting.launch({**rig.env}, reader, say, "test")
    for descriptor in (reader, writer, say):
        os.close(descriptor)
    os.close(heard)  # nobody hears that it is ready either
    assert popen.wait(PATIENCE) == 0
    assert rig.state(job) == "available"
    nothing_is_left(rig)


def test_what_keeps_a_worker_from_starting_is_told(rig: Rig) -> None:
    (rig.home / "keepers").write_text("in the way")
    with pytest.raises(WorkerError, match="keepers"):
        started(rig)


def test_a_worker_that_does_not_come_up_is_ended(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booting, "START_TIMEOUT", 0.0)
    seen: list[int] = []
    real = booting.launch
    monkeypatch.setattr(booting, "launch", lambda *args: (seen.append((popen := real(*args)).pid), popen)[1])
    with pytest.raises(WorkerError, match="it said nothing"):
        started(rig)
    assert not alive(seen[0])


def test_a_worker_that_became_too_old_leaves_the_database_alone(rig: Rig) -> None:
    """An upgrade under its feet: it ends, its command runs on, and nothing is written where it has no business."""
    gate = rig.gate()
    job = rig.sh(gate.wait)
    booted = started(rig)
    pid = rig.pid_of(job)
    connection = sqlite3.connect(rig.home / "runq.db", isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    changes.ring(rig.queue.home, "work")
    gone(booted)
    assert alive(pid)
    assert "newer runq" in rig.log()
    assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.close()
    gate.open()
    rig.worker()
    rig.reaches(job, "succeeded")


def test_the_booter_boots_when_there_is_a_backlog_and_only_then(rig: Rig) -> None:
    async def session() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Booter(rig.queue, booted_by="test").run)
            await anyio.sleep(booting.FIRST_LOOK)
            with anyio.move_on_after(0.5):  # it has looked and found nothing
                while not rig.queue.live_workers():
                    await anyio.sleep(0.02)
            assert not rig.queue.live_workers()
            job = await anyio.to_thread.run_sync(rig.sh, "true")
            await anyio.to_thread.run_sync(rig.reaches, job, "succeeded")
            tasks.cancel_scope.cancel()

    rig.queue.environ = rig.env
    anyio.run(session)
    wait_until(lambda: not rig.queue.live_workers(), "the worker has left with the session", PATIENCE)


def test_the_booter_replaces_a_worker_that_was_killed(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(gate.wait)

    async def session() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Booter(rig.queue, booted_by="test").run)
            await anyio.to_thread.run_sync(rig.pid_of, job)
            (pid,) = rig.queue.live_workers().values()
            os.kill(pid, signal.SIGKILL)
            await anyio.to_thread.run_sync(wait_until, lambda: not alive(pid), "it is dead", PATIENCE)
            changes.ring(rig.queue.home, "work")
            await anyio.to_thread.run_sync(
                wait_until, lambda: set(rig.queue.live_workers().values()) - {pid}, "another worker is up", PATIENCE
            )
            gate.open()
            await anyio.to_thread.run_sync(rig.reaches, job, "succeeded")
            tasks.cancel_scope.cancel()

    rig.queue.environ = rig.env
    anyio.run(session)
    assert rig.job(job).attempt == 1


@pytest.mark.claim("processes")
@pytest.mark.claim("overlap")
def test_workers_that_are_all_stopped_keep_nobody_from_booting_one(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at once, and one is enough; what the stopped one runs stays its own, and is settled when it goes on."""
    monkeypatch.setattr(booting, "STOPPED_FOR", 0.2)
    gate = rig.gate()
    held = rig.sh(f"echo held >> runs; {gate.wait}; exit 3", "--retries", "0")
    stopped = rig.worker()
    rig.pid_of(held)
    rig.stop(stopped)
    waiting = rig.sh("echo waiting >> runs")

    def ring() -> set[int]:
        changes.ring(rig.queue.home, "work")
        return set(rig.queue.live_workers().values()) - {stopped.pid}

    async def session() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Booter(rig.queue, booted_by="test").run)
            await anyio.to_thread.run_sync(wait_until, ring, "another worker is up", PATIENCE)
            await anyio.to_thread.run_sync(rig.reaches, waiting, "succeeded")
            for _ in range(20):
                assert len(ring()) == 1
                await anyio.sleep(0.01)
            assert rig.state(held) == "running"
            gate.open()
            stopped.signal(signal.SIGCONT)
            await anyio.to_thread.run_sync(rig.reaches, held, "dead")
            tasks.cancel_scope.cancel()

    rig.queue.environ = rig.env
    anyio.run(session)
    assert rig.outcomes(held) == [("exited", 3)]
    assert sorted(rig.lines("runs")) == ["held", "waiting"]


@pytest.mark.claim("processes")
def test_a_worker_that_is_stopped_for_a_moment_counts_as_one_that_claims(rig: Rig) -> None:
    worker = rig.worker()
    rig.sh("true")
    booter = Booter(rig.queue, booted_by="test")
    rig.stop(worker)
    assert booter._is_manned()  # pyright: ignore[reportPrivateUsage]
    worker.signal(signal.SIGCONT)
    wait_until(lambda: not processes.stopped(worker.pid), "it goes on", PATIENCE)
    assert booter._is_manned()  # pyright: ignore[reportPrivateUsage]
    assert booter._all_stopped_since == float("inf"), "the time begins anew"  # pyright: ignore[reportPrivateUsage]


@pytest.mark.claim("processes")
def test_where_every_worker_is_stopped_again_and_again_not_more_and_more_are_booted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(booting, "STOPPED_FOR", 0.0)
    workers = [rig.worker() for _ in range(2)]
    for one in workers:
        rig.stop(one)
    booter = Booter(rig.queue, booted_by="test")
    manned: list[bool] = []
    for one in workers:
        booter._booted.append(Booted(one.popen, -1))  # pyright: ignore[reportPrivateUsage, reportArgumentType]
        manned.append(booter._is_manned())  # pyright: ignore[reportPrivateUsage]
    assert manned == [False, True], "one takes the place of a stopped one, and none that of the second"
    workers[0].kill()
    assert not booter._booted[0].lives()  # pyright: ignore[reportPrivateUsage]


def test_a_worker_that_fails_again_and_again_is_not_booted_in_a_loop(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure makes the pause longer, whoever rings; and a day of them breaks nothing."""
    booter = Booter(rig.queue, booted_by="test")
    pauses = [booter._pause() for _ in range(2000)]  # pyright: ignore[reportPrivateUsage]
    assert pauses[:4] == [1, 2, 4, 8] and pauses[-1] == 60
    tries: list[float] = []

    def fail(*_: object, **__: object) -> Booted:
        tries.append(1)
        changes.ring(rig.queue.home, "work")
        raise WorkerError("no")

    monkeypatch.setattr(booting, "boot", fail)
    rig.sh("true")

    async def session() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Booter(rig.queue, booted_by="test").run)
            await anyio.to_thread.run_sync(wait_until, lambda: tries, "it has tried")
            await anyio.sleep(0.6)
            tasks.cancel_scope.cancel()

    anyio.run(session)
    assert len(tries) == 1


def test_a_worker_holds_nothing_of_its_servers(rig: Rig) -> None:
    """No client's stdin, stdout or stderr, and no pipe that would keep the client waiting."""
    booted = started(rig)
    assert [os.readlink(f"/proc/{booted.pid}/fd/{number}") for number in (0, 1, 2)] == ["/dev/null"] * 3
    assert os.getsid(booted.pid) == booted.pid
    (keeper,) = rig.keepers()
    held = {*descriptors(booted.pid).values(), *descriptors(keeper).values()}
    ours = {os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)} - {"/dev/null"}
    assert not ours & held
    booted.let_go()
    gone(booted)
