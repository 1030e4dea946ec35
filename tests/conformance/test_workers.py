"""register, leave, forget, take over: who claims, and whose claims are whose."""

from __future__ import annotations

import pytest

from queue_core.quotas import QueueLimits
from queue_core.value import replace
from tests.conformance.builders import START, Bench, settlement


def ids(bench: Bench) -> list[str]:
    return [worker.id for worker in bench.store.workers()]


class TestRegister:
    def test_a_worker_is_listed_with_what_it_said(self, bench: Bench) -> None:
        bench.store.register(
            "w1",
            pid=77,
            host="here",
            keeper="k1",
            booted_by="session",
            version="1.2",
            now=START,
            limits={"parallelism": 3, "max_running": 5},
            queues={"own": QueueLimits(parallelism=2)},
        )
        (worker,) = bench.store.workers()
        assert (worker.id, worker.pid, worker.host, worker.keeper) == ("w1", 77, "here", "k1")
        assert (worker.version, worker.started_at, bool(worker.claiming)) == ("1.2", START, True)
        assert bench.store.limits() == {"parallelism": 3, "max_running": 5}
        assert {queue.name: queue.slots for queue in bench.store.queues()} == {"own": 2}

    def test_the_latest_limits_count(self, bench: Bench) -> None:
        bench.configure(parallelism=3, queues={"own": 2})
        bench.configure(parallelism=5, queues={"own": 7})
        bench.add(queue="usual", parallelism=1)
        assert {queue.name: queue.slots for queue in bench.store.queues()} == {"own": 7, "usual": 5}

    def test_a_new_default_leaves_a_queues_own_places_alone(self, bench: Bench) -> None:
        bench.configure(queues={"own": 3})
        bench.add(queue="usual", parallelism=9)
        bench.configure(parallelism=1, queues={"own": 3})
        assert {queue.name: queue.slots for queue in bench.store.queues()} == {"own": 3, "usual": 1}

    def test_a_queue_that_no_setting_names_any_more_has_the_default_again(self, bench: Bench) -> None:
        bench.configure(queues={"own": 3})
        bench.configure(parallelism=5)
        assert {queue.name: queue.slots for queue in bench.store.queues()} == {"own": 5}

    def test_no_limit_is_stored_unasked(self, bench: Bench) -> None:
        bench.enter("w1")
        assert bench.store.limits() == {}

    def test_workers_are_listed_in_the_order_they_came(self, bench: Bench) -> None:
        for worker in ("w2", "w1", "w3"):
            bench.enter(worker)
            bench.tick(1)
        assert ids(bench) == ["w2", "w1", "w3"]


class TestLeaving:
    def test_a_worker_that_only_ends_what_it_has_says_so(self, bench: Bench) -> None:
        bench.enter("w1")
        bench.store.stop_claiming("w1")
        assert [bool(worker.claiming) for worker in bench.store.workers()] == [False]

    def test_a_worker_that_is_gone_is_not_listed(self, bench: Bench) -> None:
        bench.enter("w1"), bench.enter("w2")
        bench.store.deregister("w1")
        assert ids(bench) == ["w2"]

    def test_dead_ones_are_forgotten_in_one_go(self, bench: Bench) -> None:
        for worker in ("w1", "w2", "w3"):
            bench.enter(worker)
        bench.store.forget_workers(["w1", "w3", "w9"])
        assert ids(bench) == ["w2"]

    def test_an_idle_worker_leaves(self, bench: Bench) -> None:
        bench.enter("w1")
        assert bench.store.leave_if_idle("w1", now=bench.now)
        assert ids(bench) == []

    def test_not_while_there_is_something_to_claim(self, bench: Bench) -> None:
        bench.enter("w1")
        bench.add()
        assert not bench.store.leave_if_idle("w1", now=bench.now)
        assert ids(bench) == ["w1"]

    def test_nor_when_something_has_just_fallen_due(self, bench: Bench) -> None:
        bench.enter("w1")
        bench.add(due_at=START + 5)
        assert not bench.store.leave_if_idle("w1", now=START + 5)

    def test_what_is_due_later_held_blocked_or_paused_keeps_nobody(self, bench: Bench) -> None:
        bench.enter("w1")
        waits_long = bench.add(due_at=START + 5)
        bench.add(held="ask"), bench.add(after=(waits_long,))
        bench.pause("paused")
        bench.add(queue="paused")
        assert bench.store.leave_if_idle("w1", now=bench.now)

    def test_many_paused_jobs_that_fell_due_do_not_hide_the_one_that_can_run(self, bench: Bench) -> None:
        from tests.conformance.builders import admission

        bench.enter("w1")
        bench.pause("paused")
        bench.submit(*[admission(queue="paused", due_at=START + 1)] * 600)
        bench.add(due_at=START + 2)
        assert not bench.store.leave_if_idle("w1", now=START + 5)


class TestTakingOver:
    def test_a_claim_becomes_another_workers_and_keeps_its_fence(self, bench: Bench) -> None:
        job = bench.add()
        (lease,) = bench.claim(worker="dead")
        assert bench.store.take_over(bench.store.running(), "heir") == [(job, lease.claim)]
        (claim,) = bench.store.running()
        assert (claim.worker, claim.keeper, claim.token) == ("heir", "keeper-of-dead", lease.token)
        assert bench.settle(settlement(lease)) == ["succeeded"]

    def test_what_is_no_longer_running_is_left_out(self, bench: Bench) -> None:
        first, second = bench.add(), bench.add()
        leases = bench.claim(worker="dead")
        orphans = bench.store.running()
        bench.end(leases[0])
        assert bench.store.take_over(orphans, "heir") == [(second, 1)]
        assert bench.state(first) == "succeeded"

    def test_of_two_heirs_one_gets_it(self, bench: Bench) -> None:
        job = bench.add()
        bench.claim(worker="dead")
        orphans = bench.store.running()
        assert bench.store.take_over(orphans, "heir") == [(job, 1)]
        assert bench.store.take_over(orphans, "other") == []
        assert [claim.worker for claim in bench.store.running()] == ["heir"]

    @pytest.mark.parametrize("wrong", [{"token": "other"}, {"claim": 2}, {"job": 999}, {"worker": "alive"}])
    def test_a_wrong_claim_takes_nothing(self, bench: Bench, wrong: dict[str, object]) -> None:
        bench.add()
        bench.claim(worker="dead")
        (orphan,) = bench.store.running()
        assert bench.store.take_over([replace(orphan, **wrong)], "heir") == []
        assert [claim.worker for claim in bench.store.running()] == ["dead"]
