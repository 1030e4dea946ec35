"""Sleep and clocks: ownership is verified first, what came due is done once, and no jump makes anything hang or spin.

The clocks of a real worker process are moved from outside: Python's own functions are replaced before runq is loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from queue_core.errors import StoreBusy
from queue_core.jobs import Orphan, Outcome, Settlement
from queue_core.worker.sleep import SHORTEST, Awakening, Watch, boottime
from tests import claims
from tests.helpers import wait_until

from .conftest import PATIENCE, Process, Rig, alive

pytestmark = pytest.mark.claim("sleep")

HOUR = 3600.0
YEAR = 365.25 * 24 * HOUR
# Reads how far the clocks are ahead at each look: the wall clock and the one that goes on in sleep.
SHIFTED = """
import runpy, sys, time
path, wall_of, clock_of = sys.argv.pop(1), time.time, time.clock_gettime
def ahead(which):
    with open(path) as file:
        return float(file.read().split()[which])
time.time = lambda: wall_of() + ahead(0)
time.clock_gettime = lambda clock: clock_of(clock) + (ahead(1) if clock == time.CLOCK_BOOTTIME else 0.0)
runpy.run_module("queue_core.launch", run_name="__main__")
"""


class Clocks:
    """What the processes that are started with it take for the time."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._path = rig.folder / "clocks"
        self.turn()

    def turn(self, wall: float = 0.0, boot: float = 0.0) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{wall} {boot}")
        fresh.rename(self._path)

    def sleep(self, seconds: float) -> None:
        """As if the machine had slept: both clocks are ahead, the monotonic one is not."""
        self.turn(seconds, seconds)

    def worker(self, **env: str) -> Process:
        process = self._rig.start_program(sys.executable, "-c", SHIFTED, str(self._path), "work", **env)
        wait_until(lambda: process.pid in self._rig.queue.live_workers().values(), "a worker is up", PATIENCE)
        return process


def test_what_came_due_in_a_sleep_is_done_once_and_no_time_out_is_used_up_by_it(rig: Rig) -> None:
    clocks = Clocks(rig)
    running = rig.sh(f"{rig.gate().wait}; exit 3", "--timeout", str(HOUR), "--retries", "0")
    failed = rig.sh("echo again >> agains; [ -e second ] || { touch second; exit 1; }", "--backoff-base", str(HOUR))
    rig.runq("schedule", "add", "beat", "--every", "1h", "--", "sh", "-c", "echo beat >> beats")
    clocks.worker(RUNQ_BACKOFF_CAP="7200")
    rig.reaches(failed, "scheduled")
    delayed = rig.sh("echo late >> lates", "--delay", "2h")
    pid = rig.pid_of(running)
    clocks.sleep(8 * HOUR)
    rig.reaches(delayed, "succeeded")
    rig.reaches(failed, "succeeded")
    rig.wrote("beats", "beat\n")
    # How many claims it has then follows from the moment of a turn in which it falls asleep.
    wait_until(lambda: "the machine slept for 28800 s; " in rig.log(), "it has verified what is its own", PATIENCE)
    rig.reaches(rig.sh("true"), "succeeded")
    assert (rig.lines("agains"), rig.lines("lates"), rig.lines("beats")) == (["again"] * 2, ["late"], ["beat"])
    assert alive(pid)
    rig.gate().open()
    rig.reaches(running, "dead")
    assert rig.outcomes(running) == [("exited", 3)]
    claims.tried("sleep", sleeps=1)


def test_a_worker_that_wakes_verifies_what_is_its_own_before_anything_else(rig: Rig) -> None:
    """While it slept somebody has settled one of its claims: that command is ended, and its end changes nothing."""
    clocks = Clocks(rig)
    tree = "setsid sh -c 'echo $$ >> tree; exec sleep 99' & echo $$ >> tree; trap 'exit 0' TERM; wait"
    lost = rig.sh(tree, "--retries", "0")
    kept = rig.sh(rig.gate().wait, "--retries", "0")
    worker = clocks.worker(RUNQ_PARALLELISM="2")
    wait_until(lambda: len(rig.lines("tree")) == 2, "its tree has grown", PATIENCE)
    pids = [int(line) for line in rig.lines("tree")]
    rig.pid_of(kept)
    rig.stop(worker)
    (claim,) = [one for one in rig.queue.store.running() if one.job == lost]
    gone = Settlement(job=lost, claim=claim.claim, token=claim.token, outcome=Outcome(kind="lost"))
    assert rig.queue.store.settle([gone], now=rig.queue.clock(), chance=lambda: 0.0) == ["dead"]
    waiting = rig.sh("true")
    clocks.sleep(HOUR)
    worker.signal(signal.SIGCONT)
    rig.reaches(waiting, "succeeded")
    wait_until(lambda: not any(map(alive, pids)), "its processes are gone", PATIENCE)
    log = rig.log()
    assert log.index(f"job {lost}: claim 1 is not this worker's any more") < log.index(f"job {waiting} claim 1 starts")
    assert rig.outcomes(lost) == [("lost", None)]
    assert rig.state(kept) == "running"
    rig.gate().open()
    rig.reaches(kept, "succeeded")
    assert "the lease of claim" not in rig.log(), "nothing of it was settled once more"
    claims.tried("sleep", sleeps=1)


def test_sleep_is_told_by_two_clocks_and_only_until_it_was_seen_to() -> None:
    awake, always = [100.0], [500.0]
    watch = Watch(lambda: awake[0], lambda: always[0])
    for seconds, slept in [(10.0, 0.0), (0.0, 0.0)]:
        awake[0] += seconds
        always[0] += seconds
        assert watch.slept() == slept
    always[0] += SHORTEST
    assert watch.slept() == 0.0
    always[0] += 60
    assert watch.slept() == watch.slept() == 60 + SHORTEST, "until it was seen to"
    watch.woken()
    assert watch.slept() == 0.0
    assert boottime() > time.monotonic() - 1


def test_a_store_that_cannot_tell_is_asked_again_before_anything_is_claimed(rig: Rig) -> None:
    """The worker wakes and finds the store locked: nothing is settled or claimed until ownership is verified."""
    inner = rig.inner()
    always = [0.0]
    awakening = Awakening(
        inner.queue,
        inner.worker._jobs,  # pyright: ignore[reportPrivateUsage]
        Watch(lambda: 0.0, lambda: always[0]),
    )
    real = inner.queue.store.running
    asked: list[str | None] = []

    def busy(host: str | None = None) -> list[Orphan]:
        asked.append(host)
        if len(asked) < 3:
            raise StoreBusy("locked")
        return real(host)

    inner.queue.store.running = busy  # pyright: ignore[reportAttributeAccessIssue]
    inner.worker._awakening = awakening  # pyright: ignore[reportPrivateUsage]
    always[0] = HOUR
    job = rig.sh("true")
    rig.reaches(job, "succeeded")
    assert len(asked) >= 3


@pytest.mark.parametrize("way", ["ahead", "back"])
def test_a_wall_clock_that_jumps_makes_nothing_hang_spin_or_run_twice(rig: Rig, way: str) -> None:
    """Years ahead, years back, and home again, while commands run and wait; the worker stays as quiet as before."""
    clocks = Clocks(rig)
    worker = clocks.worker(RUNQ_KEEP_DAYS="100000")  # or a round of its janitor, years ahead, forgets all that ended
    held = rig.sh(f"{rig.gate().wait}; exit 4", "--timeout", str(HOUR), "--retries", "0")
    rig.pid_of(held)
    rig.runq("schedule", "add", "beat", "--every", "1h", "--", "sh", "-c", "echo beat >> beats")
    jumps = [10 * YEAR, -10 * YEAR, 0.0] if way == "ahead" else [-40 * YEAR, 60 * YEAR, 0.0]
    for number, wall in enumerate(jumps):
        clocks.turn(wall)
        job = rig.sh(f"echo {number} >> runs; [ -e second.{number} ] || {{ touch second.{number}; exit 1; }}")
        rig.reaches(rig.sh("true"), "succeeded")
        wait_until(lambda n=number: f"{n}" in rig.lines("runs"), "it has run", PATIENCE)
        if wall >= 0:  # what backs off is due by the wall clock
            rig.reaches(job, "succeeded")
    before = _cpu(worker.pid)
    second = time.monotonic() + 1.0
    wait_until(lambda: time.monotonic() > second, "a second has gone by", PATIENCE)
    assert _cpu(worker.pid) - before < 0.5, "it spins"
    assert len(rig.lines("beats")) <= len(jumps)
    rig.gate().open()
    rig.reaches(held, "dead")
    assert rig.outcomes(held) == [("exited", 4)]
    assert sorted(rig.lines("runs")) == sorted([str(n) for n in range(3) for _ in range(2)])
    claims.tried("sleep", jumps=len(jumps))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
