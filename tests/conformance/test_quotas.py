"""Quotas: how many jobs of a project or a session may wait, and how many may start within a minute."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from queue_core.errors import QueueFull, QuotaFull
from queue_core.jobs import Outcome
from queue_core.model import Origin
from queue_core.quotas import QueueLimits, Quotas
from tests.conformance.builders import START, Bench, admission, settlement

if TYPE_CHECKING:
    from queue_core.jobs import Lease
    from queue_core.model import Admission, Caller
    from queue_core.store import Store

BOTH = Quotas(project=3, session=2)


def asked(
    session: str | None = "s1", project: str | None = "/p", caller: Caller = "agent", **more: object
) -> Admission:
    return admission(origin=Origin(caller=caller, session=session, project=project), **more)


class TestWaiting:
    @pytest.mark.parametrize("caller", ["agent", "hook", "person"])
    def test_a_session_may_have_so_many_jobs_waiting_and_no_more(self, bench: Bench, caller: Caller) -> None:
        bench.submit(asked(caller=caller), asked(caller=caller), quotas=BOTH)
        with pytest.raises(QuotaFull, match="this session has 2 waiting jobs, which is its quota"):
            bench.submit(asked(caller=caller), quotas=BOTH)
        bench.submit(asked(caller=caller, session="s2"), quotas=BOTH)
        assert len(bench.everything()) == 3

    def test_a_project_may_have_so_many_over_all_its_sessions(self, bench: Bench) -> None:
        for session in ("s1", "s2", "s3"):
            bench.submit(asked(session), quotas=BOTH)
        with pytest.raises(QuotaFull, match=r"this project has 3 waiting jobs.*`project_capacity`"):
            bench.submit(asked("s4"), quotas=BOTH)
        bench.submit(asked("s4", project="/q"), quotas=BOTH)

    def test_it_is_a_full_queue_to_whoever_asks_in_general(self) -> None:
        assert issubclass(QuotaFull, QueueFull) and QuotaFull.exit_code == 1

    def test_whoever_has_neither_session_nor_project_has_no_quota(self, bench: Bench) -> None:
        bench.submit(*[asked(None, None)] * 9, quotas=BOTH)
        assert len(bench.everything()) == 9

    def test_a_batch_counts_as_a_whole_all_or_none(self, bench: Bench) -> None:
        bench.submit(asked(), quotas=BOTH)
        with pytest.raises(QuotaFull, match="has 1 waiting job, and 2 more would exceed its quota of 2"):
            bench.submit(asked(), asked(), quotas=BOTH)
        assert len(bench.everything()) == 1
        bench.submit(asked(), quotas=BOTH)

    def test_what_is_there_already_by_its_unique_key_takes_no_more_room(self, bench: Bench) -> None:
        bench.submit(asked(unique="k"), asked(), quotas=BOTH)
        (receipt,) = bench.submit(asked(unique="k"), quotas=BOTH)
        assert receipt.existing
        with pytest.raises(QuotaFull):
            bench.submit(asked(unique="k"), asked(), quotas=BOTH)

    def test_one_key_twice_in_a_batch_is_one_job(self, bench: Bench) -> None:
        bench.submit(asked(), quotas=BOTH)
        first, second = bench.submit(asked(unique="k"), asked(unique="k"), quotas=BOTH)
        assert first.id == second.id

    def test_waiting_jobs_of_every_kind_count_and_running_and_ended_ones_do_not(self, bench: Bench) -> None:
        done, runs = (bench.submit(asked(), quotas=BOTH)[0].id for _ in range(2))
        leases = {lease.job: lease for lease in bench.claim()}
        bench.end(leases[done])
        bench.submit(asked(held="ask"), asked(due_at=START + 60), quotas=BOTH)
        with pytest.raises(QuotaFull):
            bench.submit(asked(after=(runs,)), quotas=BOTH)

    def test_what_others_have_waiting_is_counted_with_it_but_not_refused_for_it(self, bench: Bench) -> None:
        """Persons' and hooks' schedules, escalations and the spool bring what has been accepted before."""
        bench.submit(asked(), asked(), quotas=BOTH)
        bench.submit(asked(schedule="nightly", caller="person"), quotas=BOTH)
        bench.submit(asked(escalated_from=1), quotas=BOTH)
        bench.submit(asked(spool_id="s#0"), quotas=BOTH)
        with pytest.raises(QuotaFull, match="this session has 5 waiting jobs"):
            bench.submit(asked(), quotas=BOTH)

    def test_an_agents_schedule_is_no_way_around_them(self, bench: Bench) -> None:
        bench.submit(asked(), asked(), quotas=BOTH)
        with pytest.raises(QuotaFull, match="this session has 2 waiting jobs"):
            bench.submit(asked(schedule="nightly"), quotas=BOTH)

    def test_without_a_quota_there_is_none(self, bench: Bench) -> None:
        bench.submit(*[asked()] * 9)
        bench.submit(*[asked()] * 9, quotas=Quotas())
        assert len(bench.everything()) == 18


def limited(bench: Bench, starts: int | None = 3, *, of_all: int | None = None) -> None:
    bench.configure(starts_per_minute=of_all, queues={"api": QueueLimits(starts_per_minute=starts)})


def ended(bench: Bench, leases: list[Lease]) -> list[Lease]:
    bench.settle(*(settlement(lease) for lease in leases))
    return leases


def queue_of(bench: Bench, name: str = "api"):
    return next(queue for queue in bench.store.queues() if queue.name == name)


class TestStartsOfAQueue:
    def test_no_more_start_than_may_and_it_rests_until_the_oldest_is_a_minute_old(self, bench: Bench) -> None:
        limited(bench)
        for _ in range(9):
            bench.add(queue="api")
        assert len(ended(bench, bench.claim(2))) == 2
        bench.tick(10)
        assert len(ended(bench, bench.claim())) == 1
        assert queue_of(bench).rests_until == START + 60
        bench.now = START + 59.999
        assert bench.claimed() == []
        bench.now = START + 60
        assert len(ended(bench, bench.claim())) == 2
        assert queue_of(bench).rests_until == START + 70
        bench.now = START + 70
        assert len(bench.claim()) == 1

    def test_the_order_of_its_jobs_stays_as_it_was(self, bench: Bench) -> None:
        limited(bench, 1)
        jobs = [bench.add(queue="api", priority=priority) for priority in ("low", "normal", "critical", "normal")]
        started: list[int] = []
        for _ in jobs:
            started += [lease.job for lease in ended(bench, bench.claim())]
            bench.tick(60)
        assert started == [jobs[2], jobs[1], jobs[3], jobs[0]]

    def test_while_it_rests_it_is_no_backlog_and_the_end_of_its_rest_is_the_next_thing_due(self, bench: Bench) -> None:
        limited(bench, 1)
        bench.add(queue="api"), bench.add(queue="api")
        assert bench.store.claimable(bench.now)
        ended(bench, bench.claim())
        assert not bench.store.claimable(bench.now + 59)
        assert bench.store.next_due(bench.now + 59) == START + 60
        assert bench.store.claimable(START + 60)
        bench.enter("w2")
        assert bench.store.leave_if_idle("w2", now=bench.now + 59)
        bench.enter("w3")
        assert not bench.store.leave_if_idle("w3", now=START + 60)

    def test_what_falls_due_while_it_rests_is_no_backlog_either(self, bench: Bench) -> None:
        limited(bench, 1)
        bench.add(queue="api"), bench.add(queue="api", due_at=START + 5)
        ended(bench, bench.claim())
        assert bench.store.next_due(START) == START + 5
        assert not bench.store.claimable(START + 5)
        assert bench.store.next_due(START + 5) == START + 60
        assert bench.store.claimable(START + 60)

    def test_others_are_not_held_up_by_it(self, bench: Bench) -> None:
        limited(bench, 1)
        for _ in range(3):
            bench.add(queue="api")
        ended(bench, bench.claim())
        other = bench.add(queue="other")
        assert bench.claimed() == [other]
        assert queue_of(bench, "other").starts_per_minute is None

    def test_every_claim_is_a_start_whatever_becomes_of_it(self, bench: Bench) -> None:
        limited(bench, 2)
        bench.add(queue="api", retries=5)
        bench.settle(settlement(bench.claim()[0], Outcome(kind="interrupted")))
        bench.settle(settlement(bench.claim()[0], Outcome(kind="never_started")))
        assert bench.claimed() == []
        bench.tick(60)
        assert len(bench.claim()) == 1

    def test_two_limited_queues_count_each_for_itself(self, bench: Bench) -> None:
        bench.configure(queues={"a": QueueLimits(starts_per_minute=1), "b": QueueLimits(starts_per_minute=2)})
        for queue in "aabbb":
            bench.add(queue=queue)
        assert sorted(lease.queue for lease in bench.claim()) == ["a", "b", "b"]

    def test_a_rest_does_not_outlast_a_minute_if_the_clock_is_set_back(self, bench: Bench) -> None:
        limited(bench, 2)
        for _ in range(4):
            bench.add(queue="api")
        ended(bench, bench.claim())
        bench.now = START - 3600
        assert bench.store.next_due(bench.now) == bench.now + 60
        assert bench.claimed() == []
        assert queue_of(bench).rests_until == bench.now + 60
        bench.tick(59)
        assert bench.claimed() == []
        bench.tick(1)
        assert len(bench.claim()) == 2
        assert queue_of(bench).rests_until == bench.now + 60

    def test_somebody_comes_to_look_at_such_a_rest_even_if_no_worker_is_up(self, bench: Bench) -> None:
        limited(bench, 1)
        bench.add(queue="api"), bench.add(queue="api")
        ended(bench, bench.claim())
        bench.now = START - 3600
        assert bench.store.claimable(bench.now)
        bench.claim()
        assert not bench.store.claimable(bench.now)

    def test_starts_that_the_clock_puts_into_the_future_count_as_of_now(self, bench: Bench) -> None:
        limited(bench, 2)
        for _ in range(5):
            bench.add(queue="api")
        ended(bench, bench.claim(1))
        bench.now = START - 3600
        ended(bench, bench.claim(1))
        assert bench.claimed() == []
        bench.tick(60)
        assert len(bench.claim()) == 2


class TestStartsOfAll:
    def test_all_queues_share_one_limit_and_take_turns_within_it(self, bench: Bench) -> None:
        bench.configure(starts_per_minute=4)
        for queue in "aaaabbbb":
            bench.add(queue=queue)
        assert sorted(lease.queue for lease in ended(bench, bench.claim())) == ["a", "a", "b", "b"]
        assert bench.claimed() == []
        bench.tick(60)
        assert len(bench.claim()) == 4

    def test_while_all_rest_nothing_is_claimable_and_the_end_of_it_is_due(self, bench: Bench) -> None:
        bench.configure(starts_per_minute=1)
        bench.add(), bench.add(queue="other")
        ended(bench, bench.claim())
        assert bench.store.rest_of_all() == START + 60
        assert not bench.store.claimable(START + 59)
        assert bench.store.next_due(START + 59) == START + 60
        assert bench.store.claimable(START + 60)
        bench.enter("w2")
        assert bench.store.leave_if_idle("w2", now=START + 59)

    def test_the_smaller_of_both_limits_holds(self, bench: Bench) -> None:
        limited(bench, 1, of_all=3)
        for queue in ("api", "api", "x", "x", "x"):
            bench.add(queue=queue)
        assert sorted(lease.queue for lease in bench.claim()) == ["api", "x", "x"]

    def test_a_clock_that_was_set_back_lets_all_rest_for_a_minute_at_most(self, bench: Bench) -> None:
        bench.configure(starts_per_minute=1)
        bench.add(), bench.add()
        ended(bench, bench.claim())
        bench.now = START - 3600
        assert bench.store.next_due(bench.now) == bench.now + 60
        assert bench.store.claimable(bench.now)
        assert bench.claimed() == []
        assert not bench.store.claimable(bench.now + 59)
        bench.tick(60)
        assert len(bench.claim()) == 1


class TestConfiguring:
    def test_the_limits_are_stored_and_read_by_all(self, bench: Bench) -> None:
        limited(bench, 7, of_all=9)
        assert bench.store.limits() == {"starts_per_minute": 9}
        assert queue_of(bench).starts_per_minute == 7

    def test_without_the_setting_a_worker_that_comes_alone_takes_the_limits_away(self, bench: Bench) -> None:
        limited(bench, 1, of_all=2)
        for _ in range(4):
            bench.add(queue="api")
        ended(bench, bench.claim())
        bench.configure(starts_per_minute=None)
        assert (queue_of(bench).starts_per_minute, queue_of(bench).rests_until) == (None, None)
        assert (bench.store.limits(), bench.store.rest_of_all()) == ({}, None)
        assert len(bench.claim()) == 3

    def test_one_that_says_nothing_of_it_leaves_them_as_they_are(self, bench: Bench) -> None:
        limited(bench, 1, of_all=2)
        bench.add(queue="api"), bench.add(queue="api")
        ended(bench, bench.claim())
        bench.configure(parallelism=7)
        assert bench.claimed() == []
        assert bench.store.limits() == {"parallelism": 7, "starts_per_minute": 2}

    def test_a_limit_that_is_raised_or_lowered_counts_what_has_started_already(self, bench: Bench) -> None:
        limited(bench, 2)
        for _ in range(9):
            bench.add(queue="api")
        ended(bench, bench.claim())
        bench.tick(10)
        limited(bench, 3)
        assert len(ended(bench, bench.claim())) == 1
        limited(bench, 1)
        assert queue_of(bench).rests_until == START + 70
        bench.now = START + 69
        assert bench.claimed() == []
        bench.now = START + 70
        assert len(bench.claim()) == 1

    def test_a_queue_may_have_both_limits_and_one_leaves_the_other_as_usual(self, bench: Bench) -> None:
        bench.configure(
            parallelism=4,
            queues={"both": QueueLimits(parallelism=2, starts_per_minute=5), "api": QueueLimits(starts_per_minute=9)},
        )
        both, api = queue_of(bench, "both"), queue_of(bench)
        assert (both.slots, both.starts_per_minute) == (2, 5)
        assert (api.slots, api.starts_per_minute) == (4, 9)


@pytest.mark.parametrize("of_all", [True, False], ids=["over all queues", "of one queue"])
@pytest.mark.parametrize("seed", range(3))
def test_never_more_than_allowed_start_within_any_minute_however_many_processes_claim(
    store: Store, of_all: bool, seed: int
) -> None:
    """Two workers at odd times: no window of 60 s ever holds more, and none waits longer than it has to."""
    chance = random.Random(seed)
    most = chance.randint(1, 6)
    workers = [Bench(store), Bench(store)]
    first = workers[0]
    own = {} if of_all else {"api": QueueLimits(starts_per_minute=most)}
    first.configure(starts_per_minute=most if of_all else None, queues=own)
    for number in range(120):
        first.add(queue="api" if not of_all else f"q{number % 3}")
    now, starts = START, []
    while len(starts) < 60:
        worker, name = chance.choice([(workers[0], "w1"), (workers[1], "w2")])
        worker.now = now
        could = most - sum(at + 60 > now for at in starts)
        want = chance.randint(1, 4)
        leases = ended(worker, worker.claim(want, worker=name))
        assert len(leases) == min(want, could)
        starts += [now] * len(leases)
        due = store.next_due(now)
        assert due is None or now < due <= now + 60
        now = due if due is not None and chance.random() < 0.5 else now + chance.choice([0.0, 0.1, 7.3, 31.7])
    for at in starts:
        assert sum(at <= other < at + 60 for other in starts) <= most
