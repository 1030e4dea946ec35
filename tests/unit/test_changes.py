"""The doorbell: who waits is woken by what it waits for, and who is gone is forgotten."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from queue_core.changes import Bell, ring
from queue_core.liveness import LifeLock, worker_lives
from tests.helpers import rung

if TYPE_CHECKING:
    from queue_core.home import Home


def test_a_bell_is_heard_until_it_is_cleared(home: Home, work: Bell) -> None:
    assert not rung(work)
    ring(home, "work")
    assert rung(work)
    work.clear()
    assert not rung(work)
    ring(home, "work")
    assert rung(work)


def test_everybody_who_waits_for_it_hears_it_and_nobody_else(home: Home, work: Bell) -> None:
    second, watch = Bell(home, "work"), Bell(home, "watch")
    ring(home, "work")
    assert [rung(bell) for bell in (work, second, watch)] == [True, True, False]
    ring(home, "watch")
    assert rung(watch)
    second.close()
    watch.close()


def test_ringing_without_end_blocks_nobody(home: Home, work: Bell) -> None:
    for _ in range(70_000 // 100):
        ring(home, "work", "watch")
    assert rung(work)
    work.clear()
    assert not rung(work)


def test_with_nobody_there_it_is_no_error(home: Home) -> None:
    ring(home, "work", "watch")


def test_the_bell_of_a_process_that_died_is_removed(home: Home, work: Bell) -> None:
    dead = Path(home.bells, "work-1-dead")
    os.mkfifo(dead)
    ring(home, "work")
    assert not dead.exists()
    assert rung(work)


def test_closing_takes_it_away_and_can_be_done_twice(home: Home) -> None:
    bell = Bell(home, "watch")
    assert os.listdir(home.bells)
    bell.close()
    bell.close()
    assert os.listdir(home.bells) == []


def test_a_worker_lives_while_it_holds_its_lock(home: Home) -> None:
    assert not worker_lives(home, "w1")
    lock = LifeLock(home, "w1")
    assert worker_lives(home, "w1")
    assert not worker_lives(home, "w2")
    lock.release()
    assert not worker_lives(home, "w1")


def test_a_lock_file_that_nobody_holds_is_no_life(home: Home) -> None:
    os.mkdir(home.path("workers"))
    Path(home.worker_lock("w1")).touch()
    assert not worker_lives(home, "w1")
