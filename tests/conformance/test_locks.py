"""Locks: named, with a capacity, over all queues; who waits for one holds nobody up and is not forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_core.model import PRIORITIES
from tests import claims
from tests.conformance.builders import FAILURE, Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.jobs import Job, Lease
    from queue_core.store import Store

GPU = (("gpu", 1),)
BOTH = (("gpu", 1), ("disk", 1))


class TestOneLock:
    def test_a_job_that_names_no_capacity_leaves_the_locks_own(self, bench: Bench) -> None:
        bench.add(locks=(("gpu", 2),))
        bench.add(locks=(("gpu", None),))
        assert len(bench.claim()) == 2

    def test_a_new_lock_without_a_capacity_has_room_for_one(self, bench: Bench) -> None:
        bench.add(locks=(("gpu", None),))
        bench.add(locks=(("gpu", None),))
        assert len(bench.claim()) == 1

    def test_a_lock_is_held_by_one_job_at_a_time_over_all_queues(self, bench: Bench) -> None:
        for queue in ("a", "b", "a"):
            bench.add(queue=queue, locks=GPU)
        assert len(bench.claim()) == 1
        assert bench.claim(worker="w2") == []

    def test_its_capacity_says_how_many_may_hold_it(self, bench: Bench) -> None:
        for queue in ("a", "b", "a", "b"):
            bench.add(queue=queue, locks=(("gpu", 3),))
        assert len(bench.claim()) == 3

    def test_the_next_one_wakes_when_it_is_let_go(self, bench: Bench) -> None:
        first, second = bench.add(locks=GPU), bench.add(locks=GPU)
        (lease,) = bench.claim()
        assert lease.job == first
        bench.end(lease)
        assert bench.claimed() == [second]

    def test_a_failed_attempt_lets_go_of_it(self, bench: Bench) -> None:
        first, second = bench.add(locks=GPU, retries=1), bench.add(locks=GPU)
        bench.run(first, FAILURE)
        assert bench.claimed() == [second]

    def test_who_waits_for_it_holds_nobody_up(self, bench: Bench) -> None:
        bench.add(locks=GPU)
        bench.claim()
        bench.add(locks=GPU, priority="critical")
        plain = bench.add()
        assert bench.claimed() == [plain]

    def test_a_waiting_job_says_for_which_lock(self, bench: Bench) -> None:
        bench.add(locks=GPU)
        waiting = bench.add(locks=GPU)
        bench.claim()
        assert (bench.job(waiting).state, bench.job(waiting).parked) == ("available", "gpu")

    def test_those_that_wait_get_it_in_their_order(self, bench: Bench) -> None:
        bench.add(locks=GPU)
        (lease,) = bench.claim()
        low, normal = bench.add(locks=GPU, priority="low"), bench.add(locks=GPU)
        assert bench.claim() == []
        bench.end(lease)
        (lease,) = bench.claim()
        assert lease.job == normal
        bench.end(lease)
        assert bench.claimed() == [low]

    def test_when_the_one_that_was_woken_is_cancelled_the_next_wakes(self, bench: Bench) -> None:
        bench.add(locks=GPU)
        woken, next_one = bench.add(locks=GPU), bench.add(locks=GPU)
        (lease,) = bench.claim()
        bench.end(lease)
        bench.cancel(woken)
        assert bench.claimed() == [next_one]

    def test_a_waiting_one_can_be_cancelled(self, bench: Bench) -> None:
        bench.add(locks=GPU)
        waiting, last = bench.add(locks=GPU), bench.add(locks=GPU)
        (lease,) = bench.claim()
        bench.cancel(waiting)
        bench.end(lease)
        assert bench.claimed() == [last]

    def test_a_paused_queue_that_was_woken_keeps_it_from_nobody(self, bench: Bench) -> None:
        bench.add(queue="holder", locks=GPU)
        (lease,) = bench.claim()
        bench.add(queue="paused", locks=GPU)
        other = bench.add(queue="other", locks=GPU)
        assert bench.claim() == []
        bench.pause("paused")
        bench.end(lease)
        assert bench.claimed() == [other]

    def test_naming_it_twice_is_naming_it_once(self, bench: Bench) -> None:
        bench.add(locks=(("gpu", 2), ("gpu", 2)))
        bench.add(locks=(("gpu", 2),))
        assert len(bench.claim()) == 2

    def test_more_room_wakes_those_that_wait(self, bench: Bench) -> None:
        bench.add(locks=GPU)
        waiting = [bench.add(locks=GPU) for _ in range(2)]
        assert len(bench.claim()) == 1
        newcomer = bench.add(locks=(("gpu", 3),))
        assert bench.claimed(1) == waiting[:1]
        assert bench.claimed() == waiting[1:]
        assert bench.state(newcomer) == "available"

    def test_less_room_lets_those_that_hold_it_end_first(self, bench: Bench) -> None:
        for _ in range(2):
            bench.add(locks=(("gpu", 2),))
        leases = bench.claim()
        last = bench.add(locks=GPU)
        assert bench.claim() == []
        bench.end(leases[0])
        assert bench.claim() == []
        bench.end(leases[1])
        assert bench.claimed() == [last]


class TestTwoLocks:
    def test_a_job_starts_only_with_both(self, bench: Bench) -> None:
        bench.add(locks=(("disk", 1),))
        (disk,) = bench.claim()
        both = bench.add(locks=BOTH)
        assert bench.claim() == []
        bench.end(disk)
        assert bench.claimed() == [both]

    def test_while_it_waits_for_one_others_have_the_other(self, bench: Bench) -> None:
        bench.add(locks=(("disk", 1),))
        bench.claim()
        bench.add(locks=BOTH)
        gpu = bench.add(locks=GPU)
        assert bench.claimed() == [gpu]

    def test_one_that_was_woken_for_one_but_lacks_the_other_lets_the_next_try(self, bench: Bench) -> None:
        bench.add(queue="a", locks=GPU)
        bench.add(queue="b", locks=(("disk", 1),))
        leases = {lease.queue: lease for lease in bench.claim()}
        both, gpu = bench.add(locks=BOTH), bench.add(locks=GPU)
        assert bench.claim() == []
        bench.end(leases["a"])
        assert bench.claimed() == [gpu]
        assert bench.job(both).parked is not None

    def test_the_order_in_which_they_are_named_does_not_matter(self, bench: Bench) -> None:
        bench.add(locks=BOTH)
        bench.add(locks=tuple(reversed(BOTH)))
        (first,) = bench.claim()
        bench.end(first)
        assert len(bench.claim()) == 1


# What follows does as many things as chance will have it and asks the same question after each.

CAPACITIES = {"a": 1, "b": 2}
STEPS = st.one_of(
    st.tuples(
        st.just("add"),
        st.sampled_from(["x", "y"]),
        st.sampled_from(PRIORITIES),
        st.sampled_from([(), ("a",), ("b",), ("a", "b"), ("b", "a")]),
        st.integers(0, 5).map(lambda n: n == 0),
    ),
    st.tuples(st.just("claim"), st.integers(1, 3)),
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from(["success", "failure", "interrupted"])),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("pause"), st.sampled_from(["x", "y"]), st.booleans()),
    st.tuples(st.just("tick")),
)


class Play:
    """Carries random steps out on a bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.leases: list[Lease] = []

    def step(self, step: tuple[Any, ...]) -> None:
        getattr(self, f"_{step[0]}")(*step[1:])

    def _add(self, queue: str, priority: str, locks: tuple[str, ...], sequential: bool) -> None:
        wanted = tuple((name, CAPACITIES[name]) for name in locks)
        fields: dict[str, Any] = {"queue": queue, "priority": priority, "sequential": sequential}
        self.bench.add(locks=wanted, retries=1, parallelism=3, **fields)

    def _claim(self, want: int) -> None:
        self.leases += self.bench.claim(want)

    def _end(self, which: int, how: str) -> None:
        from queue_core.jobs import Outcome

        if self.leases:
            lease = self.leases.pop(which % len(self.leases))
            kinds = {"success": Outcome(kind="exited", exit_code=0), "failure": FAILURE}
            self.bench.end(lease, kinds.get(how, Outcome(kind="interrupted")))

    def _cancel(self, which: int) -> None:
        waiting = [job.id for job in self.bench.everything() if job.state in ("available", "scheduled")]
        if waiting:
            self.bench.cancel(waiting[which % len(waiting)])

    def _pause(self, queue: str, paused: bool) -> None:
        self.bench.pause(queue, paused=paused)

    def _tick(self) -> None:
        self.bench.tick(10)


def used(jobs: list[Job]) -> dict[str, int]:
    running = [job for job in jobs if job.state == "running"]
    return {name: sum(name in job.locks for job in running) for name in CAPACITIES}


def runnable(bench: Bench) -> list[int]:
    """The jobs that ought to have been claimed by somebody who wanted everything, in our own words."""
    jobs = bench.everything()
    taken = used(jobs)
    found: list[int] = []
    for queue in bench.store.queues():
        running = [job for job in jobs if job.queue == queue.name and job.state == "running"]
        if queue.paused or len(running) >= queue.slots or any(job.sequential for job in running):
            continue
        waiting = [job for job in jobs if job.queue == queue.name and job.state == "available"]
        for job in sorted(waiting, key=lambda job: (PRIORITIES.index(job.priority), job.id)):
            if any(taken[name] >= CAPACITIES[name] for name in job.locks):
                continue
            if not (job.sequential and running):
                found.append(job.id)
            break
    return found


@pytest.mark.claim("order")
@settings(max_examples=100 if claims.THOROUGH else 40)
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
def test_no_runnable_job_waits_and_no_limit_is_passed(open_store: Callable[[], Store], steps: list[Any]) -> None:
    bench = Bench(open_store())
    play = Play(bench)
    for step in steps:
        play.step(step)
        jobs = bench.everything()
        assert all(count <= CAPACITIES[name] for name, count in used(jobs).items())
        for queue in bench.store.queues():
            running = [job for job in jobs if job.queue == queue.name and job.state == "running"]
            assert len(running) <= queue.slots
            assert len(running) == 1 or not any(job.sequential for job in running)
    play.step(("claim", 100))
    assert runnable(bench) == []
    assert bench.counters() == bench.recount()
