"""Dependencies: who waits for whom, what ends the wait, and what is cancelled with what."""

from __future__ import annotations

import pytest

from queue_core.errors import InvalidJob
from tests.conformance.builders import FAILURE, START, SUCCESS, Bench

CONDITIONS = {"after": "success", "after_any": "any", "after_failure": "failure"}


def end(bench: Bench, job: int, how: str) -> None:
    """Bring a waiting job to an end."""
    if how == "cancelled":
        bench.cancel(job)
    else:
        bench.run(job, SUCCESS if how == "succeeded" else FAILURE)
    assert bench.state(job) == how


class TestConditions:
    @pytest.mark.parametrize(
        ("key", "how", "state"),
        [
            ("after", "succeeded", "available"),
            ("after", "dead", "blocked"),
            ("after", "cancelled", "cancelled"),
            ("after_any", "succeeded", "available"),
            ("after_any", "dead", "available"),
            ("after_any", "cancelled", "available"),
            ("after_failure", "succeeded", "cancelled"),
            ("after_failure", "dead", "available"),
            ("after_failure", "cancelled", "cancelled"),
        ],
    )
    def test_the_end_of_a_job_decides_about_those_that_wait(self, bench: Bench, key: str, how: str, state: str) -> None:
        needed = bench.add()
        waiting = bench.add(**{key: (needed,)})
        assert bench.state(waiting) == "blocked"
        assert bench.store.dependencies(waiting) == [(needed, CONDITIONS[key], "available")]
        end(bench, needed, how)
        assert bench.state(waiting) == state

    @pytest.mark.parametrize(("key", "how"), [("after", "succeeded"), ("after_any", "dead"), ("after_failure", "dead")])
    def test_what_is_met_already_holds_nobody_up(self, bench: Bench, key: str, how: str) -> None:
        needed = bench.add()
        end(bench, needed, how)
        assert bench.receipt(**{key: (needed,)}).state == "available"

    def test_a_dead_job_may_be_waited_for(self, bench: Bench) -> None:
        needed = bench.added_and_run(FAILURE)
        assert bench.receipt(after=(needed,)).state == "blocked"

    @pytest.mark.parametrize(
        ("key", "how"), [("after", "cancelled"), ("after_failure", "succeeded"), ("after_failure", "cancelled")]
    )
    def test_what_can_never_be_met_is_refused(self, bench: Bench, key: str, how: str) -> None:
        needed = bench.add()
        end(bench, needed, how)
        with pytest.raises(InvalidJob, match=f"job {needed} is {how}"):
            bench.add(**{key: (needed,)})


class TestWaiting:
    def test_a_job_that_waits_for_several_waits_for_all(self, bench: Bench) -> None:
        first, second = bench.add(), bench.add()
        waiting = bench.add(after=(first, second))
        leases = bench.claim()
        bench.end(leases[0])
        assert bench.state(waiting) == "blocked"
        assert [need[0] for need in bench.store.dependencies(waiting)] == [second]
        bench.end(leases[1])
        assert bench.state(waiting) == "available"
        assert bench.store.dependencies(waiting) == []

    def test_it_goes_on_in_the_transaction_that_settled_the_other(self, bench: Bench) -> None:
        from tests.conformance.builders import settlement

        needed = bench.add()
        waiting = bench.add(after=(needed,))
        (lease,) = bench.claim()
        assert [lease.job for lease in bench.exchange(settlement(lease))[1]] == [waiting]

    def test_a_retry_of_the_other_is_not_its_end(self, bench: Bench) -> None:
        needed = bench.add(retries=1)
        waiting = bench.add(after_failure=(needed,))
        bench.run(needed, FAILURE)
        assert bench.state(waiting) == "blocked"

    def test_naming_a_job_twice_is_naming_it_once(self, bench: Bench) -> None:
        needed = bench.add()
        waiting = bench.add(after=(needed, needed))
        bench.run(needed)
        assert bench.state(waiting) == "available"

    def test_one_job_can_be_waited_for_under_two_conditions(self, bench: Bench) -> None:
        needed = bench.add()
        waiting = bench.add(after=(needed,), after_any=(needed,))
        bench.run(needed)
        assert bench.state(waiting) == "available"

    @pytest.mark.parametrize("how", ["succeeded", "dead", "cancelled"])
    def test_conditions_that_contradict_each_other_harm_only_who_named_them(self, bench: Bench, how: str) -> None:
        needed = bench.add()
        waiting = bench.add(after=(needed,), after_any=(needed,), after_failure=(needed,))
        end(bench, needed, how)
        assert bench.state(waiting) == ("blocked" if how == "dead" else "cancelled")

    def test_one_that_is_due_later_waits_for_its_time_next(self, bench: Bench) -> None:
        needed = bench.add()
        waiting = bench.add(after=(needed,), due_at=START + 60)
        bench.run(needed)
        assert bench.state(waiting) == "scheduled"

    def test_one_that_is_held_stays_held_and_is_ready_when_approved(self, bench: Bench) -> None:
        needed = bench.add()
        waiting = bench.add(after=(needed,), held="ask")
        bench.run(needed)
        assert bench.state(waiting) == "held"
        bench.approve(waiting)
        assert bench.state(waiting) == "available"

    def test_one_that_is_approved_too_early_is_blocked(self, bench: Bench) -> None:
        needed = bench.add()
        waiting = bench.add(after=(needed,), held="ask")
        assert bench.approve(waiting) == [(waiting, "blocked")]


class TestDeadOnes:
    def test_those_that_wait_for_a_dead_job_wait_for_its_replay(self, bench: Bench) -> None:
        needed = bench.add()
        waiting = bench.add(after=(needed,))
        bench.run(needed, FAILURE)
        assert bench.state(waiting) == "blocked"
        bench.replay(needed)
        bench.run(needed)
        assert bench.state(waiting) == "available"

    def test_when_it_is_discarded_they_are_cancelled_with_the_reason(self, bench: Bench) -> None:
        needed = bench.added_and_run(FAILURE)
        waiting = bench.add(after=(needed,))
        bench.discard(needed)
        found = bench.job(waiting)
        assert (found.state, found.finished_at) == ("cancelled", bench.now)
        assert f"job {needed}" in (found.reason or "")


class TestCascades:
    def test_a_cancelled_job_takes_all_with_it_that_could_only_follow_it(self, bench: Bench) -> None:
        first = bench.add()
        second = bench.add(after=(first,))
        third = bench.add(after=(second,))
        whatever = bench.add(after_any=(second,))
        bench.cancel(first)
        assert bench.states(first, second, third, whatever) == ["cancelled"] * 3 + ["available"]
        assert f"job {first}" in (bench.job(second).reason or "")
        assert f"job {second}" in (bench.job(third).reason or "")

    def test_a_held_one_goes_too(self, bench: Bench) -> None:
        first = bench.add()
        held = bench.add(after=(first,), held="ask")
        bench.cancel(first)
        assert bench.state(held) == "cancelled"

    def test_one_that_waits_for_two_cancelled_ones_is_cancelled_once(self, bench: Bench) -> None:
        first = bench.add()
        left, right = bench.add(after=(first,)), bench.add(after=(first,))
        bottom = bench.add(after=(left, right))
        cursor = int(bench.store.jobs(_none()).cursor)
        bench.cancel(first)
        assert bench.state(bottom) == "cancelled"
        assert int(bench.store.jobs(_none()).cursor) == cursor + 4

    def test_a_long_chain_is_no_burden(self, bench: Bench) -> None:
        from tests.conformance.builders import admission

        first = bench.add(ref="0")
        chain = [admission(after=(first,), ref="1")]
        chain += [admission(after=(str(n),), ref=str(n + 1)) for n in range(1, 500)]
        receipts = bench.submit(*chain)
        bench.cancel(first)
        assert bench.state(receipts[-1].id) == "cancelled"

    def test_rejecting_a_job_cancels_what_waits_for_it(self, bench: Bench) -> None:
        first = bench.add(held="ask")
        second = bench.add(after=(first,))
        bench.reject(first)
        assert bench.state(second) == "cancelled"

    def test_stopping_a_running_job_cancels_what_waits_for_it(self, bench: Bench) -> None:
        first = bench.add()
        second = bench.add(after=(first,))
        lease = bench.claim_one(first)
        bench.cancel(first)
        assert bench.state(second) == "blocked"
        bench.end(lease, FAILURE)
        assert bench.state(second) == "cancelled"

    def test_what_was_cancelled_with_another_can_be_replayed_by_itself(self, bench: Bench) -> None:
        first = bench.add()
        second = bench.add(after=(first,))
        bench.cancel(first)
        bench.replay(second)
        assert bench.state(second) == "available"
        assert bench.store.dependencies(second) == []

    def test_even_if_its_replay_has_to_be_approved(self, bench: Bench) -> None:
        first = bench.add()
        second = bench.add(after=(first,))
        bench.cancel(first)
        bench.replay(second, held={second: "ask"})
        assert bench.approve(second) == [(second, "available")]


def _none():
    from queue_core.jobs import Filter

    return Filter(limit=1)
