"""claim: in order, in turn, within every limit, never the same claim twice."""

import pytest

from queue_core.jobs import Job, Outcome
from tests.conformance.builders import FAILURE, START, Bench, admission, settlement


class TestOrder:
    def test_first_in_is_first_out(self, bench: Bench) -> None:
        jobs = [bench.add() for _ in range(5)]
        assert bench.claimed(3) + bench.claimed(3) == jobs

    def test_a_higher_priority_goes_first(self, bench: Bench) -> None:
        low, normal = bench.add(priority="low"), bench.add()
        high, critical = bench.add(priority="high"), bench.add(priority="critical")
        assert bench.claimed() == [critical, high, normal, low]

    def test_a_retried_job_keeps_its_place_before_later_ones(self, bench: Bench) -> None:
        first = bench.add(retries=1)
        bench.run(first, FAILURE)
        later = bench.add()
        bench.tick(10)
        assert bench.claimed() == [first, later]

    def test_queues_take_turns_however_long_one_of_them_is(self, bench: Bench) -> None:
        long = [bench.add(queue="long") for _ in range(6)]
        short = [bench.add(queue="short") for _ in range(2)]
        got = [job for _ in range(4) for job in bench.claimed(1)]
        assert sorted(got) == sorted([*long[:2], *short])
        assert {got[0], got[1]} == {long[0], short[0]}

    def test_nothing_waiting_gives_nothing(self, bench: Bench) -> None:
        assert bench.claim() == []

    def test_no_more_than_wanted_is_handed_out(self, bench: Bench) -> None:
        for _ in range(5):
            bench.add()
        assert len(bench.claim(2)) == 2
        assert bench.claim(0) == []


class TestLease:
    def test_a_lease_carries_what_is_to_be_run(self, bench: Bench) -> None:
        job = bench.add("echo", "hi", queue="q", env={"A": "1"}, timeout=5.0, stdin=b"in", caller="hook")
        (lease,) = bench.claim()
        assert (lease.job, lease.queue, lease.argv, lease.env) == (job, "q", ("echo", "hi"), {"A": "1"})
        assert (lease.program, lease.executable, lease.cwd) == ("/bin/true", "/bin/true", "/")
        assert (lease.timeout, lease.stdin, lease.stdin_path) == (5.0, b"in", None)
        assert (lease.caller, lease.approved, lease.attempt, lease.claim) == ("hook", False, 1, 1)

    def test_the_job_says_who_runs_it_since_when(self, bench: Bench) -> None:
        job = bench.add()
        bench.tick(3)
        bench.claim(worker="w7", host="there")
        found = bench.job(job)
        assert (found.state, found.worker, found.keeper) == ("running", "w7", "keeper-of-w7")
        assert (found.host, found.started_at, found.attempt) == ("there", START + 3, 1)

    def test_claim_numbers_grow_and_are_never_used_again(self, bench: Bench) -> None:
        job = bench.add(retries=5, base=0.0)
        seen: list[int] = []
        for outcome in ("never_started", "interrupted"):
            lease = bench.claim_one(job)
            seen.append(lease.claim)
            bench.end(lease, Outcome(kind=outcome))
        for _ in range(3):
            lease = bench.claim_one(job)
            seen.append(lease.claim)
            bench.end(lease, FAILURE)
        bench.cancel(job)
        bench.replay(job)
        seen.append(bench.claim_one(job).claim)
        assert seen == sorted(set(seen))
        assert len(seen) == 6

    def test_tokens_are_asked_for_anew_for_every_claim(self, bench: Bench) -> None:
        for _ in range(3):
            bench.add()
        assert len({lease.token for lease in bench.claim()}) == 3

    def test_a_running_job_is_not_handed_out_again(self, bench: Bench) -> None:
        bench.add()
        assert len(bench.claim()) == 1
        assert bench.claim() == bench.claim(worker="w2") == []


class TestLimits:
    def test_a_queues_parallelism_holds_over_all_workers(self, bench: Bench) -> None:
        jobs = [bench.add(parallelism=3) for _ in range(5)]
        assert len(bench.claim(2, worker="w1")) == 2
        assert bench.claimed(5, worker="w2") == [jobs[2]]
        assert bench.claim(5, worker="w3") == []

    def test_a_place_is_free_again_when_a_job_ends(self, bench: Bench) -> None:
        jobs = [bench.add(parallelism=1) for _ in range(2)]
        (lease,) = bench.claim()
        bench.end(lease)
        assert bench.claimed() == [jobs[1]]

    def test_what_ended_makes_room_in_the_same_exchange(self, bench: Bench) -> None:
        jobs = [bench.add(parallelism=1) for _ in range(2)]
        (lease,) = bench.claim()
        states, leases = bench.exchange(settlement(lease))
        assert states == ["succeeded"]
        assert [lease.job for lease in leases] == [jobs[1]]

    def test_queues_have_places_of_their_own(self, bench: Bench) -> None:
        for queue in ("a", "b"):
            for _ in range(2):
                bench.add(queue=queue, parallelism=1)
        assert len(bench.claim()) == 2

    def test_a_host_runs_no_more_than_its_limit_over_all_queues(self, bench: Bench) -> None:
        for queue in ("a", "b", "c"):
            bench.add(queue=queue)
        assert len(bench.claim(worker="w1", max_running=2)) == 2
        assert bench.claim(worker="w2", max_running=2) == []

    def test_a_hosts_limit_that_is_stored_counts_before_the_claimers_own(self, bench: Bench) -> None:
        for _ in range(4):
            bench.add()
        bench.configure(max_running=3)
        assert len(bench.claim(max_running=1)) == 3
        assert bench.claim(max_running=9) == []

    def test_the_only_queue_starts_its_jobs_up_to_the_first_that_has_to_wait(self, bench: Bench) -> None:
        before = [bench.add(), bench.add()]
        barrier, after = bench.add(sequential=True), bench.add()
        leases = bench.claim(want=4)
        assert [lease.job for lease in leases] == before
        assert bench.claim(want=4) == []
        for lease in leases:
            bench.end(lease)
        alone = bench.claim(want=4)
        assert [lease.job for lease in alone] == [barrier]
        bench.end(alone[0])
        assert [lease.job for lease in bench.claim(want=4)] == [after]

    def test_jobs_before_one_with_a_lock_start_in_one_go_with_it(self, bench: Bench) -> None:
        jobs = [bench.add(), bench.add(locks=(("l", 1),)), bench.add(locks=(("l", 1),)), bench.add()]
        assert [lease.job for lease in bench.claim(want=4)] == [jobs[0], jobs[1], jobs[3]]

    def test_a_queue_that_was_alone_comes_after_one_that_was_not_served(self, bench: Bench) -> None:
        first = [bench.add(queue="a") for _ in range(4)]
        assert [lease.job for lease in bench.claim(want=2)] == first[:2]
        second = bench.add(queue="b")
        assert [lease.job for lease in bench.claim(want=2)] == [second, first[2]]

    def test_hosts_are_counted_apart(self, bench: Bench) -> None:
        for _ in range(4):
            bench.add()
        assert len(bench.claim(worker="w1", host="one", max_running=2)) == 2
        assert len(bench.claim(worker="w2", host="two", max_running=2)) == 2

    def test_a_stored_parallelism_counts_for_every_queue_but_those_with_their_own(self, bench: Bench) -> None:
        for queue in ("usual", "own"):
            for _ in range(4):
                bench.add(queue=queue, parallelism=4)
        bench.configure(parallelism=1, queues={"own": 3})
        leases = bench.claim()
        assert sorted(lease.queue for lease in leases) == ["own", "own", "own", "usual"]

    def test_a_queue_that_is_new_gets_the_stored_parallelism(self, bench: Bench) -> None:
        bench.configure(parallelism=2)
        for _ in range(4):
            bench.add(queue="new", parallelism=9)
        assert len(bench.claim()) == 2


class TestTime:
    def test_a_job_starts_when_it_is_due_and_not_a_moment_before(self, bench: Bench) -> None:
        job = bench.add(due_at=START + 10)
        bench.tick(9.999)
        assert bench.claim() == []
        assert bench.state(job) == "scheduled"
        bench.tick(0.001)
        assert bench.claimed() == [job]

    def test_due_jobs_take_their_place_by_priority_and_age(self, bench: Bench) -> None:
        early = bench.add(due_at=START + 5)
        late = bench.add(due_at=START + 1)
        ready = bench.add()
        urgent = bench.add(priority="high", due_at=START + 5)
        bench.tick(5)
        assert bench.claimed() == [urgent, early, late, ready]

    def test_many_jobs_that_fall_due_at_once_are_all_handed_out(self, bench: Bench) -> None:
        bench.submit(*[admission(due_at=START + 1)] * 700, parallelism=1000)
        bench.tick(1)
        first = bench.claim(1000)
        assert len(first) + len(bench.claim(1000)) == 700


class TestPolicyAtTheClaim:
    def ask(self, job: Job) -> str | None:
        return "a rule is gone" if "bad" in job.argv else None

    def test_an_agents_job_that_may_no_longer_run_is_held_and_the_next_one_starts(self, bench: Bench) -> None:
        bad, good = bench.add("bad", caller="agent"), bench.add("good", caller="agent")
        assert [lease.job for lease in bench.claim(may_run=self.ask)] == [good]
        assert (bench.state(bad), bench.job(bad).reason) == ("held", "a rule is gone")
        assert bench.job(bad).attempt == 0

    def test_whoever_is_asked_is_told_what_a_person_has_approved(self, bench: Bench) -> None:
        job, other = (bench.add("bad", caller="agent", held="ask") for _ in "ab")
        bench.approve(job)
        bench.tick(1)
        bench.approve(other)
        assert bench.claimed(may_run=lambda it: None if it.approved_at == START else "it has changed since") == [job]
        assert (bench.state(other), bench.job(other).reason) == ("held", "it has changed since")

    @pytest.mark.parametrize("caller", ["person", "hook"])
    def test_persons_and_hooks_jobs_are_not_asked_about(self, bench: Bench, caller: str) -> None:
        job = bench.add("bad", caller=caller)
        assert [lease.job for lease in bench.claim(may_run=self.ask)] == [job]

    def test_a_job_that_is_held_when_its_lock_was_free_at_last_wakes_the_next(self, bench: Bench) -> None:
        bench.add(locks=(("gpu", 1),))
        (holder,) = bench.claim()
        bench.add("bad", caller="agent", locks=(("gpu", 1),))
        next_one = bench.add("good", caller="agent", locks=(("gpu", 1),))
        assert bench.claim() == []
        bench.end(holder)
        assert [lease.job for lease in bench.claim(may_run=self.ask)] == [next_one]


class TestSequentialJobs:
    def test_it_starts_when_it_is_the_head_and_nothing_runs(self, bench: Bench) -> None:
        barrier = bench.add(sequential=True)
        assert bench.claimed() == [barrier]

    def test_nothing_of_its_queue_starts_beside_it(self, bench: Bench) -> None:
        barrier, later = bench.add(sequential=True), bench.add()
        assert bench.claimed() == [barrier]
        assert bench.claim(worker="w2") == []
        bench.add(priority="critical")
        assert bench.claim() == []
        assert bench.state(later) == "available"

    def test_other_queues_go_on_beside_it(self, bench: Bench) -> None:
        barrier, other = bench.add(sequential=True), bench.add(queue="other")
        assert sorted(bench.claimed()) == [barrier, other]

    def test_it_waits_for_those_that_run_and_holds_up_those_behind_it(self, bench: Bench) -> None:
        running = bench.add()
        (lease,) = bench.claim()
        barrier, behind = bench.add(sequential=True), bench.add()
        assert bench.claim() == []
        bench.end(lease)
        assert bench.claimed() == [barrier]
        assert bench.states(running, barrier, behind) == ["succeeded", "running", "available"]

    def test_those_before_it_start_and_it_does_not_start_beside_them(self, bench: Bench) -> None:
        before, barrier = bench.add(), bench.add(sequential=True)
        assert bench.claimed() == [before]
        assert bench.state(barrier) == "available"

    def test_the_queue_goes_on_when_it_has_ended(self, bench: Bench) -> None:
        barrier, *rest = bench.add(sequential=True), bench.add(), bench.add()
        bench.run(barrier)
        assert bench.claimed() == rest

    def test_two_of_them_run_one_after_the_other(self, bench: Bench) -> None:
        first, second = bench.add(sequential=True), bench.add(sequential=True)
        (lease,) = bench.claim()
        assert (lease.job, bench.claim()) == (first, [])
        bench.end(lease)
        assert bench.claimed() == [second]

    def test_a_newcomer_of_higher_priority_goes_before_a_waiting_one(self, bench: Bench) -> None:
        bench.add()
        bench.claim()
        barrier = bench.add(sequential=True)
        assert bench.claim() == []
        newcomer = bench.add(priority="high")
        assert bench.claimed() == [newcomer]
        assert bench.state(barrier) == "available"

    def test_it_is_passed_over_while_it_backs_off(self, bench: Bench) -> None:
        barrier = bench.add(sequential=True, retries=1)
        bench.run(barrier, FAILURE)
        behind = bench.add()
        (lease,) = bench.claim()
        assert lease.job == behind
        bench.tick(10)
        assert bench.claim() == []
        bench.end(lease)
        assert bench.claimed() == [barrier]

    def test_it_is_passed_over_while_it_waits_for_a_lock(self, bench: Bench) -> None:
        bench.add(queue="other", locks=(("gpu", 1),))
        (holder,) = bench.claim()
        barrier, behind = bench.add(sequential=True, locks=(("gpu", 1),)), bench.add()
        (lease,) = bench.claim()
        assert lease.job == behind
        bench.end(holder)
        assert bench.claim() == []
        bench.end(lease)
        assert bench.claimed() == [barrier]

    def test_while_it_waits_for_others_to_end_it_does_not_take_its_lock(self, bench: Bench) -> None:
        bench.add()
        bench.claim()
        bench.add(sequential=True, locks=(("gpu", 1),))
        assert bench.claim() == []
        other = bench.add(queue="other", locks=(("gpu", 1),))
        assert bench.claimed() == [other]

    def test_a_cancelled_one_holds_nobody_up(self, bench: Bench) -> None:
        bench.add()
        bench.claim()
        barrier, behind = bench.add(sequential=True), bench.add()
        assert bench.claim() == []
        bench.cancel(barrier)
        assert bench.claimed() == [behind]

    def test_many_waiting_ones_keep_no_other_queue_from_its_turn(self, bench: Bench) -> None:
        for number in range(70):
            bench.add(queue=f"q{number}")
        bench.claim(100)
        for number in range(70):
            bench.add(queue=f"q{number}", sequential=True)
        free = bench.add(queue="free")
        assert bench.claimed(1) == [free]
