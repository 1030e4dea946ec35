"""Jobs for handlers in the store: only who has the handler gets them, and who has not is never held up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.builders import PERSON, SUCCESS, admission, settlement

if TYPE_CHECKING:
    from tests.conformance.builders import Bench


def add(bench: Bench, handler: str, **fields: object) -> int:
    job = admission(handler=handler, **fields)
    return bench.submit(job)[0].id


class TestClaiming:
    def test_a_worker_gets_jobs_of_its_handlers_and_commands_if_it_wants_them(self, bench: Bench) -> None:
        both, command = add(bench, "a"), bench.add()
        bench.enter("commands")
        bench.enter("functions", handlers=("a",))
        assert bench.claimed(worker="functions", handlers=("a",), commands=False) == [both]
        assert bench.claimed(worker="commands") == [command]

    def test_a_lease_names_the_handler_its_arguments_and_no_keeper(self, bench: Bench) -> None:
        bench.enter("w1", handlers=("a",))
        add(bench, "a", arguments={"x": [1, None]})
        (lease,) = bench.claim(handlers=("a",))
        assert (lease.handler, dict(lease.arguments), lease.argv) == ("a", {"x": [1, None]}, ())
        (orphan,) = bench.store.running()
        assert (orphan.handler, orphan.keeper) == ("a", "")

    def test_order_goes_by_priority_and_age_over_both_kinds(self, bench: Bench) -> None:
        bench.enter("w1", handlers=("a", "b"))
        jobs = [add(bench, "a"), bench.add(), add(bench, "b", priority="high"), add(bench, "a", priority="high")]
        assert bench.claimed(handlers=("a", "b")) == [jobs[2], jobs[3], jobs[0], jobs[1]]

    def test_parallelism_counts_both_kinds(self, bench: Bench) -> None:
        bench.enter("w1", handlers=("a",))
        bench.configure(queues={"q": 2})
        jobs = [add(bench, "a", queue="q"), bench.add(queue="q"), add(bench, "a", queue="q")]
        assert bench.claimed(handlers=("a",)) == jobs[:2]
        assert not bench.store.claimable(bench.now, handlers=("a",))


class TestBarriers:
    def test_a_sequential_job_of_another_kind_holds_back_what_comes_after_it(self, bench: Bench) -> None:
        bench.enter("functions", handlers=("a",))
        barrier, command = add(bench, "a", sequential=True), bench.add()
        assert bench.claimed(worker="commands") == []
        (lease,) = bench.claim(worker="functions", handlers=("a",), commands=False)
        assert lease.job == barrier
        assert bench.claimed(worker="commands") == []
        bench.exchange(settlement(lease, SUCCESS), want=0, worker="functions")
        assert bench.claimed(worker="commands") == [command]

    def test_a_sequential_command_waits_for_functions_before_it(self, bench: Bench) -> None:
        bench.enter("functions", handlers=("a",))
        function, barrier = add(bench, "a"), bench.add(sequential=True)
        assert bench.claimed(worker="commands") == []
        (lease,) = bench.claim(worker="functions", handlers=("a",), commands=False)
        assert lease.job == function
        assert bench.claimed(worker="commands") == []
        bench.exchange(settlement(lease, SUCCESS), want=0, worker="functions")
        assert bench.claimed(worker="commands") == [barrier]

    def test_a_sequential_function_waits_for_commands_and_other_functions_before_it(self, bench: Bench) -> None:
        bench.enter("fa", handlers=("a",))
        bench.enter("fb", handlers=("b",))
        command, other, barrier = bench.add(), add(bench, "b"), add(bench, "a", sequential=True)
        assert bench.claimed(worker="fa", handlers=("a",), commands=False) == []
        leases = [*bench.claim(worker="commands"), *bench.claim(worker="fb", handlers=("b",), commands=False)]
        assert [lease.job for lease in leases] == [command, other]
        assert bench.claimed(worker="fa", handlers=("a",), commands=False) == []
        for lease in leases:
            bench.exchange(settlement(lease, SUCCESS), want=0)
        assert bench.claimed(worker="fa", handlers=("a",), commands=False) == [barrier]


class TestUnmanned:
    def test_nobody_is_held_up_by_a_job_that_nobody_can_run(self, bench: Bench) -> None:
        add(bench, "a", sequential=True, priority="critical")
        command = bench.add()
        assert bench.store.unmanned() == ["a"]
        assert bench.claimed() == [command]

    def test_it_is_no_backlog(self, bench: Bench) -> None:
        add(bench, "a")
        add(bench, "b", due_at=bench.now + 5)
        bench.tick(10)
        assert not bench.store.claimable(bench.now)
        assert bench.store.claimable(bench.now, handlers=("b",))

    def test_it_goes_on_when_a_worker_has_its_handler(self, bench: Bench) -> None:
        job = add(bench, "a")
        bench.enter("w1", handlers=("a",))
        assert bench.store.unmanned() == []
        assert bench.store.claimable(bench.now, handlers=("a",), commands=False)
        assert bench.claimed(handlers=("a",)) == [job]

    @pytest.mark.parametrize("leave", ["deregister", "stop_claiming", "forget_workers"])
    def test_it_waits_again_when_the_last_such_worker_goes(self, bench: Bench, leave: str) -> None:
        bench.enter("w1", handlers=("a", "b"))
        bench.enter("w2", handlers=("a",))
        add(bench, "a")
        add(bench, "b")
        getattr(bench.store, leave)(["w1"] if leave == "forget_workers" else "w1")
        assert bench.store.unmanned() == ["b"]
        bench.store.deregister("w2")
        assert bench.store.unmanned() == ["a", "b"]

    def test_one_that_backs_off_or_is_approved_or_replayed_waits_for_a_worker_too(self, bench: Bench) -> None:
        held, due = add(bench, "a", held="ask"), add(bench, "b", due_at=bench.now + 5)
        bench.enter("w1", handlers=("c",))
        replayed = add(bench, "c")
        (lease,) = bench.claim(handlers=("c",))
        bench.exchange(settlement(lease, SUCCESS), want=0)
        bench.store.deregister("w1")
        bench.approve(held)
        bench.replay(replayed)
        bench.now += 10
        assert bench.claimed(worker="w2") == []
        assert bench.store.unmanned() == ["a", "b", "c"]
        assert bench.job(due).parked == "@b"

    def test_it_lets_others_have_the_locks_that_it_waits_for(self, bench: Bench) -> None:
        bench.enter("functions", handlers=("a",))
        first = bench.add(locks=(("gpu", 1),))
        (lease,) = bench.claim(worker="commands")
        assert lease.job == first
        function, command = add(bench, "a", locks=(("gpu", 1),)), bench.add(locks=(("gpu", 1),))
        assert bench.claimed(worker="functions", handlers=("a",)) == []  # both are parked at the lock now
        bench.store.deregister("functions")
        bench.exchange(settlement(lease, SUCCESS), want=0, worker="commands")
        assert bench.claimed(worker="commands") == [command]
        assert bench.job(function).parked == "@a"

    def test_a_lock_that_it_could_have_taken_goes_to_the_next(self, bench: Bench) -> None:
        bench.enter("functions", handlers=("a",))
        (lease,) = (bench.add(locks=(("gpu", 1),)), bench.claim(worker="commands"))[1]
        add(bench, "a", locks=(("gpu", 1),))
        command = bench.add(locks=(("gpu", 1),))
        bench.claimed(worker="functions", handlers=("a",))  # parks both
        bench.exchange(settlement(lease, SUCCESS), want=0, worker="commands")  # wakes the function, which is first
        bench.store.deregister("functions")
        assert bench.claimed(worker="commands") == [command]


def test_a_handlers_job_may_be_cancelled_and_its_parking_ends(bench: Bench) -> None:
    job = add(bench, "a")
    bench.store.cancel([job], by=PERSON, now=bench.now)
    assert (bench.job(job).state, bench.job(job).parked) == ("cancelled", None)
    assert bench.store.unmanned() == []


class TestWhatWaitsForOthers:
    """Jobs of one kind must not wait for ever for what only workers of another kind could do."""

    def test_a_lock_that_is_let_go_may_be_had_by_every_kind(self, bench: Bench) -> None:
        bench.enter("app", handlers=("a",))
        first = bench.add(locks=(("gpu", 1),))
        (lease,) = bench.claim(worker="commands")
        assert lease.job == first
        command, function = bench.add(locks=(("gpu", 1),)), add(bench, "a", locks=(("gpu", 1),))
        assert bench.claimed(worker="app", handlers=("a",)) == []  # both are parked at the lock now
        bench.end(lease)
        assert bench.claimed(worker="app", handlers=("a",), commands=False) == [function], "no command worker looks"
        assert bench.job(command).state == "available"

    def test_a_barrier_that_waits_for_a_lock_holds_back_no_other_kind(self, bench: Bench) -> None:
        bench.enter("app", handlers=("a",))
        bench.add(queue="elsewhere", locks=(("gpu", 1),))
        assert len(bench.claim(worker="commands")) == 1
        bench.add(sequential=True, locks=(("gpu", 1),))
        function = add(bench, "a")
        assert bench.claimed(worker="app", handlers=("a",), commands=False) == [function]

    def test_commands_that_nobody_runs_hold_back_no_function(self, bench: Bench) -> None:
        bench.enter("app", handlers=("a",), keeper="")
        bench.add(sequential=True)
        function, alone = add(bench, "a"), add(bench, "a", sequential=True)
        for job in (function, alone):
            (lease,) = bench.claim(worker="app", handlers=("a",), commands=False)
            assert lease.job == job
            bench.end(lease)

    def test_however_many_queues_wait_for_others_what_can_start_is_found(self, bench: Bench) -> None:
        bench.enter("app", handlers=("a",))
        bench.enter("commands")
        for number in range(150):
            add(bench, "a", queue=f"q{number:03}", sequential=True)
            bench.add(queue=f"q{number:03}")
        command = bench.add(queue="zzz")
        assert bench.claimed(worker="commands", want=1) == [command]

    def test_a_worker_that_can_claim_nothing_may_leave_whatever_waits_for_others(self, bench: Bench) -> None:
        bench.enter("app", handlers=("a",))
        add(bench, "a")
        bench.add(sequential=True)
        bench.enter("commands")
        assert bench.claimed(worker="commands") == []
        assert bench.store.leave_if_idle("commands", now=bench.now)
        assert not bench.store.leave_if_idle("app", now=bench.now, handlers=("a",), commands=False)

    def test_a_job_of_nobodys_may_be_replayed_into_held(self, bench: Bench) -> None:
        job = add(bench, "a")
        bench.cancel(job)
        bench.replay(job, held={job: "ask"})
        assert (bench.job(job).state, bench.job(job).parked) == ("held", None)
        bench.approve(job)
        assert (bench.job(job).state, bench.job(job).parked) == ("available", "@a")
