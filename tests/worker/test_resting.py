"""A worker and a queue that has used up its starts: it stays, looks after the others, and comes back in time."""

import time

import pytest

from queue_core import changes
from queue_core.worker import loop
from tests.helpers import wait_until
from tests.worker.conftest import Inner, Rig

LIMIT = "[queues]\napi = {parallelism = 1, starts_per_minute = 2}\n"


class Clock:
    """The real one, moved on by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def limited_worker(rig: Rig, clock: Clock) -> Inner:
    (rig.home / "config.toml").write_text(LIMIT)
    inner = rig.inner()
    inner.queue.clock = clock
    return inner


def rest_of(rig: Rig) -> float | None:
    return next(queue.rests_until for queue in rig.queue.store.queues() if queue.name == "api")


def test_it_knows_at_once_when_the_rest_ends_and_starts_the_next_then(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "POLL", 3600.0)  # nothing but what is due wakes it
    clock = Clock()
    inner = limited_worker(rig, clock)
    jobs = rig.add_all([{"argv": ["true"], "queue": "api"}] * 3)
    rig.reaches(jobs[1], "succeeded")  # nobody rang when it was claimed: the one before had ended
    wait_until(lambda: inner.worker._due == rest_of(rig) is not None, "it knows when")  # pyright: ignore[reportPrivateUsage]
    assert rig.state(jobs[2]) == "available"
    clock.ahead = 59.5  # a moment before the end; from here on nobody rings
    changes.ring(rig.queue.home, "work")
    rig.reaches(jobs[2], "succeeded")
    started = [rig.job(job).started_at or 0.0 for job in jobs]
    assert started[2] - started[0] >= 60


def test_a_server_finds_no_backlog_while_it_rests_and_one_afterwards(rig: Rig) -> None:
    clock = Clock()
    inner = limited_worker(rig, clock)
    jobs = rig.add_all([{"argv": ["true"], "queue": "api"}] * 3)
    rig.reaches(jobs[1], "succeeded")
    inner.tell("finish")
    assert inner.left() is None
    rig.queue.clock = clock
    assert not rig.queue.has_backlog()
    assert rig.queue.store.next_due(clock()) == rest_of(rig)
    clock.ahead = 61
    assert rig.queue.has_backlog()
    assert rig.state(jobs[2]) == "available"
