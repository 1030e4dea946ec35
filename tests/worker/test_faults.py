"""A worker whose store, keeper or disk fails it: it bears what passes, and leaves in order when it must."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from queue_core import changes
from queue_core.errors import KeeperError, StoreBusy, StoreError, StoreFull
from queue_core.keeper import boot as keeper_boot
from queue_core.worker import loop
from queue_core.worker.options import Options
from tests.helpers import rung, wait_until

from .conftest import PATIENCE, Inner, Rig, alive
from .test_leaving import nothing_is_left


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "STORE_PAUSE", 0.02)
    monkeypatch.setattr(loop, "REFUSED_PAUSE", 0.05)


class Flaky:
    """Wraps a verb of a real store: it fails while `error` is set; with `after`, once it has handed out leases."""

    def __init__(self, store: Any, verb: str, *, after: bool = False) -> None:
        self.error: Exception | None = None
        self.failed = 0
        self._real: Callable[..., Any] = getattr(store, verb)
        self._after = after
        setattr(store, verb, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        error = self.error  # the test may take it back at any moment
        if error is None:
            return self._real(*args, **kwargs)
        if self._after:
            result = self._real(*args, **kwargs)
            if not result[1]:  # no leases: this answer is not worth losing
                return result
            self.error = None
        self.failed += 1
        raise error

    def fails(self, times: int = 1) -> None:
        wait_until(lambda: self.failed >= times, f"it failed {times} times", PATIENCE)


@pytest.mark.claim("full")
def test_an_end_that_cannot_be_settled_keeps(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Where even the ballast makes no room the result waits in the worker; it is recorded later, and once only."""
    gate = rig.gate()
    job = rig.sh(f"{gate.wait}; exit 3", "--retries", "0")
    inner = rig.inner()
    rig.pid_of(job)
    exchange, settle = (Flaky(inner.queue.store, verb) for verb in ("exchange", "settle"))
    exchange.error = settle.error = StoreFull("full")
    gate.open()
    exchange.fails(3)
    settle.fails(2)
    assert rig.state(job) == "running"
    exchange.error = settle.error = None
    rig.reaches(job, "dead")
    assert rig.outcomes(job) == [("exited", 3)]
    assert caplog.messages.count("full; trying until it works") == 1


@pytest.mark.claim("full")
def test_an_end_is_settled_although_something_else_finds_no_room(rig: Rig) -> None:
    """Adopting, schedules and leaving come in the same turn: a disk that is full for them keeps no end waiting."""
    gate = rig.gate()
    job = rig.sh(f"{gate.wait}; exit 3", "--retries", "0")
    inner = rig.inner()
    rig.pid_of(job)
    exchange = Flaky(inner.queue.store, "exchange")
    exchange.error = StoreFull("full")
    gate.open()
    rig.reaches(job, "dead")
    assert exchange.error
    exchange.error = None


@pytest.mark.parametrize("verb", ["stop_claiming", "running", "next_due"])
def test_a_busy_store_does_not_make_a_worker_desert_its_commands(rig: Rig, verb: str) -> None:
    gate = rig.gate()
    job = rig.sh(f"{gate.wait}; exit 3", "--retries", "0")
    inner = rig.inner()
    rig.pid_of(job)
    flaky = Flaky(inner.queue.store, verb)
    flaky.error = StoreBusy("busy")
    inner.tell("finish")
    inner.portal.call(inner.worker.wake)
    rig.sh("true", "--delay", "60")  # a ring: it looks around
    flaky.fails(2)
    flaky.error = None
    gate.open()
    assert inner.left() is None
    assert rig.outcomes(job) == [("exited", 3)]
    nothing_is_left(rig)


@pytest.mark.parametrize("options", [Options(until_empty=True), Options(booted_by="test")], ids=["empty", "idle"])
def test_a_busy_store_does_not_make_leaving_fail(rig: Rig, options: Options) -> None:
    gate = rig.gate()
    job = rig.sh(gate.wait)
    inner = rig.inner(options, RUNQ_IDLE="0.05")
    rig.pid_of(job)
    flaky = Flaky(inner.queue.store, "leave_if_idle")
    flaky.error = StoreBusy("busy")
    gate.open()
    flaky.fails(2)
    flaky.error = None
    assert inner.left() is None
    nothing_is_left(rig)


def test_a_store_that_cannot_be_used_any_more_ends_the_worker_but_not_its_commands(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(gate.wait)
    inner = rig.inner()
    pid = rig.pid_of(job)
    exchange = Flaky(inner.queue.store, "exchange")
    exchange.error = StoreError("replaced")
    inner.portal.call(inner.worker.wake)
    error = inner.left()
    assert isinstance(error, StoreError) and str(error) == "replaced"
    assert alive(pid)
    rig.worker()
    gate.open()
    assert rig.reaches(job, "succeeded").attempt == 1


def test_claims_whose_answer_was_lost_are_put_back(rig: Rig) -> None:
    """The transaction was committed, but the worker was told that the store is busy: nothing may hang in it."""
    inner = rig.inner()
    exchange = Flaky(inner.queue.store, "exchange", after=True)
    exchange.error = StoreBusy("busy, or so it seemed")
    job = rig.sh("echo ran >> ran", "--retries", "0")
    done = rig.reaches(job, "succeeded")
    assert exchange.failed == 1
    assert (done.claim, done.attempt, rig.lines("ran")) == (2, 1, ["ran"])


def test_a_keeper_that_dies_while_a_job_is_claimed_for_it_loses_nothing(rig: Rig) -> None:
    """The worker hears of it before the claim's answer is there: the job is put back, not forgotten."""
    inner = rig.inner()
    (keeper,) = rig.keepers()
    real = inner.queue.store.exchange
    killed = threading.Event()

    def exchange(*args: Any, **kwargs: Any) -> Any:
        states, leases = real(*args, **kwargs)
        if leases and not killed.is_set():
            killed.set()
            os.kill(keeper, signal.SIGKILL)
            link = inner.worker._jobs._commands._own  # pyright: ignore[reportPrivateUsage]
            wait_until(lambda: link is None or not link.open, "the worker has heard that its keeper is gone", PATIENCE)
        return states, leases

    inner.queue.store.exchange = exchange
    job = rig.sh("echo ran >> ran", "--retries", "0")
    done = rig.reaches(job, "succeeded")
    assert killed.is_set()
    assert (done.attempt, rig.lines("ran")) == (1, ["ran"])


def test_what_cannot_be_started_is_put_back_and_tried_again(rig: Rig) -> None:
    """The claim's folder cannot be made, as on a full disk: no attempt is counted, and nothing else is claimed."""
    inner = rig.inner()
    runs = rig.home / "runs"
    runs.write_text("in the way")
    job = rig.sh("echo ran >> ran", "--retries", "0")
    wait_until(lambda: rig.job(job).claim >= 2, "it has been claimed again", PATIENCE)
    assert not rig.job(job).attempts
    runs.unlink()
    done = rig.reaches(job, "succeeded")
    assert (done.attempt, done.failures, rig.lines("ran")) == (1, 0, ["ran"])
    # The worker says so after its commit: a look at the store may be faster.
    expected = ["never_started", "exited"]
    wait_until(lambda: [one.outcome for one in inner.settled][-2:] == expected, "the worker has said so", PATIENCE)


def test_without_a_keeper_nothing_is_claimed_and_what_ended_is_settled(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = rig.gate()
    job = rig.sh(f"{gate.wait}; exit 3", "--retries", "0")
    rig.inner()
    pid = rig.pid_of(job)
    real = keeper_boot.start
    tries: list[str] = []

    def fail(folder: str) -> keeper_boot.Started:
        tries.append(folder)
        raise KeeperError("no keeper")

    monkeypatch.setattr(keeper_boot, "start", fail)
    rig.kill_keepers()
    wait_until(lambda: len(tries) >= 2, "it tries again", PATIENCE)
    os.kill(pid, signal.SIGKILL)
    rig.reaches(job, "dead")
    later = rig.sh("true")
    wait_until(lambda: len(tries) >= 4, "it tries again", PATIENCE)
    assert rig.state(later) == "available"
    monkeypatch.setattr(keeper_boot, "start", real)
    rig.reaches(later, "succeeded")


def test_a_jump_of_the_clock_starts_what_is_due_and_nothing_twice(rig: Rig) -> None:
    inner = rig.inner()
    real = inner.queue.clock
    job = rig.sh("echo ran >> ran", "--delay", "3000")
    inner.queue.clock = lambda: real() + 3600
    inner.portal.call(inner.worker.wake)
    rig.reaches(job, "succeeded")
    inner.queue.clock = real
    other = rig.sh("true")
    rig.reaches(other, "succeeded")
    assert rig.lines("ran") == ["ran"]


def test_a_worker_that_finishes_takes_nothing_over(rig: Rig) -> None:
    """It was told to leave: what another worker left is for one that stays."""
    gate, mine = rig.gate(), rig.gate("mine")
    left = rig.sh(gate.wait)
    dead = rig.worker()
    rig.pid_of(left)
    own = rig.sh(mine.wait, "--queue", "own")
    rig.pid_of(own)
    inner: Inner = rig.inner()
    inner.tell("finish")
    dead.kill()
    orphan = [one for one in rig.queue.store.running() if one.job == left]
    inner.portal.call(inner.worker._adopt, orphan)  # pyright: ignore[reportPrivateUsage]
    assert inner.left() is None
    assert {one.worker for one in rig.queue.store.running()} == {orphan[0].worker}
    gate.open()
    mine.open()


def test_a_bell_that_is_just_being_hung_is_not_taken_for_a_dead_ones(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody rings between the making of the FIFO and its opening, and finds no reader."""
    real = os.mkfifo

    def mkfifo_and_ring(path: str, mode: int = 0o666) -> None:
        real(path, mode)
        changes.ring(rig.queue.home, "work", "watch")

    monkeypatch.setattr(os, "mkfifo", mkfifo_and_ring)
    bell = changes.Bell(rig.queue.home, "work")
    changes.ring(rig.queue.home, "work")
    assert rung(bell)
    bell.close()
    assert os.listdir(rig.home / "bells") == []
