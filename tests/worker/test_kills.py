"""SIGKILL and SIGSTOP in all orders: true exit codes, nothing runs twice, nothing runs beside itself."""

import os
import signal
import sqlite3

import pytest

from queue_core.errors import QueueError
from queue_core.jobs import Outcome, Settlement
from tests.helpers import wait_until

from .conftest import PATIENCE, Gate, Rig, alive, overlaps

pytestmark = [pytest.mark.claim("twice"), pytest.mark.claim("overlap")]

MANY = 20
LIMITS = {"RUNQ_PARALLELISM": str(MANY), "RUNQ_MAX_RUNNING": str(MANY)}


def noted(name: object, gate: Gate, code: int = 0) -> str:
    return f"echo start {name} >> events; {gate.wait}; echo end {name} >> events; exit {code}"


def begun(rig: Rig, count: int) -> None:
    wait_until(lambda: len(rig.lines("events")) >= count, f"{count} events", PATIENCE)


def test_a_killed_worker_is_not_missed(rig: Rig) -> None:
    """Twenty commands run on; status settles those that end, a new worker adopts the others; each ran once."""
    early, late = rig.gate("early", "0.1"), rig.gate("late", "0.1")
    codes = {n: n % 3 for n in range(MANY)}
    jobs = rig.add_all(
        [{"argv": ["sh", "-c", noted(n, early if n < MANY / 2 else late, codes[n])], "retries": 0} for n in range(MANY)]
    )
    worker = rig.worker(**LIMITS)
    begun(rig, MANY)
    worker.kill()
    early.open()
    first, others = jobs[: MANY // 2], jobs[MANY // 2 :]

    def settled_by_status() -> bool:
        rig.status()
        return not any(state == "running" for state in rig.queue.states_of(first).values())

    wait_until(settled_by_status, "status has settled what ended", PATIENCE)
    assert set(rig.queue.states_of(others).values()) == {"running"}
    heir = rig.worker(**LIMITS)
    wait_until(
        lambda: {one.worker for one in rig.queue.store.running()} <= set(rig.queue.live_workers()), "adopted", PATIENCE
    )
    late.open()
    wait_until(lambda: not rig.queue.store.running(), "all have ended", PATIENCE)
    assert [rig.outcomes(job) for job in jobs] == [[("exited", codes[n])] for n in range(MANY)]
    assert sorted(rig.lines("events")) == sorted(f"{what} {n}" for n in range(MANY) for what in ("start", "end"))
    assert heir.popen.poll() is None
    wait_until(lambda: len(rig.keepers()) == 1, "the dead worker's keeper has left, its heir's stays", PATIENCE)


def test_a_killed_workers_time_outs_are_kept(rig: Rig) -> None:
    job = rig.sh("exec sleep 60", "--timeout", "0.6", "--retries", "0")
    worker = rig.worker()
    pid = rig.pid_of(job)
    worker.kill()
    wait_until(lambda: not alive(pid), "the keeper has ended it", PATIENCE)
    wait_until(lambda: rig.status(job)["state"] == "dead", "a look settles it", PATIENCE)
    assert rig.outcomes(job) == [("timed_out", signal.SIGTERM)]


def test_two_workers_that_adopt_the_same_do_it_once(rig: Rig) -> None:
    gate = rig.gate()
    jobs = [rig.sh(noted(n, gate), "--retries", "0") for n in range(4)]
    worker = rig.worker()
    begun(rig, 4)
    worker.kill()
    for heir in (rig.start("work"), rig.start("work")):
        wait_until(lambda pid=heir.pid: pid in rig.queue.live_workers().values(), "an heir is up", PATIENCE)
    gate.open()
    for job in jobs:
        rig.reaches(job, "succeeded")
        assert rig.outcomes(job) == [("exited", 0)]
    assert len(rig.lines("events")) == 8


@pytest.mark.claim("again")
def test_without_retries_a_lost_attempt_is_a_dead_letter(rig: Rig) -> None:
    """Keeper and command are killed: nobody knows how it ended, so it is not run again unasked."""
    job = rig.sh("echo ran >> ran; exec sleep 60", "--retries", "0")
    rig.worker()
    pid = rig.pid_of(job)
    rig.wrote("ran")
    os.kill(rig.keepers()[0], signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    ended = rig.reaches(job, "dead")
    assert (ended.outcome, ended.exit_code, ended.signal) == ("lost", None, None)
    assert "lost" in (ended.reason or "")
    assert rig.lines("ran") == ["ran"]


@pytest.mark.claim("again")
def test_a_command_that_lost_its_keeper_runs_again_only_when_it_has_ended(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(noted("it", gate), "--retries", "1")
    beside = rig.gate("beside")
    rig.worker()
    begun(rig, 1)
    rig.kill_keepers()
    other = rig.sh(f"touch {beside.path}")
    rig.reaches(other, "succeeded")  # the worker has another keeper and works on
    assert rig.state(job) == "running"
    gate.open()
    rig.reaches(job, "succeeded")
    assert rig.lines("events") == ["start it", "end it"] * 2
    assert rig.outcomes(job) == [("lost", None), ("exited", 0)]


@pytest.mark.parametrize("order", ["worker keeper", "keeper worker"])
@pytest.mark.parametrize("ends", ["before", "after"])
def test_with_worker_and_keeper_dead_the_next_worker_waits_for_the_command(rig: Rig, order: str, ends: str) -> None:
    gate = rig.gate()
    job = rig.sh(noted("it", gate), "--retries", "1")
    worker = rig.worker()
    begun(rig, 1)
    for part in order.split():
        worker.kill() if part == "worker" else rig.kill_keepers()
    if ends == "before":
        gate.open()
        begun(rig, 2)
    rig.worker()
    if ends == "after":
        assert rig.status(job)["state"] == "running"
        gate.open()
    rig.reaches(job, "succeeded")
    assert not overlaps(rig.lines("events"))
    assert rig.outcomes(job) == [("lost", None), ("exited", 0)]


def test_a_result_that_was_recorded_outlives_worker_and_keeper(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(noted("it", gate, 9), "--retries", "0")
    worker = rig.worker()
    begun(rig, 1)
    worker.kill()
    gate.open()
    wait_until(lambda: not rig.keepers(), "the keeper has left with its last command", PATIENCE)
    rig.runq("status")
    assert rig.outcomes(job) == [("exited", 9)]


def test_a_stopped_worker_keeps_its_jobs(rig: Rig) -> None:
    """Nobody takes them over, nothing runs twice, and what the keeper told it meanwhile counts."""
    gate = rig.gate()
    job = rig.sh(noted("it", gate, 3), "--retries", "0")
    stopped = rig.worker()
    begun(rig, 1)
    rig.stop(stopped)
    rig.worker()
    gate.open()
    begun(rig, 2)
    later = rig.sh("true")
    rig.reaches(later, "succeeded")
    rig.status()
    assert rig.state(job) == "running"
    stopped.signal(signal.SIGCONT)
    rig.reaches(job, "dead")
    assert rig.outcomes(job) == [("exited", 3)]
    assert rig.lines("events") == ["start it", "end it"]


def test_a_stopped_keeper_is_alive(rig: Rig) -> None:
    """What it runs is not lost, what it was asked to start is started once, and a new worker can wait for it."""
    gate = rig.gate()
    job = rig.sh(noted("first", gate), "--retries", "0")
    worker = rig.worker()
    begun(rig, 1)
    (keeper,) = rig.keepers()
    os.kill(keeper, signal.SIGSTOP)
    second = rig.sh(noted("second", gate), "--retries", "0")
    rig.reaches(second, "running")
    worker.kill()
    gate.open()
    begun(rig, 2)
    rig.worker()
    wait_until(
        lambda: {one.worker for one in rig.queue.store.running()} <= set(rig.queue.live_workers()), "adopted", PATIENCE
    )
    os.kill(keeper, signal.SIGCONT)
    for one in (job, second):
        assert rig.reaches(one, "succeeded").attempt == 1
    assert rig.lines("events") == ["start first", "end first", "start second", "end second"]


def test_a_stopped_keeper_holds_up_nobody_else(rig: Rig) -> None:
    """More is asked of it than its socket holds; the worker still settles what it took over from others."""
    gate = rig.gate()
    job = rig.sh(noted("it", gate))
    dead = rig.worker()
    begun(rig, 1)
    dead.kill()
    (other,) = rig.keepers()
    rig.worker(RUNQ_PARALLELISM="60", RUNQ_MAX_RUNNING="60")
    wait_until(lambda: len(rig.keepers()) == 2, "it has a keeper", PATIENCE)
    (own,) = set(rig.keepers()) - {other}
    wait_until(
        lambda: {one.worker for one in rig.queue.store.running()} <= set(rig.queue.live_workers()), "adopted", PATIENCE
    )
    os.kill(own, signal.SIGSTOP)
    long = "x" * 100_000
    jobs = rig.add_all([{"argv": ["sh", "-c", "exit 0", long]} for _ in range(40)])
    rig.reaches(jobs[-1], "running")
    gate.open()
    rig.reaches(job, "succeeded")
    os.kill(own, signal.SIGCONT)
    rig.reaches(jobs[-1], "succeeded")


def test_a_stale_result_is_refused(rig: Rig) -> None:
    """Whoever names a claim that is no longer the job's changes nothing."""
    gate = rig.gate()
    job = rig.sh(gate.wait)
    rig.worker()
    rig.pid_of(job)
    (mine,) = rig.queue.store.running()
    for claim, token in ((mine.claim, "other"), (mine.claim + 1, mine.token)):
        stale = Settlement(job=job, claim=claim, token=token, outcome=Outcome(kind="exited", exit_code=1))
        assert rig.queue.store.settle([stale], now=0.0, chance=lambda: 0.0) == [None]
    assert rig.state(job) == "running"
    gate.open()
    rig.reaches(job, "succeeded")


def test_a_claim_that_never_reached_its_keeper_is_put_back(rig: Rig) -> None:
    """A worker that dies between its claim and its request: the keeper's "unknown" puts the job back, uncounted."""
    gate = rig.gate()
    holding = rig.sh(gate.wait)
    worker = rig.worker()
    rig.pid_of(holding)
    rig.runq("pause", "late")
    job = rig.sh("echo ran >> ran", "--queue", "late", "--retries", "0")
    (mine,) = rig.queue.store.running()
    connection = sqlite3.connect(rig.home / "runq.db", isolation_level=None)
    connection.execute(
        "UPDATE jobs SET state = 'running', claim = 1, attempt = 1, lease_token = 'lost', worker = ?, keeper = ?,"
        " host = ?, started_at = 1 WHERE id = ?",
        (mine.worker, mine.keeper, mine.host, job),
    )
    connection.close()
    worker.kill()
    rig.runq("resume", "late")
    rig.worker()
    done = rig.reaches(job, "succeeded")
    assert (done.attempt, rig.lines("ran")) == (1, ["ran"])
    assert rig.outcomes(job) == [("exited", 0)]
    assert rig.state(holding) == "running"


@pytest.mark.claim("sleep")
def test_after_a_restart_of_the_machine_what_ran_is_lost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another boot id: nothing of it can live, whatever pids and records seem to say."""
    from queue_core.keeper import processes

    gate = rig.gate()
    job = rig.sh(noted("it", gate), "--retries", "0")
    worker = rig.worker()
    begun(rig, 1)
    worker.kill()
    rig.kill_keepers()
    monkeypatch.setattr(processes, "boot_id", lambda: "another boot")
    rig.queue.recover()
    assert (rig.state(job), rig.job(job).outcome) == ("dead", "lost")
    with pytest.raises(QueueError, match="there is no job"):
        rig.job(job + 1)
