"""Schedules: each due time is answered exactly once, whoever looks, and nothing is lost where there is no room."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from queue_core import settings
from queue_core.errors import NotAllowed, QueueError, QueueFull, QuotaFull, UsageError
from queue_core.home import Home
from queue_core.jobs import ScheduleRow
from queue_core.model import NewJob, Origin
from queue_core.quotas import Quotas
from queue_core.schedules import MOST_OF_AGENTS
from queue_core.service import Queue
from queue_core.value import replace
from tests.conformance.builders import PLENTY, START, Bench, admission, whose

if TYPE_CHECKING:
    from pathlib import Path

    from queue_core.model import Admission, Receipt

DAY = 86400.0
PERSON, AGENT, HOOK = Origin(caller="person"), Origin(caller="agent", project=os.getcwd()), Origin(caller="hook")


def row(name: str = "s", **fields: Any) -> ScheduleRow:
    defaults = {"cron": None, "every": 60.0, "zone": "UTC", "missed": "all", "job": "{}", "created_at": START}
    return ScheduleRow(**{"name": name, "next_at": START + 60, "decided_at": START, **defaults, **fields})


@pytest.fixture
def added(bench: Bench) -> ScheduleRow:
    """One schedule, due in a minute."""
    assert bench.store.add_schedule(row(), by=PERSON)
    return row()


def fire(bench: Bench, it: ScheduleRow, *jobs: Admission, next_at: float | None, **room: Any) -> list[Receipt] | None:
    limits: dict[str, Any] = {"capacity": PLENTY, "parallelism": 4, **room}
    return bench.store.fire_schedule(it, jobs, next_at=next_at, now=bench.now, **limits)


def stored(bench: Bench, name: str = "s") -> ScheduleRow:
    return next(one for one in bench.store.schedules() if one.name == name)


class TestTheStore:
    def test_a_schedule_comes_back_as_it_was_added(self, bench: Bench) -> None:
        given = [row("a", cron="0 3 * * *", every=None, zone="Europe/Berlin", missed="skip"), row("b", every=0.1 + 0.2)]
        for one in reversed(given):
            assert bench.store.add_schedule(one, by=PERSON)
        assert bench.store.schedules() == given

    def test_a_name_is_taken_once(self, bench: Bench, added: ScheduleRow) -> None:
        assert not bench.store.add_schedule(replace(added, every=5.0), by=PERSON)
        assert bench.store.schedules() == [added]

    def test_one_takes_the_place_of_another_as_long_as_that_is_the_one_that_was_seen(
        self, bench: Bench, added: ScheduleRow
    ) -> None:
        second, third = replace(added, created_at=START + 1, every=5.0), replace(added, created_at=START + 2)
        assert bench.store.add_schedule(second, replacing=added, by=PERSON)
        assert not bench.store.add_schedule(third, replacing=added, by=PERSON)
        assert bench.store.schedules() == [second]

    @pytest.mark.parametrize("other", [row("unknown"), row("t", created_at=START - 1)], ids=["unknown", "replaced"])
    def test_all_are_as_they_were_seen_or_none_is_removed_or_paused(
        self, bench: Bench, added: ScheduleRow, other: ScheduleRow
    ) -> None:
        bench.store.add_schedule(row("t"), by=PERSON)
        before = bench.store.schedules()
        assert not bench.store.remove_schedules([added, other], by=PERSON, now=bench.now)
        assert bench.store.pause_schedules([added, other], paused=True, by=PERSON, now=bench.now) is None
        assert bench.store.schedules() == before
        assert bench.store.remove_schedules([added], by=PERSON, now=bench.now)
        assert [one.name for one in bench.store.schedules()] == ["t"]

    def test_what_was_decided_before_a_person_paused_it_holds_no_longer(self, bench: Bench, added: ScheduleRow) -> None:
        (resting,) = bench.store.pause_schedules([added], paused=True, by=PERSON, now=bench.now) or []
        assert not bench.store.remove_schedules([added], by=PERSON, now=bench.now)
        assert not bench.store.add_schedule(replace(added, every=5.0), replacing=added, by=PERSON)
        assert bench.store.pause_schedules([added], paused=False, by=AGENT, now=bench.now) is None
        assert bench.store.schedules() == [resting]
        assert bench.store.remove_schedules([resting], by=PERSON, now=bench.now)

    def test_a_caller_has_so_many_and_no_more_and_others_do_not_count(self, bench: Bench) -> None:
        for name in ("a", "b"):
            assert bench.store.add_schedule(row(name, caller="agent"), most=2, by=PERSON)
            bench.store.add_schedule(row("hooks " + name, caller="hook"), by=PERSON)
        before = bench.store.schedules()
        with pytest.raises(QueueFull, match="agents have 2 schedules, which is as many as they may"):
            bench.store.add_schedule(row("c", caller="agent"), most=2, by=PERSON)
        assert bench.store.schedules() == before
        assert bench.store.add_schedule(row("b", caller="agent", every=5.0), replacing=row("b"), most=2, by=PERSON)
        assert bench.store.add_schedule(row("persons"), by=PERSON)

    def test_what_is_due_is_listed_longest_due_first(self, bench: Bench) -> None:
        for name, due in (("later", 20.0), ("first", 10.0), ("not yet", 30.0), ("never", None)):
            bench.store.add_schedule(row(name, next_at=None if due is None else START + due), by=PERSON)
        assert [one.name for one in bench.store.due_schedules(START + 20, limit=9)] == ["first", "later"]
        assert [one.name for one in bench.store.due_schedules(START + 20, limit=1)] == ["first"]
        assert bench.store.due_schedules(START + 9.99, limit=9) == []

    def test_the_next_due_time_is_a_jobs_or_a_schedules(self, bench: Bench) -> None:
        assert bench.store.next_due(START) is None
        bench.store.add_schedule(row("a", next_at=START + 20), by=PERSON)
        assert bench.store.next_due(START) == START + 20
        bench.add(due_at=START + 10)
        bench.add(due_at=START + 30)
        assert [bench.store.next_due(START + after) for after in (0, 10, 20)] == [START + 10, START + 20, START + 30]

    def test_firing_queues_the_jobs_and_moves_on(self, bench: Bench, added: ScheduleRow) -> None:
        bench.tick(60)
        receipts = fire(bench, added, admission(), admission(), next_at=START + 120)
        assert receipts is not None and [one.state for one in receipts] == ["available"] * 2
        now = stored(bench)
        assert (now.next_at, now.last_at, now.last_job) == (START + 120, START + 60, receipts[-1].id)
        assert bench.claimed() == [one.id for one in receipts]

    def test_of_two_that_saw_the_same_due_time_one_fires(self, bench: Bench, added: ScheduleRow) -> None:
        bench.tick(60)
        assert fire(bench, added, admission(), next_at=START + 120)
        assert fire(bench, added, admission(), next_at=START + 120) is None
        assert len(bench.everything()) == 1

    def test_what_was_decided_about_a_schedule_does_not_hold_for_its_successor(
        self, bench: Bench, added: ScheduleRow
    ) -> None:
        bench.store.add_schedule(replace(added, created_at=START + 1), replacing=added, by=PERSON)
        assert fire(bench, added, admission(), next_at=START + 120) is None
        assert bench.everything() == []

    def test_neither_for_one_that_was_paused_or_removed(self, bench: Bench, added: ScheduleRow) -> None:
        (resting,) = bench.store.pause_schedules([added], paused=True, by=PERSON, now=bench.now) or []
        assert fire(bench, added, admission(), next_at=START + 120) is None
        bench.store.remove_schedules([resting], by=PERSON, now=bench.now)
        assert fire(bench, added, admission(), next_at=START + 120) is None
        assert bench.everything() == []

    def test_where_there_is_no_room_nothing_moves(self, bench: Bench, added: ScheduleRow) -> None:
        with pytest.raises(QueueFull):
            fire(bench, added, *[admission()] * 11, next_at=START + 120, capacity=1)
        assert bench.store.schedules() == [added]
        assert bench.everything() == []

    def test_a_due_time_may_produce_nothing(self, bench: Bench, added: ScheduleRow) -> None:
        bench.store.trouble_schedule(added, "full", now=START, retry_at=START + 90)
        assert fire(bench, added, next_at=START + 120) == []
        now = stored(bench)
        assert (now.next_at, now.last_at, now.last_job, now.trouble) == (START + 120, None, None, "full")

    def test_a_live_job_of_the_same_key_stands_for_the_new_one(self, bench: Bench, added: ScheduleRow) -> None:
        job = bench.add(unique="key")
        receipts = fire(bench, added, admission(unique="key"), next_at=START + 120)
        assert receipts is not None and [(one.id, one.existing) for one in receipts] == [(job, True)]
        assert (stored(bench).next_at, stored(bench).last_job) == (START + 120, None)

    @pytest.mark.parametrize("schedule", [None, "other"])
    def test_somebody_elses_job_of_its_key_is_trouble_until_a_job_of_its_own_is_queued(
        self, bench: Bench, added: ScheduleRow, schedule: str | None
    ) -> None:
        job = bench.add(unique="key", schedule=schedule, held="ask")
        own = admission(unique="key", schedule="s")
        fire(bench, added, own, own, next_at=START + 120)
        assert stored(bench).trouble == f"job {job} (held) has its unique key `key`"
        bench.reject(job)
        fire(bench, stored(bench), own, own, next_at=START + 180)
        assert (stored(bench).trouble, stored(bench).last_at) == (None, START)

    def test_its_own_earlier_job_of_the_key_is_no_trouble(self, bench: Bench, added: ScheduleRow) -> None:
        own = admission(unique="key", schedule="s")
        fire(bench, added, own, next_at=START + 120)
        fire(bench, stored(bench), own, next_at=START + 180)
        assert (stored(bench).trouble, len(bench.everything())) == (None, 1)

    def test_quotas_hold_for_what_an_agents_schedule_queues_and_for_no_others(
        self, bench: Bench, added: ScheduleRow
    ) -> None:
        quotas = Quotas(session=1)
        agents, hooks = (admission(origin=Origin(caller=who, session="s1"), schedule="s") for who in ("agent", "hook"))
        with pytest.raises(QuotaFull):
            fire(bench, added, agents, agents, next_at=START + 120, quotas=quotas)
        assert (bench.store.schedules(), bench.everything()) == ([added], [])
        fire(bench, added, hooks, hooks, next_at=START + 120, quotas=quotas)
        assert len(bench.everything()) == 2

    def test_trouble_puts_it_off_and_success_clears_it(self, bench: Bench, added: ScheduleRow) -> None:
        bench.store.trouble_schedule(added, "the folder is gone", now=START, retry_at=START + 100)
        assert (stored(bench).trouble, stored(bench).next_at) == ("the folder is gone", START + 60)
        assert bench.store.due_schedules(START + 99, limit=9) == []
        assert bench.store.next_due(START + 61) == START + 100
        (it,) = bench.store.due_schedules(START + 100, limit=9)
        assert fire(bench, it, admission(), next_at=START + 120)
        assert (stored(bench).trouble, stored(bench).retry_at) == (None, None)

    def test_trouble_that_somebody_else_has_overcome_is_not_noted(self, bench: Bench, added: ScheduleRow) -> None:
        fire(bench, added, admission(), next_at=START + 120)
        bench.store.trouble_schedule(added, "late news", now=START, retry_at=START + 100)
        assert stored(bench).trouble is None

    def test_a_paused_one_is_not_due_and_goes_on_where_it_is_told(self, bench: Bench, added: ScheduleRow) -> None:
        assert bench.store.pause_schedules([added], paused=True, by=AGENT, now=bench.now) == [stored(bench)]
        assert (stored(bench).paused, stored(bench).paused_by) == (True, "automatic")
        assert bench.store.due_schedules(START + DAY, limit=9) == []
        assert bench.store.next_due(START) is None
        later = replace(added, next_at=START + DAY, decided_at=START + 1)
        assert bench.store.pause_schedules([later], paused=False, by=AGENT, now=bench.now) == [stored(bench)]
        now = stored(bench)
        assert (now.paused, now.next_at, now.decided_at) == (False, START + DAY, START + 1)

    def test_a_persons_pause_stays_one_whoever_else_pauses(self, bench: Bench, added: ScheduleRow) -> None:
        for by in ("automatic", "person", "automatic"):
            bench.store.pause_schedules([stored(bench)], paused=True, by=whose(by), now=bench.now)
        assert stored(bench).paused_by == "person"

    def test_to_go_on_with_what_does_not_rest_changes_nothing(self, bench: Bench, added: ScheduleRow) -> None:
        assert bench.store.pause_schedules(
            [replace(added, next_at=START + DAY)], paused=False, by=PERSON, now=bench.now
        ) == [added]
        assert bench.store.schedules() == [added]

    def test_what_was_decided_under_a_clock_that_was_set_back_is_to_be_looked_at(self, bench: Bench) -> None:
        far = START + 30 * DAY
        for name, decided in (("ahead", far), ("a little", START + 59)):
            bench.store.add_schedule(row(name, next_at=far + 60, decided_at=decided), by=PERSON)
        bench.store.add_schedule(row("never", next_at=None, decided_at=far), by=PERSON)
        bench.store.add_schedule(row("resting", next_at=far + 60, decided_at=far, paused_by="person"), by=PERSON)
        bench.store.add_schedule(row("due", next_at=START, decided_at=far), by=PERSON)
        bench.store.add_schedule(row("put off", next_at=START), by=PERSON)
        bench.store.trouble_schedule(stored(bench, "put off"), "full", now=far, retry_at=far + 15)
        assert [one.name for one in bench.store.due_schedules(START, limit=9)] == ["due", "ahead", "put off"]
        assert [one.name for one in bench.store.due_schedules(START, limit=2)] == ["due", "ahead"]
        for one in bench.store.due_schedules(START, limit=9):
            fire(bench, one, next_at=START + 60)
        assert bench.store.due_schedules(START, limit=9) == []


class Clockwork:
    """A queue whose time the test moves, and its schedules."""

    def __init__(self, bench: Bench, folder: Path, **chosen: Any) -> None:
        self.bench = bench
        home = Home(data=str(folder), config=str(folder))
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
        self.queue = Queue(bench.store, home, settings.load(home, environ, **chosen), environ, clock=lambda: bench.now)

    def add(self, name: str = "s", origin: Origin = PERSON, job: NewJob | None = None, **how: Any) -> ScheduleRow:
        return self.queue.schedules.put(name, job or NewJob(argv=("true",)), origin, **how)

    def off_for(self, seconds: float) -> list[int]:
        """Nobody looks for so long; then somebody does, until nothing is due. The jobs that came of it."""
        before = len(self.bench.everything())
        self.bench.tick(seconds)
        rounds = 0
        while self.queue.schedules.fire_due():
            rounds += 1
            assert rounds < 1000
        return [job.id for job in self.bench.everything()[: len(self.bench.everything()) - before]]


@pytest.fixture
def clockwork(bench: Bench, tmp_path: Path) -> Clockwork:
    return Clockwork(bench, tmp_path)


class TestTheRules:
    @pytest.mark.parametrize(("missed", "jobs"), [("skip", 0), ("once", 1), ("all", 3)])
    def test_after_three_days_off_the_rule_says_what_is_queued_and_then_it_goes_on(
        self, clockwork: Clockwork, missed: str, jobs: int
    ) -> None:
        clockwork.add(cron="0 9 * * *", tz="UTC", missed=missed)  # it is 08:00
        assert len(clockwork.off_for(3 * DAY)) == jobs
        assert clockwork.off_for(0) == []
        assert len(clockwork.off_for(3600)) == 1

    def test_all_of_thousands_are_queued_in_bounded_transactions(
        self, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []
        store, fire = clockwork.bench.store, clockwork.bench.store.fire_schedule
        monkeypatch.setattr(
            store, "fire_schedule", lambda it, jobs, **how: sizes.append(len(jobs)) or fire(it, jobs, **how)
        )
        clockwork.add(every="1m", missed="all")
        assert len(clockwork.off_for(DAY)) == 1440
        assert sizes == [100] * 14 + [40]

    def test_a_job_knows_its_schedule_its_name_and_who_added_it(self, clockwork: Clockwork) -> None:
        origin = Origin(caller="hook", session="s1", project="/p")
        job = NewJob(argv=("true", "x"), queue="q", priority="high", retries=1, meta={"k": "v"}, delay=30.0)
        clockwork.add("nightly", origin, job, every=60)
        clockwork.add("named", origin, NewJob(argv=("true",), name="mine"), every=60)
        named, nightly = sorted(clockwork.off_for(60.5))
        it = clockwork.bench.job(nightly)
        assert (it.schedule, it.name, it.caller, it.session, it.project) == ("nightly", "nightly", "hook", "s1", "/p")
        assert (it.queue, it.priority, it.retries, it.meta) == ("q", "high", 1, {"k": "v"})
        assert (it.state, it.due_at) == ("scheduled", START + 90.5)
        assert clockwork.bench.job(named).name == "mine"

    def test_a_unique_key_keeps_a_run_from_being_queued_beside_the_one_before(self, clockwork: Clockwork) -> None:
        clockwork.add(job=NewJob(argv=("true",), unique="one"), every=60)
        (first,) = clockwork.off_for(60)
        assert clockwork.off_for(60) == []
        clockwork.bench.run(first)
        assert len(clockwork.off_for(60)) == 1

    def test_what_was_due_while_it_rested_counts_for_nothing(self, clockwork: Clockwork) -> None:
        clockwork.add(every="1h", missed="all")
        clockwork.queue.schedules.pause("s")
        assert clockwork.off_for(DAY) == []
        clockwork.queue.schedules.pause("s", paused=False)
        assert clockwork.off_for(0) == []
        assert len(clockwork.off_for(3600)) == 1

    @pytest.mark.parametrize("missed", ["skip", "once", "all"])
    def test_a_clock_that_was_ahead_and_was_set_back_holds_up_no_schedule(
        self, clockwork: Clockwork, missed: str
    ) -> None:
        clockwork.bench.pause()  # so that jobs are no backlog
        clockwork.add("interval", every="2h", missed=missed)
        clockwork.add("cron", cron="0 * * * *", tz="UTC", missed=missed)
        clockwork.off_for(7200)
        clockwork.bench.tick(30 * DAY)
        clockwork.add("added", every="1h", missed=missed)
        clockwork.off_for(0)
        clockwork.bench.tick(-30 * DAY)
        assert clockwork.queue.has_backlog()  # so that a server boots a worker, which looks at them
        assert clockwork.off_for(0) == []
        assert not clockwork.queue.has_backlog()
        left = {one.name: (one.next_at or 0) - clockwork.bench.now for one in clockwork.queue.schedules.list()}
        assert left == {"interval": 7200, "cron": 3600, "added": 3600}
        assert sorted(str(clockwork.bench.job(one).schedule) for one in clockwork.off_for(3600)) == ["added", "cron"]

    def test_one_that_was_resumed_or_replaced_after_the_clock_was_set_back_is_left_alone(
        self, clockwork: Clockwork
    ) -> None:
        clockwork.bench.tick(30 * DAY)
        clockwork.add("resumed", every="1h")
        clockwork.add("replaced", every="1h")
        clockwork.queue.schedules.pause("resumed", by=PERSON)
        clockwork.bench.tick(-30 * DAY - 60)
        clockwork.queue.schedules.pause("resumed", paused=False, by=PERSON)
        clockwork.add("replaced", every="1h", replace=True)
        before = clockwork.queue.schedules.list()
        assert clockwork.off_for(0) == []
        assert clockwork.queue.schedules.list() == before
        assert {(one.next_at or 0) - clockwork.bench.now for one in before} == {3600, 60}

    def test_a_clock_that_is_corrected_by_seconds_makes_nothing_due_twice(self, clockwork: Clockwork) -> None:
        clockwork.add("interval", every=60)
        clockwork.add("cron", cron="* * * * *", tz="UTC")
        assert len(clockwork.off_for(60)) == 2
        clockwork.bench.tick(-5)
        assert clockwork.off_for(10) == []
        assert len(clockwork.off_for(55)) == 2

    def test_a_held_job_of_somebody_else_with_its_key_is_told_and_not_silently_waited_for(
        self, clockwork: Clockwork
    ) -> None:
        clockwork.add("backup", job=NewJob(argv=("true",), unique="backup"), every=60)
        squatter = clockwork.bench.add("bash", unique="backup", held="no rule", caller="hook")
        assert clockwork.off_for(60) == []
        (problem,) = [one for one in clockwork.queue.health_view()["problems"] if "schedule" in one]
        assert f"backup could not queue its job: job {squatter} (held) has its unique key `backup`" in problem
        clockwork.bench.reject(squatter)
        assert len(clockwork.off_for(60)) == 1
        assert len([one for one in clockwork.queue.health_view()["problems"] if "schedule" in one]) == 0

    def test_an_agents_schedule_goes_no_further_than_its_quota_and_stays_due(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        clockwork = Clockwork(bench, tmp_path, agents="allow", session_capacity=3)
        agent = replace(AGENT, session="s1")
        clockwork.add("flood", agent, NewJob(argv=("true",), delay=1e5), every=1, missed="all")
        clockwork.add("persons", every="1m")
        assert len(clockwork.off_for(60)) == 4
        flood = stored(bench, "flood")
        assert flood.trouble is not None and "3 waiting jobs, which is its quota" in flood.trouble
        assert flood.next_at == START + 4
        bench.cancel(1)
        assert len(clockwork.off_for(15)) == 1

    def test_a_full_queue_keeps_due_times_due_and_says_so(self, bench: Bench, tmp_path: Path) -> None:
        clockwork = Clockwork(bench, tmp_path, capacity=1)  # a person may fill it to ten
        clockwork.add("a", every="1h", missed="all")
        clockwork.add("b", every="1h", missed="all")
        assert len(clockwork.off_for(7 * 3600)) == 10  # as many as have room, in batches that become smaller
        assert [one.trouble is None for one in clockwork.queue.schedules.list()].count(False) >= 1
        assert any("the queue is full" in problem for problem in clockwork.queue.health_view()["problems"][1:])
        for _ in range(4):
            for lease in bench.claim():
                bench.end(lease)
            clockwork.off_for(20)
        names = [job.schedule for job in bench.everything()]
        assert (names.count("a"), names.count("b")) == (7, 7)
        assert [one.trouble for one in clockwork.queue.schedules.list()] == [None, None]
        assert clockwork.queue.health_view()["problems"] == []

    def test_a_folder_that_is_gone_is_trouble_for_one_schedule_alone(
        self, clockwork: Clockwork, tmp_path: Path
    ) -> None:
        folder = tmp_path / "project"
        folder.mkdir()
        clockwork.add("gone", job=NewJob(argv=("true",), cwd=str(folder)), every="1h")
        clockwork.add("there", every="1h")
        folder.rmdir()
        assert [clockwork.bench.job(one).schedule for one in clockwork.off_for(3600)] == ["there"]
        assert f"the folder {folder} does not exist" in (stored(clockwork.bench, "gone").trouble or "")
        assert clockwork.queue.health_view()["problems"][0].startswith("the schedule gone could not queue its job: ")
        folder.mkdir()
        assert [clockwork.bench.job(one).schedule for one in clockwork.off_for(301)] == ["gone"]
        assert stored(clockwork.bench, "gone").trouble is None

    def test_so_is_a_row_that_this_runq_cannot_read(self, clockwork: Clockwork) -> None:
        clockwork.bench.store.add_schedule(row("strange", job='{"from": "the future"}'), by=PERSON)
        clockwork.bench.store.add_schedule(row("nowhere", cron="0 * * * *", every=None, zone="Mars/Olympus"), by=PERSON)
        clockwork.add("plain", every=60)
        assert [clockwork.bench.job(one).schedule for one in clockwork.off_for(60)] == ["plain"]
        assert "cannot be read" in (stored(clockwork.bench, "strange").trouble or "")
        assert "no time zone" in (stored(clockwork.bench, "nowhere").trouble or "")
        clockwork.queue.schedules.remove("strange", "nowhere")

    def test_skipping_needs_no_folder(self, clockwork: Clockwork, tmp_path: Path) -> None:
        folder = tmp_path / "project"
        folder.mkdir()
        clockwork.add(job=NewJob(argv=("true",), cwd=str(folder)), every="1h", missed="skip")
        folder.rmdir()
        assert clockwork.off_for(DAY + 1800) == []
        assert (stored(clockwork.bench).next_at, stored(clockwork.bench).trouble) == (START + DAY + 3600, None)

    def test_a_due_schedule_is_a_backlog_and_a_resting_one_is_none(self, clockwork: Clockwork) -> None:
        clockwork.add(every=60)
        assert not clockwork.queue.has_backlog()
        clockwork.bench.tick(60)
        assert clockwork.queue.has_backlog()
        clockwork.queue.schedules.pause("s")
        assert not clockwork.queue.has_backlog()

    def test_many_that_look_at_once_fire_each_due_time_once(self, clockwork: Clockwork) -> None:
        for name in "abc":
            clockwork.add(name, every=60, missed="all")
        clockwork.bench.tick(60 * 50)
        together = threading.Barrier(4)
        failed: list[BaseException] = []

        def look() -> None:
            try:
                together.wait()
                while clockwork.queue.schedules.fire_due():
                    pass
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        names = [job.schedule for job in clockwork.bench.everything()]
        assert [names.count(name) for name in "abc"] == [50, 50, 50]


class TestWhoMay:
    def test_an_agent_decides_on_agents_schedules_alone(self, bench: Bench, tmp_path: Path) -> None:
        clockwork = Clockwork(bench, tmp_path)
        clockwork.add("persons", every=60)
        clockwork.add("hooks", Origin(caller="hook"), every=60)
        for name in ("persons", "hooks"):
            for forbidden in (
                lambda name=name: clockwork.queue.schedules.remove(name, by=AGENT),
                lambda name=name: clockwork.queue.schedules.pause(name, by=AGENT),
                lambda name=name: clockwork.queue.schedules.pause(name, paused=False, by=AGENT),
                lambda name=name: clockwork.add(name, AGENT, every=5, replace=True),
            ):
                with pytest.raises(NotAllowed, match="no agent's schedule"):
                    forbidden()
        assert [(one.name, one.paused, one.every) for one in bench.store.schedules()] == [
            ("hooks", False, 60.0),
            ("persons", False, 60.0),
        ]

    @pytest.mark.parametrize("origin", [AGENT, HOOK], ids=["agent", "hook"])
    def test_what_a_person_has_paused_a_person_alone_resumes_replaces_or_removes(
        self, bench: Bench, tmp_path: Path, origin: Origin
    ) -> None:
        clockwork = Clockwork(bench, tmp_path, agents="allow")
        clockwork.add("beat", origin, every="1h")
        clockwork.queue.schedules.pause("beat", by=PERSON)
        clockwork.queue.schedules.pause("beat", by=origin)
        before = bench.store.schedules()
        for forbidden in (
            lambda: clockwork.queue.schedules.pause("beat", paused=False, by=origin),
            lambda: clockwork.queue.schedules.remove("beat", by=origin),
            lambda: clockwork.add("beat", origin, every=5, replace=True),
        ):
            with pytest.raises(NotAllowed, match=r"was paused by a person, who alone may .* ask the user"):
                forbidden()
        assert bench.store.schedules() == before
        clockwork.queue.schedules.pause("beat", paused=False, by=PERSON)
        clockwork.queue.schedules.remove("beat", by=origin)

    @pytest.mark.parametrize("origin", [AGENT, HOOK], ids=["agent", "hook"])
    def test_what_it_has_paused_itself_it_may_resume(self, bench: Bench, tmp_path: Path, origin: Origin) -> None:
        clockwork = Clockwork(bench, tmp_path, agents="allow")
        clockwork.add("beat", origin, every="1h")
        (resting,) = clockwork.queue.schedules.pause("beat", by=origin)
        (going,) = clockwork.queue.schedules.pause("beat", paused=False, by=origin)
        assert (resting.paused_by, going.paused_by) == ("automatic", None)

    def test_a_persons_pause_outlives_the_replacement_and_an_agents_does_not(self, clockwork: Clockwork) -> None:
        clockwork.add(every="1h")
        clockwork.queue.schedules.pause("s", by=PERSON)
        assert clockwork.add(every="2h", replace=True).paused_by == "person"
        assert clockwork.off_for(DAY) == []
        clockwork.queue.schedules.pause("s", paused=False, by=PERSON)
        clockwork.queue.schedules.pause("s", by=Origin(caller="hook"))
        assert clockwork.add(every="1h", replace=True).paused_by is None

    def test_agents_have_twenty_schedules_at_most_and_persons_as_many_as_they_like(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        clockwork = Clockwork(bench, tmp_path, agents="allow")
        for number in range(MOST_OF_AGENTS):
            clockwork.add(f"a{number}", replace(AGENT, session=f"s{number}"), every="1h")
        with pytest.raises(QueueFull, match=r"agents have 20 schedules.*ask the user to add this one"):
            clockwork.add("one-more", AGENT, every="1h")
        clockwork.add("a1", AGENT, every="2h", replace=True)
        clockwork.add("persons", every="1h")
        clockwork.queue.schedules.remove("a2", by=AGENT)
        clockwork.add("a-new", AGENT, every="1h")


class TestWrongValues:
    @pytest.mark.parametrize(
        "how",
        [
            {"name": 1},
            {"name": None},
            {"cron": 1},
            {"cron": ["* * * * *"]},
            {"cron": "* * * * *", "tz": 1},
            {"every": []},
            {"every": True},
            {"every": 60, "missed": []},
        ],
        ids=str,
    )
    def test_a_value_of_another_type_is_refused_in_a_sentence(self, clockwork: Clockwork, how: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            clockwork.queue.schedules.add(**{"name": "s", "argv": ["true"], **how})
        assert clockwork.queue.schedules.list() == []

    @pytest.mark.parametrize("name", [[], 1, None], ids=str)
    def test_so_is_a_name_that_is_no_text(self, clockwork: Clockwork, name: Any) -> None:
        for change in (clockwork.queue.schedules.remove, clockwork.queue.schedules.pause):
            with pytest.raises(UsageError, match="a schedule's name is a text"):
                change(name)

    def test_what_somebody_else_has_changed_meanwhile_is_said_and_nothing_done(
        self, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clockwork.add(every="1h")
        seen = clockwork.queue.schedules.list()
        clockwork.bench.tick(1)
        newer = clockwork.add(every="2h", replace=True)
        with monkeypatch.context() as before:
            before.setattr(clockwork.queue.store, "schedules", lambda: seen)
            for change in (
                clockwork.queue.schedules.remove,
                clockwork.queue.schedules.pause,
                lambda name: clockwork.add(name, every="3h", replace=True),
            ):
                with pytest.raises(QueueError, match="nothing was changed: somebody else has just added, changed or"):
                    change("s")
        assert clockwork.bench.store.schedules() == [newer]
