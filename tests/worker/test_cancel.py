"""Cancelling: whoever is alive or stopped or dead, the whole tree ends, and nothing else does."""

import os
import signal

import pytest

from queue_core.model import Origin
from tests.helpers import wait_until

from .conftest import PATIENCE, Process, Rig, alive

pytestmark = pytest.mark.claim("processes")

# Itself, a child, and a grandchild in a session of its own; the latter two ignore TERM.
TREE = (
    "trap '' TERM; setsid sh -c 'echo $$ >> tree; while :; do sleep 0.05; done' &"
    " sh -c 'echo $$ >> tree; while :; do sleep 0.05; done' & echo $$ >> tree; wait; wait"
)


def tree(rig: Rig) -> list[int]:
    wait_until(lambda: len(rig.lines("tree")) == 3, "the tree has grown", PATIENCE)
    return [int(line) for line in rig.lines("tree")]


def is_gone(pids: list[int]) -> None:
    wait_until(lambda: not any(alive(pid) for pid in pids), f"{pids} are gone", PATIENCE)


@pytest.fixture
def bystander(rig: Rig) -> int:
    """Another job that runs and must go on."""
    return rig.sh(rig.gate("bystander").wait, "--queue", "other")


def started(rig: Rig) -> tuple[int, list[int], Process]:
    job = rig.sh(TREE, "--retries", "5")
    worker = rig.worker()
    return job, tree(rig), worker


def test_a_waiting_job_is_cancelled_without_a_worker(rig: Rig) -> None:
    job = rig.sh("touch ran")
    rig.runq("cancel", str(job))
    assert rig.state(job) == "cancelled"
    rig.drain()
    assert not (rig.folder / "ran").exists()
    assert rig.outcomes(job) == []


def test_a_running_job_ends_with_its_whole_tree(rig: Rig, bystander: int) -> None:
    job, pids, _ = started(rig)
    rig.runq("cancel", str(job))
    is_gone(pids)
    assert rig.reaches(job, "cancelled").attempt == 1
    assert rig.outcomes(job) == [("cancelled", signal.SIGKILL)]
    assert rig.state(bystander) == "running"


def test_a_stopped_worker_is_not_needed_for_it(rig: Rig, bystander: int) -> None:
    job, pids, worker = started(rig)
    rig.stop(worker)
    rig.runq("cancel", str(job))
    is_gone(pids)
    assert rig.state(job) == "running"  # its worker lives, and has the last word
    worker.signal(signal.SIGCONT)
    rig.reaches(job, "cancelled")
    assert rig.state(bystander) == "running"


def test_a_dead_worker_is_not_needed_for_it(rig: Rig, bystander: int) -> None:
    job, pids, worker = started(rig)
    worker.kill()
    rig.runq("cancel", str(job))
    is_gone(pids)
    wait_until(lambda: rig.status(job)["state"] == "cancelled", "a look settles it", PATIENCE)
    assert alive(rig.pid_of(bystander))


def test_with_worker_and_keeper_dead_it_is_ended_by_hand(rig: Rig, bystander: int) -> None:
    job, pids, worker = started(rig)
    worker.kill()
    rig.kill_keepers()
    assert all(alive(pid) for pid in pids)
    rig.runq("cancel", str(job))
    assert not any(alive(pid) for pid in pids)
    assert rig.state(job) == "cancelled"
    assert alive(rig.pid_of(bystander))


def test_a_worker_ends_what_lives_on_without_its_keeper(rig: Rig, bystander: int) -> None:
    """The worker looks after it, the grandchild in a session of its own too, and works on meanwhile."""
    job, pids, worker = started(rig)
    rig.kill_keepers()
    rig.queue.store.cancel([job], by=Origin(caller="person"), now=0.0)  # only the mark, as from another machine
    wait_until(lambda: not alive(pids[0]) and not alive(pids[1]) and not alive(pids[2]), "the tree is gone", PATIENCE)
    assert rig.reaches(job, "cancelled").attempt == 1
    assert worker.popen.poll() is None
    assert alive(rig.pid_of(bystander))


def test_a_stopped_keeper_ends_it_when_it_goes_on(rig: Rig) -> None:
    gate = rig.gate()
    jobs = [rig.sh(gate.wait) for _ in range(3)]
    rig.worker()
    pids = [rig.pid_of(job) for job in jobs]
    (keeper,) = rig.keepers()
    os.kill(keeper, signal.SIGSTOP)
    rig.runq("cancel", *map(str, jobs))
    assert all(alive(pid) for pid in pids)
    os.kill(keeper, signal.SIGCONT)
    for job in jobs:
        rig.reaches(job, "cancelled")
        assert rig.outcomes(job) == [("cancelled", signal.SIGTERM)]


def test_a_retry_that_waits_is_cancelled_too(rig: Rig) -> None:
    job = rig.sh("exit 1", "--backoff-base", "60")
    rig.worker()
    rig.reaches(job, "scheduled")
    rig.runq("cancel", str(job))
    assert rig.state(job) == "cancelled"
    assert rig.outcomes(job) == [("exited", 1)]


def test_a_success_is_a_success_if_the_cancel_came_too_late(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(f"trap '' TERM; echo begun > begun; {gate.wait}; exit 0")
    rig.worker(RUNQ_GRACE="600")
    rig.wrote("begun")
    rig.queue.cancel([job])
    gate.open()
    ended = rig.reaches(job, "succeeded", "cancelled")
    assert ended.attempts[0].exit_code == 0
