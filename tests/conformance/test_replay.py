"""replay and discard: what can still become of a job that has ended."""

from __future__ import annotations

import pytest

from queue_core.errors import InvalidTransition, QueueError, UnknownJob
from queue_core.model import ENDED
from tests.conformance.builders import FAILURE, PERSON, START, SUCCESS, Bench


def ended(bench: Bench, state: str, **fields: object) -> int:
    job = bench.add(**fields)  # pyright: ignore[reportArgumentType]
    if state == "cancelled":
        bench.cancel(job)
    else:
        bench.run(job, SUCCESS if state == "succeeded" else FAILURE)
    assert bench.state(job) == state
    return job


class TestReplay:
    @pytest.mark.parametrize("state", ENDED)
    def test_an_ended_job_runs_again(self, bench: Bench, state: str) -> None:
        job = ended(bench, state)
        assert bench.replay(job) == [(job, "available")]
        found = bench.job(job)
        assert (found.finished_at, found.reason, found.due_at) == (None, None, None)
        assert bench.claimed() == [job]

    def test_its_attempts_so_far_are_kept_and_its_retries_are_fresh(self, bench: Bench) -> None:
        job = bench.add(retries=1, base=0.0)
        bench.run(job, FAILURE)
        bench.run(job, FAILURE)
        bench.replay(job)
        assert [attempt.claim for attempt in bench.job(job).attempts] == [1, 2]
        assert bench.run(job, FAILURE) == "scheduled"
        bench.tick(10)
        assert bench.run(job, FAILURE) == "dead"
        assert len(bench.job(job).attempts) == 4

    def test_one_that_needs_approval_first_is_held(self, bench: Bench) -> None:
        free, asks = ended(bench, "dead"), ended(bench, "dead")
        assert bench.replay(free, asks, held={asks: "no rule"}) == [(free, "available"), (asks, "held")]
        assert (bench.state(asks), bench.job(asks).reason) == ("held", "no rule")
        assert bench.claimed() == [free]

    def test_it_is_refused_while_another_with_its_key_is_live(self, bench: Bench) -> None:
        job = ended(bench, "dead", unique="key")
        live = bench.add(unique="key")
        with pytest.raises(QueueError, match=f"job {live} with the same unique key"):
            bench.replay(job)
        assert bench.state(job) == "dead"
        bench.cancel(live)
        assert bench.replay(job) == [(job, "available")]

    def test_of_two_with_one_key_the_first_is_replayed(self, bench: Bench) -> None:
        first, second = ended(bench, "dead", unique="key"), ended(bench, "dead", unique="key")
        assert bench.replay(first, second) == [(first, "available"), (second, "dead")]
        assert bench.states(first, second) == ["available", "dead"]

    def test_what_a_person_replays_is_no_longer_rejected(self, bench: Bench) -> None:
        job = bench.add(held="ask", caller="agent")
        bench.store.reject([job], by=PERSON, now=bench.now)
        assert bench.job(job).rejected_at == bench.now
        bench.replay(job)
        assert bench.job(job).rejected_at is None

    @pytest.mark.parametrize("state", ["held", "available", "running"])
    def test_a_live_job_cannot_be_replayed_and_it_is_all_or_none(self, bench: Bench, state: str) -> None:
        dead = ended(bench, "dead")
        live = bench.add(held="ask" if state == "held" else None)
        if state == "running":
            bench.claim()
        with pytest.raises(InvalidTransition, match=state):
            bench.replay(dead, live)
        assert bench.states(dead, live) == ["dead", state]

    def test_a_replayed_job_takes_and_gives_back_its_lock(self, bench: Bench) -> None:
        job = ended(bench, "dead", locks=(("gpu", 1),))
        bench.replay(job)
        other = bench.add(queue="other", locks=(("gpu", 1),))
        (lease,) = bench.claim()
        bench.end(lease)
        (lease,) = bench.claim()
        assert bench.end(lease) == "succeeded"
        assert set(bench.states(job, other)) == {"succeeded"}


class TestDiscard:
    def test_a_dead_job_is_given_up(self, bench: Bench) -> None:
        job = ended(bench, "dead")
        assert bench.discard(job) == [(job, "cancelled")]
        assert (bench.state(job), bench.job(job).reason) == ("cancelled", "discarded")

    @pytest.mark.parametrize("state", ["succeeded", "cancelled"])
    def test_only_dead_ones_can_be_and_it_is_all_or_none(self, bench: Bench, state: str) -> None:
        dead, other = ended(bench, "dead"), ended(bench, state)
        with pytest.raises(InvalidTransition, match=state):
            bench.discard(dead, other)
        assert bench.state(dead) == "dead"

    def test_an_unknown_id_changes_nothing(self, bench: Bench) -> None:
        dead = ended(bench, "dead")
        for verb in (bench.discard, bench.replay):
            with pytest.raises(UnknownJob):
                verb(dead, 999)
        assert bench.state(dead) == "dead"

    def test_it_stays_where_it_is_among_the_completions(self, bench: Bench) -> None:
        job = ended(bench, "dead")
        bench.tick(5)
        bench.discard(job)
        assert bench.job(job).finished_at == START
