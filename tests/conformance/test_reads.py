"""Reads: pages and filters, the cursor over completions, and everything that is asked before a decision."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_core.jobs import Filter
from queue_core.model import Origin
from tests.conformance.builders import FAILURE, START, SUCCESS, Bench, admission


def found(bench: Bench, **wanted: Any) -> list[int]:
    """The ids of the jobs of a page; `ids` must mean the same ones."""
    page = [job.id for job in bench.store.jobs(Filter(**wanted)).jobs]
    if "limit" not in wanted and "since" not in wanted:
        assert bench.store.ids(Filter(**wanted)) == sorted(page)
    return page


class TestOneJob:
    def test_an_id_that_is_none_gives_none(self, bench: Bench) -> None:
        assert bench.store.job(7) is None
        assert bench.store.caller_of(7) is None
        assert bench.store.states_of([7]) == {}
        assert bench.store.dependencies(7) == []

    def test_who_queued_it_and_the_state_it_is_in_can_be_asked_alone(self, bench: Bench) -> None:
        agents, persons = bench.add(caller="agent"), bench.add(held="ask")
        assert bench.store.caller_of(agents) == "agent"
        assert bench.store.states_of([persons, agents, 99]) == {agents: "available", persons: "held"}


class TestPages:
    def test_the_newest_come_first(self, bench: Bench) -> None:
        jobs = [bench.add() for _ in range(4)]
        assert found(bench) == jobs[::-1]
        assert found(bench, limit=2) == [jobs[3], jobs[2]]

    def test_each_filter_narrows(self, bench: Bench) -> None:
        mine = bench.add(
            queue="q",
            origin=Origin(caller="agent", session="s", project="/p"),
            program="/usr/bin/git",
            meta={"a": "1", "b": "2"},
        )
        other = bench.add()
        for wanted in (
            {"ids": (mine,)},
            {"queue": "q"},
            {"caller": "agent"},
            {"session": "s"},
            {"project": "/p"},
            {"program": "git"},
            {"program": "/usr/bin/git"},
            {"meta": {"a": "1"}},
            {"meta": {"a": "1", "b": "2"}},
        ):
            assert found(bench, **wanted) == [mine], wanted
        bench.cancel(mine)
        assert found(bench, states=("cancelled",)) == [mine]
        assert found(bench, states=("cancelled", "available")) == [other, mine]

    @pytest.mark.parametrize("meta", [{"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"}, {"A": "1"}])
    def test_meta_has_to_be_the_very_same(self, bench: Bench, meta: dict[str, str]) -> None:
        bench.add(meta={"a": "1"})
        assert found(bench, meta=meta) == []

    @pytest.mark.parametrize("program", ["my_prog", "my%prog", "MY-PROG", "prog"])
    def test_a_programs_name_is_no_pattern(self, bench: Bench, program: str) -> None:
        bench.add(program="/bin/my-prog")
        assert found(bench, program=program) == []

    def test_older_than_means_ended_before(self, bench: Bench) -> None:
        old = bench.added_and_run()
        bench.tick(10)
        bench.added_and_run(), bench.add()
        assert found(bench, older_than=START + 10) == [old]

    def test_nothing_fits_gives_an_empty_page(self, bench: Bench) -> None:
        bench.add()
        assert found(bench, queue="none") == []


class TestCompletions:
    def since(self, bench: Bench, cursor: int, limit: int = 50, **wanted: Any) -> tuple[list[int], int]:
        page = bench.store.jobs(Filter(since=cursor, limit=limit, **wanted))
        return [job.id for job in page.jobs], page.cursor

    def test_the_cursor_of_a_page_leads_to_what_ends_after_it(self, bench: Bench) -> None:
        bench.added_and_run()
        cursor = bench.store.jobs(Filter()).cursor
        assert self.since(bench, cursor) == ([], cursor)
        dead, cancelled = bench.add(), bench.add()
        bench.cancel(cancelled)
        bench.run(dead, FAILURE)
        jobs, after = self.since(bench, cursor)
        assert jobs == [cancelled, dead]
        assert self.since(bench, after) == ([], after)
        assert self.since(bench, cursor) == (jobs, after)

    def test_a_short_page_leads_to_the_next(self, bench: Bench) -> None:
        jobs = [bench.added_and_run() for _ in range(5)]
        cursor, seen = 0, []
        for _ in range(3):
            page, cursor = self.since(bench, cursor, limit=2)
            seen.append(page)
        assert seen == [jobs[:2], jobs[2:4], jobs[4:]]

    def test_a_filter_skips_others_for_good(self, bench: Bench) -> None:
        mine = [bench.added_and_run(queue="mine")]
        bench.added_and_run(queue="other")
        mine.append(bench.added_and_run(queue="mine"))
        bench.added_and_run(queue="other")
        first, cursor = self.since(bench, 0, limit=1, queue="mine")
        second, cursor = self.since(bench, cursor, limit=5, queue="mine")
        assert first + second == mine
        assert self.since(bench, cursor, queue="mine")[0] == []

    def test_a_replayed_job_ends_anew(self, bench: Bench) -> None:
        job = bench.added_and_run(FAILURE)
        _, cursor = self.since(bench, 0)
        bench.replay(job)
        assert self.since(bench, cursor)[0] == []
        bench.run(job)
        assert self.since(bench, cursor)[0] == [job]

    def test_pruning_does_not_turn_the_numbers_back(self, bench: Bench) -> None:
        bench.added_and_run()
        _, cursor = self.since(bench, 0)
        bench.tick(1)
        bench.prune()
        job = bench.added_and_run()
        assert self.since(bench, cursor)[0] == [job]

    @settings(max_examples=25)
    @given(
        ends=st.lists(st.sampled_from(["run", "fail", "cancel", "cascade"]), max_size=12),
        limits=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    )
    def test_whoever_follows_the_cursor_sees_every_end_once_and_in_order(
        self, open_store: Any, ends: list[str], limits: list[int]
    ) -> None:
        bench = Bench(open_store())
        cursor, seen, expected = 0, [], []
        for number, end in enumerate(ends):
            expected += self.end_one(bench, end)
            page, cursor = self.since(bench, cursor, limit=limits[number % len(limits)])
            seen += page
        for _ in ends:
            page, cursor = self.since(bench, cursor, limit=3)
            seen += page
        assert seen == expected

    def end_one(self, bench: Bench, how: str) -> list[int]:
        job = bench.add()
        if how in ("run", "fail"):
            bench.run(job, FAILURE if how == "fail" else SUCCESS)
            return [job]
        more = [bench.add(after=(job,))] if how == "cascade" else []
        bench.cancel(job)
        return [job, *more]


class TestRunning:
    def test_running_claims_are_listed_with_their_fence(self, bench: Bench) -> None:
        job = bench.add()
        bench.add()
        (lease,) = bench.claim(1, worker="w1", host="there")
        (claim,) = bench.store.running()
        assert (claim.job, claim.claim, claim.token) == (job, lease.claim, lease.token)
        assert (claim.worker, claim.keeper, claim.host) == ("w1", "keeper-of-w1", "there")

    def test_a_host_sees_its_own(self, bench: Bench) -> None:
        first, second = bench.add(), bench.add()
        bench.claim(1, worker="w1", host="one")
        bench.claim(1, worker="w2", host="two")
        assert [claim.job for claim in bench.store.running("one")] == [first]
        assert [claim.job for claim in bench.store.running("two")] == [second]
        assert len(bench.store.running()) == 2


class TestLookingAhead:
    def test_claimable_says_whether_a_worker_would_find_something(self, bench: Bench) -> None:
        claimable = bench.store.claimable
        assert not claimable(bench.now)
        job = bench.add(due_at=START + 5)
        assert not claimable(START + 4.9)
        assert claimable(START + 5)
        bench.tick(5)
        lease = bench.claim_one(job)
        assert not claimable(bench.now)
        bench.end(lease)
        bench.add()
        assert claimable(bench.now)

    def test_a_full_or_paused_queue_or_one_with_a_barrier_running_is_not_claimable(self, bench: Bench) -> None:
        bench.add(queue="full", parallelism=1), bench.add(queue="full")
        bench.add(queue="barred", sequential=True), bench.add(queue="barred")
        bench.claim()
        bench.pause("paused")
        bench.add(queue="paused")
        assert not bench.store.claimable(bench.now)

    def test_nor_is_what_waits_for_a_lock(self, bench: Bench) -> None:
        bench.add(locks=(("gpu", 1),)), bench.add(locks=(("gpu", 1),))
        bench.claim()
        assert not bench.store.claimable(bench.now)

    def test_nor_what_has_fallen_due_in_a_queue_that_is_full(self, bench: Bench) -> None:
        bench.add(parallelism=1)
        bench.claim()
        bench.add(due_at=START + 1)
        assert not bench.store.claimable(START + 2)

    def test_what_is_due_is_claimed_behind_however_much_of_paused_queues(self, bench: Bench) -> None:
        bench.submit(*[admission(queue="paused", due_at=START + 1) for _ in range(1200)])
        bench.pause("paused")
        mine = bench.add(queue="open", due_at=START + 2)
        bench.now = START + 3
        assert [lease.job for lease in bench.claim()] == [mine]

    def test_nor_what_has_fallen_due_in_paused_queues_however_much_it_is(self, bench: Bench) -> None:
        bench.submit(*[admission(queue="paused", due_at=START + 1) for _ in range(600)])
        bench.pause("paused")
        assert not bench.store.claimable(START + 3)
        bench.add(queue="open", due_at=START + 2)
        assert bench.store.claimable(START + 3), "it may be one of those that were not looked at"

    def test_the_next_due_time_is_the_earliest_after_now(self, bench: Bench) -> None:
        assert bench.store.next_due(START) is None
        for seconds in (30, 10, 20):
            bench.add(due_at=START + seconds)
        assert bench.store.next_due(START) == START + 10
        assert bench.store.next_due(START + 10) == START + 20
        assert bench.store.next_due(START + 30) is None

    def test_the_barrier_ahead_of_a_job_is_the_one_it_really_waits_for(self, bench: Bench) -> None:
        bench.add()
        bench.claim()
        before = bench.add()
        barrier = bench.add(sequential=True)
        behind = bench.add()
        urgent = bench.add(priority="high")
        elsewhere = bench.add(queue="other")
        ahead = {job: bench.store.barrier_ahead(bench.job(job)) for job in (before, behind, urgent, elsewhere)}
        assert ahead == {before: None, behind: barrier, urgent: None, elsewhere: None}
        assert bench.store.barrier_ahead(bench.job(barrier)) is None

    def test_a_running_barrier_is_ahead_of_everybody(self, bench: Bench) -> None:
        barrier = bench.add(sequential=True)
        bench.claim()
        urgent = bench.add(priority="critical")
        assert bench.store.barrier_ahead(bench.job(urgent)) == barrier


class TestQueues:
    def test_every_queue_is_listed_with_its_counters(self, bench: Bench) -> None:
        bench.add(queue="b", sequential=True, parallelism=2)
        bench.claim()
        bench.add(queue="a", held="ask", parallelism=3)
        a, b = bench.store.queues()
        assert (a.name, a.slots, a.barred, a.counts["held"]) == ("a", 3, False, 1)
        assert (b.name, b.slots, b.barred, b.counts["running"]) == ("b", 2, True, 1)
