"""cancel: waiting jobs end, running ones are marked, ended ones stay as they are."""

from __future__ import annotations

import pytest

from queue_core.errors import UnknownJob
from tests.conformance.builders import FAILURE, START, SUCCESS, Bench


def waiting(bench: Bench, state: str) -> int:
    """A job in one of the states in which it waits."""
    if state == "held":
        return bench.add(held="ask")
    if state == "blocked":
        return bench.add(after=(bench.add(due_at=START + 99),))
    return bench.add(due_at=START + 99 if state == "scheduled" else None)


@pytest.mark.parametrize("state", ["held", "blocked", "scheduled", "available"])
def test_a_waiting_job_is_cancelled_at_once(bench: Bench, state: str) -> None:
    job = waiting(bench, state)
    bench.tick(5)
    assert bench.cancel(job) == [(job, state)]
    found = bench.job(job)
    assert (found.state, found.reason, found.finished_at) == ("cancelled", "cancelled", START + 5)
    assert bench.claim() == []


def test_a_running_job_is_only_marked(bench: Bench) -> None:
    job = bench.add()
    bench.claim()
    assert bench.cancel(job) == [(job, "running")]
    assert (bench.state(job), bench.job(job).cancel_requested) == ("running", True)


@pytest.mark.parametrize("outcome", [SUCCESS, FAILURE])
def test_an_ended_job_stays_as_it_is(bench: Bench, outcome: object) -> None:
    job = bench.added_and_run(outcome)  # pyright: ignore[reportArgumentType]
    before = bench.job(job)
    bench.tick(1)
    assert bench.cancel(job) == [(job, before.state)]
    assert bench.job(job) == before


def test_several_are_cancelled_in_one_go_and_each_state_told(bench: Bench) -> None:
    running = bench.add()
    bench.claim()
    first, second = bench.add(), bench.add(held="ask")
    assert bench.cancel(second, running, first, first) == [
        (second, "held"),
        (running, "running"),
        (first, "available"),
        (first, "cancelled"),
    ]


def test_an_unknown_id_changes_nothing(bench: Bench) -> None:
    job = bench.add()
    with pytest.raises(UnknownJob, match="999"):
        bench.cancel(job, 999)
    assert bench.state(job) == "available"


def test_a_cancelled_job_is_counted_as_one_that_ended(bench: Bench) -> None:
    bench.cancel(bench.add())
    assert bench.counters() == bench.recount()
