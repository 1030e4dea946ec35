"""figures: what statistics are made from, against a set that was counted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queue_core.figures import Kept, report
from queue_core.jobs import Outcome
from tests.conformance.builders import START, Bench, admission, exited, settlement

if TYPE_CHECKING:
    from queue_core.figures import Counts

HOUR = 3600.0


def counted(bench: Bench, since: float = START, *, queue: str | None = None, most_timed: int = 1000) -> Counts:
    return bench.store.figures(since=since, until=bench.now, queue=queue, most_timed=most_timed)


def view(bench: Bench, since: float = START, *, queue: str | None = None) -> dict[str, Any]:
    kept = Kept(since=0.0, count=10**9)
    found = counted(bench, since, queue=queue)
    return report(found, since=since, until=bench.now + HOUR, queue=queue, kept=kept)


def attempt(bench: Bench, job: int, *, waits: float, runs: float, outcome: Outcome) -> None:
    """Let it wait, run, and end so."""
    bench.tick(waits)
    lease = bench.claim_one(job)
    started = bench.now
    bench.tick(runs)
    times = {"started_at": started, "finished_at": bench.now}
    bench.settle(settlement(lease, Outcome(**{**outcome.__dict__, **times})))


def a_days_work(bench: Bench) -> None:
    """Six jobs in two queues. Waits: 1 2 3 4 0, runs: 10 20 30 5 7 (a program that is not there has none)."""
    make = bench.add("make", queue="ci", program="/bin/make", retries=1)
    attempt(bench, make, waits=1, runs=10, outcome=exited(2))
    bench.tick(10)  # its backoff, which is no waiting for a turn
    attempt(bench, make, waits=2, runs=20, outcome=exited(0))
    slow = bench.add("slow", queue="ci", program="/bin/slow")
    attempt(bench, slow, waits=3, runs=30, outcome=Outcome(kind="timed_out"))
    mail = bench.submit(admission("x", queue="out", program="/bin/mail"))[0].id
    attempt(bench, mail, waits=4, runs=5, outcome=Outcome(kind="interrupted"))
    attempt(bench, mail, waits=0, runs=7, outcome=exited(0))
    gone = bench.add("gone", queue="out", program="/bin/gone")
    attempt(bench, gone, waits=0, runs=0, outcome=Outcome(kind="spawn_failed", error="not there"))
    bench.cancel(bench.add("never", queue="out", program="/bin/never"))
    bench.add("waits", queue="out", program="/bin/never", due_at=bench.now + HOUR)


class TestByHand:
    def test_jobs_by_how_they_stand(self, bench: Bench) -> None:
        a_days_work(bench)
        found = view(bench)
        assert found["jobs"] == {"added": 6, "succeeded": 2, "dead": 2, "cancelled": 1}
        assert found["queues"]["ci"]["jobs"] == {"added": 2, "succeeded": 1, "dead": 1, "cancelled": 0}
        assert found["queues"]["out"]["jobs"] == {"added": 4, "succeeded": 1, "dead": 1, "cancelled": 1}
        assert {state: n for state, n in found["now"].items() if n} == {
            "succeeded": 2,
            "dead": 2,
            "cancelled": 1,
            "scheduled": 1,
        }

    def test_attempts_by_outcome_and_which_of_them_were_retries(self, bench: Bench) -> None:
        a_days_work(bench)
        found = view(bench)
        assert found["outcomes"] == {"exited": 3, "interrupted": 1, "spawn_failed": 1, "timed_out": 1}
        assert (found["attempts"], found["failed"]) == (6, 3)
        assert found["retries"] == 1, "what follows an interruption is no retry"
        assert found["retry_rate"] == 0.1667

    def test_waits_and_run_times(self, bench: Bench) -> None:
        a_days_work(bench)
        found = view(bench)
        assert found["waited"] == {"p50": 1.0, "p90": 4.0, "p99": 4.0, "max": 4.0}  # 0 0 1 2 3 4
        assert found["ran"] == {"p50": 10.0, "p90": 30.0, "p99": 30.0, "max": 30.0}  # 5 7 10 20 30
        assert found["ran_in_all"] == 72.0
        assert found["queues"]["ci"]["ran"] == {"p50": 20.0, "p90": 30.0, "p99": 30.0, "max": 30.0}

    def test_programs_the_busiest_first(self, bench: Bench) -> None:
        a_days_work(bench)
        found = view(bench)["programs"]
        assert [(one["program"], one["ran_in_all"], one["attempts"]) for one in found] == [
            *[("/bin/make", 30.0, 2), ("/bin/slow", 30.0, 1), ("/bin/mail", 12.0, 2)],
            *[("/bin/gone", 0.0, 1), ("/bin/never", 0.0, 0)],
        ]

    def test_of_one_queue_alone(self, bench: Bench) -> None:
        a_days_work(bench)
        found = view(bench, queue="ci")
        assert (found["jobs"]["added"], found["attempts"], found["ran_in_all"]) == (2, 3, 60.0)
        assert list(found["queues"]) == ["ci"]
        assert {state: n for state, n in found["now"].items() if n} == {"succeeded": 1, "dead": 1}
        assert view(bench, queue="nowhere")["jobs"]["added"] == 0


class TestTheWindow:
    def test_only_what_happened_in_it_counts(self, bench: Bench) -> None:
        early = bench.add("early")
        bench.tick(HOUR)
        begin = bench.now
        late = bench.add("late", due_at=begin + HOUR)
        assert view(bench, begin)["jobs"]["added"] == 1
        bench.run(early)
        bench.tick(1)
        bench.cancel(late)
        assert view(bench, begin)["jobs"] == {"added": 1, "succeeded": 1, "dead": 0, "cancelled": 1}
        assert view(bench, begin + 1)["jobs"] == {"added": 0, "succeeded": 0, "dead": 0, "cancelled": 1}
        assert view(bench, begin + 1)["attempts"] == 0

    @pytest.mark.parametrize("first_in_it", [0, 1, 2, 7, 30, 31])
    def test_its_first_job_is_found_wherever_it_begins_and_whatever_was_pruned(
        self, bench: Bench, first_in_it: int
    ) -> None:
        jobs: list[int] = []
        for _ in range(31):
            jobs.append(bench.add())
            bench.tick(10)
        gone = jobs[3:20:2]
        bench.cancel(*gone)
        assert bench.prune(older_than=-1) == gone
        begin = START + 10 * first_in_it
        assert view(bench, begin)["jobs"]["added"] == len([one for one in jobs[first_in_it:] if one not in gone])

    def test_a_job_that_was_replayed_is_no_dead_one_any_more_and_its_attempts_are_still_there(
        self, bench: Bench
    ) -> None:
        job = bench.added_and_run(exited(1))
        assert view(bench)["jobs"]["dead"] == 1
        bench.replay(job)
        found = view(bench)
        assert (found["jobs"]["dead"], found["attempts"], found["now"]["available"]) == (0, 1, 1)
        bench.run(job)
        assert view(bench)["retries"] == 1

    def test_a_clock_that_was_set_back_brings_no_job_into_a_window_that_it_was_not_added_in(self, bench: Bench) -> None:
        bench.now = START + 100
        bench.add(), bench.add()
        bench.now = START
        bench.add()
        bench.now = START + 200
        assert view(bench, START + 50)["jobs"]["added"] == 2

    def test_an_empty_queue_has_no_figures(self, bench: Bench) -> None:
        found = counted(bench)
        assert (found.added, found.ended, found.attempted, found.timed) == ([], [], [], [])


class TestBounds:
    def test_of_single_attempts_only_the_newest_are_read_and_all_else_is_counted_in_full(self, bench: Bench) -> None:
        for seconds in (1, 2, 3, 4, 5):
            job = bench.add()
            attempt(bench, job, waits=0, runs=seconds, outcome=exited(0))
        found = counted(bench, most_timed=2)
        assert [one.ran for one in found.timed] == [5.0, 4.0]
        assert sum(one.count for one in found.attempted) == 5
        assert sum(one.seconds for one in found.attempted) == 15.0

    def test_what_ended_in_ways_that_nobody_saw_has_no_run_time(self, bench: Bench) -> None:
        job = bench.add()
        attempt(bench, job, waits=2, runs=99, outcome=Outcome(kind="lost", error="the machine went down"))
        (timed,) = counted(bench).timed
        assert (timed.waited, timed.ran) == (2.0, None)
        assert view(bench)["ran_in_all"] == 0.0

    def test_how_many_ended_jobs_there_are_is_counted_over_all_times_and_queues(self, bench: Bench) -> None:
        for queue in ("a", "b"):
            bench.run(bench.add(queue=queue))
        bench.tick(HOUR)
        bench.add(queue="a")
        assert counted(bench, bench.now, queue="a").kept_ended == 2
