"""settle: the one exit from running, fenced; what follows from each outcome, and who is told."""

from __future__ import annotations

import pytest

from queue_core.jobs import Outcome
from tests.conformance.builders import FAILURE, START, SUCCESS, Bench, exited, settlement

FAILING = [
    exited(3),
    Outcome(kind="signalled", signal=9),
    Outcome(kind="timed_out", signal=15),
    Outcome(kind="timed_out", exit_code=0),
    Outcome(kind="cancelled", signal=15),
    Outcome(kind="lost"),
]
UNCOUNTED = [Outcome(kind="interrupted", signal=15), Outcome(kind="never_started")]


def name_of(outcome: Outcome) -> str:
    return f"{outcome.kind}-{outcome.exit_code}-{outcome.signal}"


class TestFence:
    @pytest.mark.parametrize("wrong", [{"claim": 2}, {"claim": 0}, {"token": "other"}, {"token": ""}, {"job": 999}])
    def test_a_result_of_another_claim_changes_nothing(self, bench: Bench, wrong: dict[str, object]) -> None:
        job = bench.add(locks=(("gpu", 1),))
        lease = bench.claim_one(job)
        before = bench.job(job)
        assert bench.settle(settlement(lease, **wrong)) == [None]
        assert bench.job(job) == before
        assert bench.end(lease) == "succeeded"

    def test_a_result_counts_once(self, bench: Bench) -> None:
        job = bench.add()
        lease = bench.claim_one(job)
        assert bench.end(lease, exited(0, tail=b"first")) == "succeeded"
        before = bench.job(job)
        assert bench.end(lease, FAILURE) is None
        assert bench.job(job) == before

    def test_the_same_result_twice_in_one_call_counts_once(self, bench: Bench) -> None:
        lease = bench.claim_one(bench.add())
        assert bench.settle(settlement(lease), settlement(lease, FAILURE)) == ["succeeded", None]

    def test_the_lease_of_an_earlier_attempt_is_stale(self, bench: Bench) -> None:
        job = bench.add(retries=3, base=0.0)
        old = bench.claim_one(job)
        bench.end(old, FAILURE)
        new = bench.claim_one(job)
        assert bench.end(old) is None
        assert bench.state(job) == "running"
        assert bench.end(new) == "succeeded"

    def test_one_stale_result_takes_no_other_with_it(self, bench: Bench) -> None:
        first, second = bench.add(), bench.add()
        leases = bench.claim()
        stale = settlement(leases[0], token="other")
        assert bench.settle(stale, settlement(leases[1])) == [None, "succeeded"]
        assert bench.states(first, second) == ["running", "succeeded"]


class TestOutcomes:
    def test_exit_code_0_is_success(self, bench: Bench) -> None:
        job = bench.add()
        assert bench.run(job) == "succeeded"
        found = bench.job(job)
        assert (found.outcome, found.exit_code, found.signal, found.reason) == ("exited", 0, None, None)
        assert (found.finished_at, found.failures, found.attempt) == (START, 0, 1)

    @pytest.mark.parametrize("outcome", FAILING, ids=name_of)
    def test_anything_else_fails_and_is_dead_without_retries(self, bench: Bench, outcome: Outcome) -> None:
        job = bench.add()
        assert bench.run(job, outcome) == "dead"
        found = bench.job(job)
        assert (found.outcome, found.exit_code, found.signal) == (outcome.kind, outcome.exit_code, outcome.signal)
        assert (found.failures, found.attempt) == (1, 1)
        assert found.reason

    @pytest.mark.parametrize("outcome", FAILING, ids=name_of)
    def test_with_retries_it_waits_for_its_time(self, bench: Bench, outcome: Outcome) -> None:
        job = bench.add(retries=1)
        assert bench.run(job, outcome) == "scheduled"
        assert bench.job(job).due_at == START + 10

    def test_what_no_retry_can_cure_is_dead_at_once(self, bench: Bench) -> None:
        job = bench.add(retries=3)
        assert bench.run(job, Outcome(kind="spawn_failed", error="there is no program /x")) == "dead"
        assert bench.job(job).reason == "there is no program /x"

    def test_a_permanent_exit_code_is_dead_at_once(self, bench: Bench) -> None:
        job = bench.add(retries=3)
        assert bench.end(bench.claim_one(job), exited(64), permanent=[2, 64]) == "dead"

    @pytest.mark.parametrize("outcome", UNCOUNTED, ids=name_of)
    def test_an_interrupted_attempt_does_not_count(self, bench: Bench, outcome: Outcome) -> None:
        job = bench.add(retries=0)
        assert bench.run(job, outcome) == "available"
        found = bench.job(job)
        assert (found.attempt, found.failures, found.worker, found.max_attempts) == (0, 0, None, 1)
        assert bench.claimed() == [job]

    def test_an_attempt_that_never_started_leaves_the_latest_outcome_as_it_was(self, bench: Bench) -> None:
        job = bench.add(retries=1, base=0.0)
        bench.run(job, exited(7))
        bench.run(job, Outcome(kind="never_started"))
        found = bench.job(job)
        assert (found.outcome, found.exit_code) == ("exited", 7)
        assert [attempt.claim for attempt in found.attempts] == [1]


class TestAttempts:
    def test_everything_measured_of_an_attempt_is_kept(self, bench: Bench) -> None:
        measured = {
            "started_at": START + 1,
            "finished_at": START + 2,
            "user_seconds": 0.5,
            "system_seconds": 0.25,
            "max_rss_kib": 1024,
            "output_bytes": 10,
            "cut_bytes": 3,
            "tail": b"\xff\x00end",
        }
        job = bench.add()
        bench.run(job, exited(0, **measured))
        (attempt,) = bench.job(job).attempts
        assert {name: getattr(attempt, name) for name in measured} == measured
        assert (attempt.claim, attempt.outcome, attempt.exit_code, attempt.host) == (1, "exited", 0, "here")
        assert bench.job(job).finished_at == START + 2

    def test_attempts_stand_in_their_order(self, bench: Bench) -> None:
        job = bench.add(retries=3, base=0.0)
        for code in (1, 2, 0):
            bench.run(job, exited(code))
        assert [(one.claim, one.exit_code) for one in bench.job(job).attempts] == [(1, 1), (2, 2), (3, 0)]

    def test_an_interrupted_attempt_is_kept_and_one_that_never_started_is_not(self, bench: Bench) -> None:
        job = bench.add()
        bench.run(job, Outcome(kind="interrupted", signal=15))
        bench.run(job, Outcome(kind="never_started"))
        assert [(one.claim, one.outcome) for one in bench.job(job).attempts] == [(1, "interrupted")]

    def test_the_number_of_attempts_a_job_may_make_is_the_same_all_its_life(self, bench: Bench) -> None:
        job = bench.add(retries=2, base=0.0)
        seen = [bench.job(job).max_attempts]
        for outcome in (FAILURE, Outcome(kind="interrupted"), SUCCESS):
            lease = bench.claim_one(job)
            seen.append(bench.job(job).max_attempts)
            bench.end(lease, outcome)
            seen.append(bench.job(job).max_attempts)
        assert seen == [3] * 7

    def test_nor_does_a_stop_change_it(self, bench: Bench) -> None:
        job = bench.add(retries=2)
        lease = bench.claim_one(job)
        bench.cancel(job)
        bench.end(lease, Outcome(kind="cancelled", signal=15))
        assert bench.job(job).max_attempts == 3

    def test_a_replay_adds_a_fresh_allowance(self, bench: Bench) -> None:
        job = bench.add(retries=1, base=0.0)
        bench.run(job, FAILURE)
        assert bench.run(job, FAILURE) == "dead"
        bench.replay(job)
        assert bench.job(job).max_attempts == 4


class TestRetries:
    def test_a_job_is_run_once_and_then_as_often_as_its_retries_say(self, bench: Bench) -> None:
        job = bench.add(retries=3)
        dues: list[float] = []
        while bench.run(job, FAILURE) == "scheduled":
            due = bench.job(job).due_at
            assert due is not None
            dues.append(due - bench.now)
            bench.now = due
        assert dues == [10.0, 20.0, 40.0]
        assert (bench.state(job), bench.job(job).failures) == ("dead", 4)

    def test_chance_takes_its_share_off_the_wait(self, bench: Bench) -> None:
        from queue_core.model import Retry

        job = bench.add(retry=Retry(retries=1, base=10.0, jitter=0.5))
        bench.end(bench.claim_one(job), FAILURE, chance=1.0)
        assert bench.job(job).due_at == START + 5

    def test_it_is_not_handed_out_before_its_time(self, bench: Bench) -> None:
        job = bench.add(retries=1)
        bench.run(job, FAILURE)
        bench.tick(9.9)
        assert bench.claim() == []
        bench.tick(0.1)
        assert bench.claimed() == [job]


class TestCancelRequests:
    @pytest.mark.parametrize("outcome", [*FAILING, *UNCOUNTED], ids=name_of)
    def test_however_a_job_ends_that_was_to_be_stopped_it_is_cancelled(self, bench: Bench, outcome: Outcome) -> None:
        job = bench.add(retries=3)
        lease = bench.claim_one(job)
        bench.cancel(job)
        assert bench.end(lease, outcome) == "cancelled"
        assert not bench.job(job).cancel_requested

    def test_a_success_still_wins(self, bench: Bench) -> None:
        job = bench.add()
        lease = bench.claim_one(job)
        bench.cancel(job)
        assert bench.end(lease) == "succeeded"

    def test_the_request_is_seen_by_who_looks_at_running_claims(self, bench: Bench) -> None:
        job = bench.add()
        bench.claim()
        bench.cancel(job)
        assert [bool(one.cancel_requested) for one in bench.store.running()] == [True]


class TestHandOver:
    def test_a_job_that_dies_hands_over_to_its_on_dead_command(self, bench: Bench) -> None:
        job = bench.add("make", on_dead=(("echo", "dead"),), queue="q", meta={"k": "v"}, env={"A": "1"}, name="n")
        bench.run(job, FAILURE)
        other = max(bench.everything(), key=lambda job: job.id)
        assert (other.argv, other.executable, other.escalated_from) == (("echo", "dead"), "/bin/echo", job)
        assert (other.state, other.queue, other.meta, other.env, other.cwd) == (
            "available",
            "q",
            {"k": "v"},
            {"A": "1"},
            "/",
        )
        assert (other.on_dead, other.claim, other.attempt, other.created_at) == ((), 0, 0, START)

    def test_once_for_each_death(self, bench: Bench) -> None:
        job = bench.add(on_dead=(("echo",),), queue="q")
        bench.pause("other")
        lease = bench.claim_one(job)
        bench.end(lease, FAILURE)
        bench.end(lease, FAILURE)
        assert len(bench.everything()) == 2
        bench.replay(job)
        bench.run(job, FAILURE)
        assert len(bench.everything()) == 3

    @pytest.mark.parametrize("outcome", [SUCCESS, Outcome(kind="interrupted")], ids=name_of)
    def test_only_when_it_dies(self, bench: Bench, outcome: Outcome) -> None:
        bench.run(bench.add(on_dead=(("echo",),)), outcome)
        assert len(bench.everything()) == 1

    def test_not_while_it_has_retries_left(self, bench: Bench) -> None:
        job = bench.add(on_dead=(("echo",),), retries=1)
        assert bench.run(job, FAILURE) == "scheduled"
        assert len(bench.everything()) == 1

    def test_not_when_it_is_cancelled(self, bench: Bench) -> None:
        job = bench.add(on_dead=(("echo",),))
        lease = bench.claim_one(job)
        bench.cancel(job)
        bench.end(lease, FAILURE)
        assert len(bench.everything()) == 1
