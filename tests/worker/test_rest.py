"""A worker at rest: what wakes it although nobody rings, and what it does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from queue_core.errors import StoreBusy
from queue_core.liveness import LifeLock, ask_to_leave
from queue_core.model import NewJob, Origin
from queue_core.service import Queue
from queue_core.sqlite import ballast
from queue_core.worker import janitor, loop, rest
from queue_core.worker.rest import Rest
from queue_core.worker.threads import OwnThread
from queue_core.worker.waking import Wake
from tests.helpers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.worker.conftest import Inner, Rig

POLL = 0.001
WORKERS_POLL = 0.02
NEVER = 10**6  # looks, or seconds


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    found = Queue.open({"RUNQ_HOME": str(home), "PATH": "/usr/bin:/bin"})
    yield found
    found.close()


class Sleeper:
    """A worker's rest, of which it is counted how often it goes on."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.wake = Wake()
        self.waits = 0
        self.thread = OwnThread("sleeper")
        self.rest = Rest(queue, "w", self.thread)

    def sleep(self, *, idle: bool = True, patience: float = POLL) -> tuple[bool, int]:
        """Whether it has to look around, and how often it has waited until then."""
        self.waits = 0

        def wait() -> float:
            self.waits += 1
            return patience

        async def over() -> bool:
            with anyio.fail_after(30):
                return await self.rest.until_woken(self.wake, wait, POLL, idle=idle)

        return anyio.run(over), self.waits


@pytest.fixture
def sleeper(queue: Queue) -> Iterator[Sleeper]:
    made = Sleeper(queue)
    assert made.sleep() == (True, 1), "it has not looked yet"
    yield made
    made.thread.close()


def test_it_sleeps_on_while_nothing_changes_but_not_for_ever(sleeper: Sleeper) -> None:
    assert sleeper.sleep() == (True, rest.LONGEST)
    assert sleeper.sleep() == (True, rest.LONGEST)


def test_a_job_for_which_nobody_has_rung_is_looked_for(sleeper: Sleeper) -> None:
    sleeper.queue.submit(("true",))
    assert sleeper.sleep() == (True, 1)
    assert sleeper.sleep() == (True, rest.LONGEST)


def test_so_is_what_another_process_has_asked_for(sleeper: Sleeper) -> None:
    other = Queue.open({"RUNQ_HOME": sleeper.queue.home.data, "PATH": "/usr/bin:/bin"})
    other.pause("default", paused=True)
    other.close()
    assert sleeper.sleep() == (True, 1)


def test_it_leaves_when_it_is_asked_to(sleeper: Sleeper) -> None:
    life = LifeLock(sleeper.queue.home, "w")
    ask_to_leave(sleeper.queue.home, "w", now=False)
    assert sleeper.sleep() == (True, 1)
    ask_to_leave(sleeper.queue.home, "w", now=True)
    assert sleeper.sleep() == (True, 1)
    life.release()


def test_room_on_the_disk_is_noticed(sleeper: Sleeper) -> None:
    assert ballast.lay(sleeper.queue.home)
    sleeper.sleep()
    assert ballast.give_up(sleeper.queue.home)
    assert sleeper.sleep() == (True, 1)


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_was_set_makes_it_look(sleeper: Sleeper, seconds: int) -> None:
    clock = sleeper.queue.clock
    sleeper.queue.clock = lambda: clock() + seconds
    assert sleeper.sleep() == (True, 1)
    assert sleeper.sleep() == (True, rest.LONGEST)


def test_what_is_due_earlier_than_the_next_look_is_not_slept_over(sleeper: Sleeper) -> None:
    assert sleeper.sleep(patience=POLL / 2) == (True, 1)


def test_who_runs_something_always_looks(sleeper: Sleeper) -> None:
    assert sleeper.sleep(idle=False) == (True, 1)


def test_who_was_woken_is_told_so(sleeper: Sleeper) -> None:
    sleeper.wake.set()
    assert sleeper.sleep(patience=60) == (False, 1)


def test_a_store_that_cannot_be_read_is_for_the_turn_to_find_out(
    sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy() -> Any:
        raise StoreBusy("busy")

    monkeypatch.setattr(sleeper.queue.store, "version", busy)
    assert sleeper.sleep() == (True, 1)
    assert sleeper.sleep() == (True, 1)


@pytest.fixture
def at_rest(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Inner:
    """A whole worker that has left out several looks, and would leave out all others if nothing changed."""
    for module in (loop, rest):
        monkeypatch.setattr(module, "POLL", WORKERS_POLL)
    monkeypatch.setattr(rest, "LONGEST", NEVER)
    monkeypatch.setattr(janitor, "ROUND", NEVER)
    left_out: list[object] = []  # since it has last looked
    look, inner = loop.look, rig.inner()
    version = inner.queue.store.version

    def looking(*about: Any) -> Any:
        left_out.clear()
        return look(*about)

    def asking() -> object:
        left_out.append(found := version())
        return found

    monkeypatch.setattr(loop, "look", looking)
    monkeypatch.setattr(inner.queue.store, "version", asking)
    wait_until(lambda: len(left_out) >= 5, "it has left out several looks")
    return inner


def test_a_worker_at_rest_runs_what_is_stored_without_a_ring(rig: Rig, at_rest: Inner) -> None:
    queue = rig.queue  # another connection than the worker's
    admissions = queue.considered([NewJob(argv=("true",))], Origin(caller="person"))
    (stored,) = queue.store.enqueue(admissions, now=queue.clock(), capacity=10, parallelism=10)
    rig.reaches(stored.id, "succeeded")
    wait_until(lambda: [one.job for one in at_rest.settled] == [stored.id], "its worker has told so as well")


@pytest.mark.parametrize("now", [False, True])
def test_a_worker_at_rest_leaves_when_it_is_asked_to_without_a_ring(rig: Rig, at_rest: Inner, now: bool) -> None:
    ask_to_leave(rig.queue.home, at_rest.worker.id, now=now)
    assert at_rest.left() is None
    assert at_rest.worker.mode == ("stop" if now else "finish")
