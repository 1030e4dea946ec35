"""Escalation: who takes over from a job that has died, what it takes along, and what those who wait are told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_core.errors import InvalidJob, QueueError
from queue_core.escalation import ID, TAKEN_OVER
from queue_core.jobs import Filter, Outcome
from queue_core.lifecycle import dependency
from queue_core.model import Origin
from tests import claims
from tests.conformance.builders import FAILURE, SUCCESS, Bench, admission, settlement, step_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.jobs import Job, Lease
    from queue_core.model import JobState
    from queue_core.store import Store

EXAMPLES = 150 if claims.THOROUGH else 40
CHAIN = (("b", "1"), ("c",))


def newest(bench: Bench) -> Job:
    return max(bench.everything(), key=lambda job: job.id)


def handed_over(bench: Bench, job: int) -> int:
    """Let a job fail; who takes over."""
    assert bench.run(job, FAILURE) == "dead"
    taken = newest(bench)
    assert taken.escalated_from == job
    return taken.id


class TestChain:
    def test_each_step_carries_the_rest_and_the_last_one_hands_over_to_nobody(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=CHAIN)
        second = handed_over(bench, first)
        assert [step.argv for step in bench.job(second).on_dead] == [("c",)]
        third = handed_over(bench, second)
        assert bench.job(third).on_dead == ()
        assert bench.run(third, FAILURE) == "dead"
        assert len(bench.everything()) == 3

    def test_it_can_be_read_from_any_of_its_jobs(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=CHAIN)
        second = handed_over(bench, first)
        third = handed_over(bench, second)
        for job in (first, second, third):
            links = bench.store.chain(job)
            assert [(one.id, one.state, one.argv) for one in links] == [
                (first, "dead", ("a",)),
                (second, "dead", ("b", "1")),
                (third, "available", ("c",)),
            ]
        assert (bench.job(first).escalated_to, bench.job(third).escalated_to) == (second, None)
        assert [job.escalated_to for job in bench.store.jobs(Filter()).jobs] == [None, third, second]

    def test_a_job_alone_is_its_own_chain_and_one_that_is_none_has_none(self, bench: Bench) -> None:
        job = bench.add("a")
        assert [one.id for one in bench.store.chain(job)] == [job]
        assert bench.store.chain(99) == []

    def test_of_several_successors_the_newest_counts(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        old = handed_over(bench, first)
        bench.replay(first)
        new = handed_over(bench, first)
        assert bench.job(first).escalated_to == new
        assert [one.id for one in bench.store.chain(first)] == [first, new]
        assert [one.id for one in bench.store.chain(old)] == [first, old]

    def test_the_jobs_id_is_filled_in_when_it_has_one(self, bench: Bench) -> None:
        bench.add("other")
        job = bench.add("a", on_dead=(("b", f"of {ID}", f"{ID}:{ID}"), ("c", ID)))
        second = handed_over(bench, job)
        assert bench.job(second).argv == ("b", f"of {job}", f"{job}:{job}")
        assert bench.job(handed_over(bench, second)).argv == ("c", str(job))

    def test_who_takes_over_knows_from_whom(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        second = handed_over(bench, first)
        assert bench.claim_one(second).escalated_from == first
        assert bench.claim_one(bench.add("x")).escalated_from is None


class TestWhatIsTakenAlong:
    def test_what_the_first_needed_the_next_needs_too(self, bench: Bench) -> None:
        origin = Origin(caller="hook", session="s", project="/p", client="c")
        first = bench.add(
            *("a",),
            on_dead=(("b",),),
            origin=origin,
            queue="q",
            priority="high",
            sequential=True,
            locks=(("gpu", 1),),
            timeout=7.0,
            retries=0,
            env={"A": "1"},
            name="n",
            meta={"k": "v"},
        )
        mine, its = bench.job(first), bench.job(handed_over(bench, first))
        kept = ("queue", "priority", "sequential", "locks", "timeout", "retries", "env", "own_env", "cwd", "name")
        for field in (*kept, "meta", "caller", "session", "project"):
            assert getattr(its, field) == getattr(mine, field), field

    def test_but_neither_its_unique_key_nor_its_input_nor_its_needs(self, bench: Bench) -> None:
        before = bench.added_and_run()
        first = bench.add("a", on_dead=(("b",),), unique="key", stdin=b"x", after=(before,))
        its = bench.job(handed_over(bench, first))
        assert (its.unique_key, its.has_input, its.unmet) == (None, False, 0)

    def test_the_lock_is_free_for_it(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),), locks=(("gpu", 1),))
        second = handed_over(bench, first)
        assert bench.claimed() == [second]

    def test_what_a_person_approved_with_the_job_is_approved_and_nothing_else_is(self, bench: Bench) -> None:
        asked = bench.add("a", caller="agent", held="ask", on_dead=(("b",),))
        bench.approve(asked)
        free = bench.add("a", caller="agent", on_dead=(("b",),))
        may_run = {asked: True, free: True}
        leases = {lease.job: lease for lease in bench.claim(may_run=lambda job: None if job.id in may_run else "no")}
        bench.settle(settlement(leases[asked], FAILURE), settlement(leases[free], FAILURE))
        approved, judged = bench.job(asked).escalated_to, bench.job(free).escalated_to
        assert approved and judged
        assert bench.claimed(may_run=lambda it: None if it.approved_at else "no rule covers it") == [approved]
        assert (bench.state(judged), bench.job(judged).reason) == ("held", "no rule covers it")

    def test_what_was_approved_is_the_program_as_it_was_found(self, bench: Bench) -> None:
        asked = bench.add("a", caller="agent", held="ask", on_dead=(("b",),))
        bench.approve(asked)
        assert bench.job(handed_over(bench, asked)).program == "/bin/echo"


class TestAfterSoManyFailures:
    def test_it_dies_before_its_retries_are_used_up_and_says_why(self, bench: Bench) -> None:
        job = bench.add("a", retries=5, base=0.0, on_dead=(step_of("b", after=2), step_of("c")))
        assert bench.run(job, FAILURE) == "scheduled"
        assert bench.run(job, FAILURE) == "dead"
        assert bench.job(job).reason == "exited with code 1 (given up after 2 failures)"
        assert (newest(bench).argv, newest(bench).on_dead) == (("b",), (step_of("c"),))

    def test_each_step_counts_the_failures_of_the_job_before_it(self, bench: Bench) -> None:
        job = bench.add("a", retries=5, base=0.0, on_dead=(step_of("b", after=1), step_of("c", after=3)))
        second = handed_over(bench, job)
        assert [bench.run(second, FAILURE) for _ in range(3)] == ["scheduled", "scheduled", "dead"]

    def test_it_dies_with_its_retries_if_those_are_fewer(self, bench: Bench) -> None:
        job = bench.add("a", retries=0, on_dead=(step_of("b", after=9),))
        assert newest(bench).id == job
        handed_over(bench, job)

    def test_a_replay_counts_anew(self, bench: Bench) -> None:
        job = bench.add("a", retries=5, base=0.0, on_dead=(step_of("b", after=2),))
        bench.run(job, FAILURE)
        bench.run(job, FAILURE)
        bench.replay(job)
        assert bench.run(job, FAILURE) == "scheduled"
        assert bench.run(job, FAILURE) == "dead"

    def test_what_was_taken_back_is_no_failure(self, bench: Bench) -> None:
        job = bench.add("a", retries=5, on_dead=(step_of("b", after=1),))
        assert bench.run(job, Outcome(kind="interrupted")) == "available"


def test_a_thousand_jobs_that_all_escalate_twice_are_three_thousand_and_none_twice(bench: Bench) -> None:
    many = [admission("a", str(n), on_dead=(step_of("b", ID), step_of("c", ID))) for n in range(1000)]
    first = [receipt.id for receipt in bench.submit(*many, capacity=10_000, parallelism=2000)]
    for _ in range(2):
        leases = bench.claim(want=2000, max_running=5000)
        assert len(leases) == 1000
        assert bench.settle(*(settlement(lease, FAILURE) for lease in leases)) == ["dead"] * 1000
        assert bench.settle(*(settlement(lease, FAILURE) for lease in leases)) == [None] * 1000
    leases = bench.claim(want=2000, max_running=5000)
    bench.settle(*(settlement(lease) for lease in leases))
    jobs = {job.id: job for job in bench.everything()}
    assert Counter((job.argv[0], job.state) for job in jobs.values()) == {
        ("a", "dead"): 1000,
        ("b", "dead"): 1000,
        ("c", "succeeded"): 1000,
    }
    assert set(Counter(job.escalated_from for job in jobs.values() if job.escalated_from).values()) == {1}
    for job in first:
        assert [one.argv[0] for one in bench.store.chain(job)] == ["a", "b", "c"]
        assert jobs[bench.store.chain(job)[2].id].argv == ("c", str(job))
    assert bench.counters() == bench.recount()


class TestThoseWhoWaitForItsSuccess:
    def test_go_on_when_a_successor_succeeds_however_late_in_the_chain(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=CHAIN)
        waiting = bench.add(after=(first,))
        third = handed_over(bench, handed_over(bench, first))
        assert bench.state(waiting) == "blocked"
        bench.run(third)
        assert bench.state(waiting) == "available"

    def test_in_the_transaction_that_settles_it(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        waiting = bench.add(after=(first,))
        lease = bench.claim_one(handed_over(bench, first))
        assert [one.job for one in bench.exchange(settlement(lease))[1]] == [waiting]

    def test_go_on_when_it_is_replayed_and_succeeds_itself(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        waiting = bench.add(after=(first,))
        second = handed_over(bench, first)
        bench.replay(first)
        leases = {lease.job: lease for lease in bench.claim()}
        bench.end(leases[first])
        assert bench.state(waiting) == "available"
        assert bench.end(leases[second]) == "succeeded"

    def test_go_on_once_when_two_successors_succeed(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        waiting = bench.add(after=(first,))
        old = handed_over(bench, first)
        mine = bench.claim_one(old)
        bench.replay(first)
        new = handed_over(bench, first)
        bench.end(mine)
        assert bench.state(waiting) == "available"
        lease = next(one for one in bench.claim() if one.job == new)
        assert bench.end(lease) == "succeeded"
        assert (bench.state(waiting), bench.job(waiting).unmet) == ("running", 0)

    def test_wait_on_when_the_last_of_the_chain_dies_for_it_may_be_replayed(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        waiting = bench.add(after=(first,))
        second = handed_over(bench, first)
        bench.run(second, FAILURE)
        assert bench.state(waiting) == "blocked"
        bench.replay(second)
        bench.run(second)
        assert bench.state(waiting) == "available"

    def test_outlive_the_discard_of_the_head_while_a_successor_is_alive(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        waiting = bench.add(after=(first,))
        second = handed_over(bench, first)
        bench.discard(first)
        assert bench.state(waiting) == "blocked"
        bench.run(second)
        assert bench.state(waiting) == "available"

    def test_are_cancelled_when_nobody_is_left_of_the_chain(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        waiting = bench.add(after=(first,))
        theirs = bench.add(after=(waiting,))
        second = handed_over(bench, first)
        bench.discard(first)
        bench.cancel(second)
        assert bench.states(waiting, theirs) == ["cancelled", "cancelled"]
        assert f"job {first}" in (bench.job(waiting).reason or "")

    def test_wait_on_when_a_successor_is_cancelled_for_the_head_may_be_replayed(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        waiting = bench.add(after=(first,))
        bench.cancel(handed_over(bench, first))
        assert bench.state(waiting) == "blocked"
        bench.discard(first)
        assert bench.state(waiting) == "cancelled"

    def test_wait_for_a_successor_alone_if_they_named_that_one(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        second = handed_over(bench, first)
        waiting = bench.add(after=(second,))
        bench.replay(first)
        leases = {lease.job: lease for lease in bench.claim()}
        bench.end(leases[first])
        assert bench.state(waiting) == "blocked"
        bench.end(leases[second])
        assert bench.state(waiting) == "available"

    def test_are_free_at_once_if_a_successor_has_succeeded_before_they_came(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        bench.run(handed_over(bench, first))
        assert bench.receipt(after=(first,)).state == "available"
        bench.discard(first)
        assert bench.receipt(after=(first,)).state == "available"

    def test_may_wait_for_a_discarded_head_whose_successor_is_alive_and_not_for_one_without(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        second = handed_over(bench, first)
        bench.discard(first)
        waiting = bench.receipt(after=(first,))
        assert waiting.state == "blocked"
        bench.cancel(second)
        assert bench.state(waiting.id) == "cancelled"
        with pytest.raises(InvalidJob, match=f"job {first} is cancelled"):
            bench.add(after=(first,))

    @pytest.mark.parametrize("how", [SUCCESS, FAILURE])
    def test_of_several_needs_each_has_its_own_chain(self, bench: Bench, how: Outcome) -> None:
        first, other = bench.add("a", on_dead=(("b",),)), bench.add("x", on_dead=(("y",),))
        waiting = bench.add(after=(first, other))
        leases = {lease.job: lease for lease in bench.claim()}
        bench.settle(settlement(leases[first], FAILURE), settlement(leases[other], FAILURE))
        second = bench.job(first).escalated_to or 0
        leases = {lease.job: lease for lease in bench.claim()}
        bench.end(leases[second])
        bench.end(leases[bench.job(other).escalated_to or 0], how)
        assert bench.state(waiting) == ("available" if how is SUCCESS else "blocked")


class TestThoseWhoWaitForItsEnd:
    def test_follow_the_job_itself_whoever_took_over(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        whatever, failure = bench.add(after_any=(first,)), bench.add(after_failure=(first,))
        lease = bench.claim_one(first)
        bench.end(lease, FAILURE)
        assert bench.states(whatever, failure) == ["available", "available"]

    def test_and_its_successors_end_is_nothing_to_them(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),), retries=0)
        second = handed_over(bench, first)
        bench.replay(first)
        whatever, failure = bench.add(after_any=(first,)), bench.add(after_failure=(first,))
        leases = {lease.job: lease for lease in bench.claim()}
        bench.end(leases[second])
        assert bench.states(whatever, failure) == ["blocked", "blocked"]


class TestBulk:
    def ids(self, bench: Bench, what: str) -> list[int]:
        return bench.store.ids(Filter(states=("dead",), no_successor_in=TAKEN_OVER[what]))

    def test_what_is_in_good_hands_is_left_out(self, bench: Bench) -> None:
        alone = bench.added_and_run(FAILURE)
        first = bench.add("a", on_dead=CHAIN)
        second = handed_over(bench, first)
        assert (self.ids(bench, "retry"), self.ids(bench, "discard")) == ([alone], [alone])
        third = handed_over(bench, second)
        assert (self.ids(bench, "retry"), self.ids(bench, "discard")) == ([alone], [alone])
        bench.run(third)
        assert (self.ids(bench, "retry"), self.ids(bench, "discard")) == ([alone], [alone])

    def test_of_a_chain_that_died_to_its_end_only_the_end_is_run_again(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        second = handed_over(bench, first)
        bench.run(second, FAILURE)
        assert (self.ids(bench, "retry"), self.ids(bench, "discard")) == ([second], [first, second])

    def test_a_successor_that_was_cancelled_took_nothing_over(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        bench.cancel(handed_over(bench, first))
        assert (self.ids(bench, "retry"), self.ids(bench, "discard")) == ([first], [first])


WHICH = st.integers(0, 5)
STEP = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 2)),
    st.tuples(st.just("follow"), WHICH, st.sampled_from(["after", "after", "after_any", "after_failure"])),
    st.tuples(st.just("end"), WHICH, st.sampled_from([SUCCESS, FAILURE, FAILURE, Outcome(kind="interrupted")])),
    st.tuples(st.sampled_from(["cancel", "discard", "replay"]), WHICH),
    st.tuples(st.just("prune")),
)


def do(bench: Bench, leases: list[Lease], step: tuple[Any, ...]) -> None:
    """One of the steps; what is refused changes nothing."""
    ids = sorted(job.id for job in bench.everything()) or [99]
    match step:
        case ("add", int(steps)):
            bench.add("a", retries=0, on_dead=CHAIN[:steps])
        case ("follow", int(which), str(key)):
            bench.add("f", retries=0, on_dead=CHAIN[:1], **{key: (ids[which % len(ids)],)})
        case ("end", int(which), Outcome() as outcome):
            leases += bench.claim()
            bench.settle(*(settlement(leases.pop(which % len(leases)), outcome) for _ in leases[:1]))
        case ("prune",):
            bench.tick(1)
            bench.prune()
        case (verb, int(which)):
            getattr(bench, str(verb))(ids[which % len(ids)])
        case _:
            raise AssertionError(step)


@pytest.mark.claim("order")
@settings(max_examples=EXAMPLES)
@given(steps=st.lists(STEP, min_size=1, max_size=15))
def test_nobody_ever_waits_for_what_is_met_or_can_never_be(
    open_store: Callable[[], Store], steps: list[tuple[Any, ...]]
) -> None:
    bench, leases = Bench(open_store()), []
    for step in [("add", 2), ("follow", 0, "after"), ("end", 0, FAILURE), ("end", 0, FAILURE), *steps]:
        before = bench.everything()
        try:
            do(bench, leases, step)
        except QueueError:
            assert bench.everything() == before
    jobs = {job.id: job for job in bench.everything()}
    later: dict[int, list[int]] = {}
    for job in jobs.values():
        if job.escalated_from is not None:
            later.setdefault(job.escalated_from, []).append(job.id)

    def successors(job: int) -> list[JobState]:
        return [state for one in later.get(job, []) for state in (jobs[one].state, *successors(one))]

    for job in jobs.values():
        for needed, condition, _ in bench.store.dependencies(job.id):
            assert dependency(condition, jobs[needed].state, successors(needed)) == "open", (job, needed)  # pyright: ignore[reportArgumentType]
    assert bench.counters() == bench.recount()


class TestPruning:
    def test_a_dead_letter_that_was_made_good_goes_with_its_successors(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=CHAIN)
        second = handed_over(bench, first)
        third = handed_over(bench, second)
        bench.run(third)
        bench.tick(10)
        gone: list[int] = []
        while now := bench.prune():
            gone += now
        assert gone == [first, second, third]

    def test_but_not_while_its_work_is_still_to_be_done(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        second = handed_over(bench, first)
        bench.tick(10)
        assert bench.prune() == []
        bench.run(second, FAILURE)
        bench.tick(10)
        assert bench.prune() == []

    def test_a_link_in_the_middle_stays_for_those_who_wait_for_the_head(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=CHAIN)
        waiting = bench.add(after=(first,))
        second = handed_over(bench, first)
        third = handed_over(bench, second)
        bench.discard(first, second)
        bench.tick(10)
        assert bench.prune() == []
        bench.run(third)
        assert bench.state(waiting) == "available"

    def test_a_successor_stays_as_long_as_the_letter_that_it_took_over(self, bench: Bench) -> None:
        first = bench.add("a", on_dead=(("b",),))
        second = handed_over(bench, first)
        bench.run(second)
        bench.pin(first)
        bench.tick(10)
        assert bench.prune() == []
        assert [one.id for one in bench.store.chain(first)] == [first, second]
        assert bench.store.ids(Filter(states=("dead",), no_successor_in=TAKEN_OVER["retry"])) == []


class TestWaiting:
    """Who waits for a job that was handed over waits for its successors."""

    def test_a_job_stands_as_its_successors_do_while_they_live_and_when_one_succeeds(self, bench: Bench) -> None:
        plain = bench.added_and_run(FAILURE)
        first = bench.add(on_dead=(("second",), ("third",)))
        assert bench.store.standings([first, plain, 999]) == {first: "available", plain: "dead"}
        bench.run(first, FAILURE)
        assert bench.store.standings([first]) == {first: "available"}
        (second,) = bench.claim()
        assert bench.store.standings([first]) == {first: "running"}
        bench.end(second, FAILURE)
        (third,) = bench.claim()
        bench.end(third)
        assert bench.store.standings([first, second.job, third.job]) == dict.fromkeys(
            (first, second.job, third.job), "succeeded"
        )

    @pytest.mark.parametrize("outcome", [FAILURE, None])
    def test_a_chain_that_fails_or_is_cancelled_to_its_end_stands_dead(
        self, bench: Bench, outcome: Outcome | None
    ) -> None:
        first = bench.added_and_run(FAILURE, on_dead=(("second",),))
        if outcome is None:
            bench.cancel(first + 1)
        else:
            bench.run(first + 1, outcome)
        assert bench.store.standings([first]) == {first: "dead"}
