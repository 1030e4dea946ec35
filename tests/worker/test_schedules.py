"""Schedules with real workers: after days off, two at once, killed in between, in a program of its own."""

import contextlib
import os
import signal
import sqlite3
import threading

import pytest

from queue_core.service import Queue
from tests.helpers import wait_until

from .conftest import PATIENCE, Rig

DAY = 86400


def add(rig: Rig, name: str, *words: str, script: str = "true") -> None:
    timing = () if {"--cron", "--every"} & set(words) else ("--every", "1d")
    rig.runq("schedule", "add", name, *timing, *words, "--", "sh", "-c", script)


def was_off_for(rig: Rig, seconds: float) -> None:
    """As if all had been added so much earlier, and nobody had looked since."""
    with contextlib.closing(sqlite3.connect(rig.home / "runq.db")) as database, database:
        database.execute("UPDATE schedules SET next_at = next_at - ?1, created_at = created_at - ?1", (seconds,))


def queued(rig: Rig) -> list[str | None]:
    """The schedules that queued the jobs there are."""
    from queue_core.jobs import Filter

    return sorted(str(job.schedule) for job in rig.queue.store.jobs(Filter(limit=10_000)).jobs)


def test_after_three_days_off_each_does_what_its_rule_says_once_though_two_workers_start_at_once(rig: Rig) -> None:
    for rule in ("skip", "once", "all"):
        add(rig, rule, "--missed", rule)
    was_off_for(rig, 3.5 * DAY)
    workers = [rig.start("process-queue") for _ in range(2)]
    assert [worker.left()[0] for worker in workers] == [0, 0]
    assert queued(rig) == ["all", "all", "all", "once"]
    rig.drain()
    assert queued(rig) == ["all", "all", "all", "once"]
    now = rig.queue.clock()
    assert all(row.next_at is not None and now < row.next_at <= now + DAY / 2 for row in rig.queue.schedules.list())


def test_a_worker_that_stands_wakes_for_a_schedule_and_for_one_that_is_added_later(rig: Rig) -> None:
    rig.worker()
    add(rig, "late", "--every", "1h")
    add(rig, "soon", "--every", "1", script="echo ran >> soon")
    wait_until(lambda: len(rig.lines("soon")) >= 2, "it has run twice", PATIENCE)
    assert "late" not in queued(rig)


def test_of_many_queues_that_look_at_once_each_due_time_is_answered_once(rig: Rig) -> None:
    for number in range(5):
        add(rig, f"s{number}", "--every", "1h", "--missed", "all")
    was_off_for(rig, 40 * 3600)
    opened = [Queue.open(rig.env) for _ in range(4)]
    together = threading.Barrier(len(opened))

    def look(queue: Queue) -> None:
        together.wait()
        while queue.schedules.fire_due():
            pass

    threads = [threading.Thread(target=look, args=(queue,)) for queue in opened]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for queue in opened:
        queue.close()
    assert queued(rig) == sorted([f"s{number}" for number in range(5)] * 40)


@pytest.mark.parametrize("begun", [1, 300, 1100])
def test_a_worker_that_is_killed_while_it_fires_loses_and_doubles_nothing(rig: Rig, begun: int) -> None:
    add(rig, "s", "--every", "1m", "--missed", "all", "--delay", "3600")
    was_off_for(rig, 3000 * 60)
    process = rig.start("work")
    wait_until(lambda: rig.queue.store.waiting() >= begun, f"{begun} are queued", PATIENCE)
    os.kill(process.pid, signal.SIGKILL)
    process.popen.wait()
    rig.drain()
    assert len(queued(rig)) == 3000


def test_a_program_schedules_and_runs_its_own(rig: Rig) -> None:
    row = rig.queue.schedules.add("s", every="1h", argv=["true"], missed="all", queue="mine", kwargs={"fast": True})
    assert (row.every, row.missed, [one.name for one in rig.queue.schedules.list()]) == (3600.0, "all", ["s"])
    was_off_for(rig, 3600)
    inner = rig.inner()
    (job,) = wait_until(lambda: [one.job for one in inner.settled], "it has run", PATIENCE)
    assert (rig.job(job).schedule, rig.job(job).queue, rig.job(job).argv) == ("s", "mine", ("true", "--fast"))
    rig.queue.schedules.remove("s")
    assert rig.queue.schedules.list() == []


def test_trouble_ends_no_worker_and_holds_no_other_schedule_up(rig: Rig) -> None:
    folder = rig.folder / "project"
    folder.mkdir()
    add(rig, "gone", "--cwd", str(folder))
    add(rig, "unreadable")
    add(rig, "fine")
    folder.rmdir()
    was_off_for(rig, DAY)
    with contextlib.closing(sqlite3.connect(rig.home / "runq.db")) as database, database:
        database.execute("UPDATE schedules SET job = 'no JSON' WHERE name = 'unreadable'")
    rig.drain()
    assert queued(rig) == ["fine"]
    assert [row.name for row in rig.queue.schedules.list() if row.trouble] == ["gone", "unreadable"]
    assert rig.runq("schedule", "list").stdout.count("\n") == 3
