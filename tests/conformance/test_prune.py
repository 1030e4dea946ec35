"""prune and pin: what is forgotten, and what is spared."""

from __future__ import annotations

import pytest

from queue_core.errors import UnknownJob
from tests.conformance.builders import FAILURE, START, Bench, exited

DAY = 86400.0


class TestAge:
    def test_jobs_that_ended_long_ago_are_forgotten(self, bench: Bench) -> None:
        old = [bench.added_and_run(), bench.added_and_run()]
        cancelled = bench.add()
        bench.cancel(cancelled)
        bench.tick(2 * DAY)
        young = bench.added_and_run()
        assert sorted(bench.prune(older_than=DAY)) == [*old, cancelled]
        assert [bench.store.job(job) for job in (*old, cancelled)] == [None] * 3
        assert bench.state(young) == "succeeded"

    def test_live_jobs_stay_however_old(self, bench: Bench) -> None:
        running = bench.add()
        bench.claim()
        bench.add(), bench.add(held="ask"), bench.add(due_at=START + 9 * DAY)
        bench.add(after=(running,))
        bench.tick(5 * DAY)
        assert bench.prune() == []

    def test_the_oldest_go_first_and_no_more_than_the_limit(self, bench: Bench) -> None:
        jobs: list[int] = []
        for _ in range(4):
            jobs.append(bench.added_and_run())
            bench.tick(10)
        assert bench.prune(limit=3) == jobs[:3]
        assert bench.prune(limit=3) == jobs[3:]
        assert bench.prune(limit=3) == []

    def test_each_comes_with_the_number_of_its_last_claim(self, bench: Bench) -> None:
        job = bench.add(retries=1, base=0.0)
        bench.run(job, FAILURE)
        bench.run(job)
        bench.tick(1)
        assert bench.store.prune(before=bench.now, limit=9) == [(job, 2)]

    def test_the_counters_follow_and_ids_are_not_used_again(self, bench: Bench) -> None:
        job = bench.added_and_run()
        bench.tick(1)
        bench.prune()
        assert bench.counters() == bench.recount()
        assert bench.add() > job


class TestCount:
    def test_the_store_tells_when_the_first_beyond_the_newest_few_ended(self, bench: Bench) -> None:
        for _ in range(5):
            bench.added_and_run()
            bench.tick(10)
        assert bench.store.nth_newest_end(2) == START + 20
        assert bench.store.nth_newest_end(4) == START
        assert bench.store.nth_newest_end(5) is None


class TestSpared:
    def test_pinned_jobs_stay_until_the_pin_is_taken_off(self, bench: Bench) -> None:
        pinned, other = bench.added_and_run(), bench.added_and_run()
        assert bench.pin(pinned) == ([(pinned, "succeeded")], [])
        assert bench.job(pinned).pinned == "person"
        bench.tick(DAY)
        assert bench.prune() == [other]
        bench.unpin(pinned)
        assert bench.prune() == [pinned]

    def test_pinning_an_unknown_job_pins_nothing(self, bench: Bench) -> None:
        job = bench.added_and_run()
        with pytest.raises(UnknownJob):
            bench.pin(job, 999)
        assert bench.job(job).pinned is None

    def test_a_dead_letter_stays_until_it_is_discarded(self, bench: Bench) -> None:
        dead = bench.added_and_run(FAILURE)
        bench.tick(100 * DAY)
        assert bench.prune() == []
        bench.discard(dead)
        assert bench.prune() == [dead]

    def test_what_nobody_waits_for_any_longer_goes(self, bench: Bench) -> None:
        needed = bench.add()
        waiting = bench.add(after=(needed,))
        bench.cancel(waiting)
        bench.pin(waiting)
        bench.run(needed)
        bench.tick(DAY)
        assert bench.prune() == [needed]


def test_a_job_that_is_gone_takes_its_attempts_and_its_input_with_it(bench: Bench) -> None:
    job = bench.add(stdin=b"in")
    bench.run(job, exited(0, tail=b"out"))
    bench.tick(1)
    bench.prune()
    assert bench.store.job(job) is None
    assert bench.store.states_of([job]) == {}
