"""approve and reject: what becomes of held jobs."""

from __future__ import annotations

import pytest

from queue_core.errors import InvalidTransition, UnknownJob
from queue_core.model import Origin
from tests.conformance.builders import START, Bench


def test_an_approved_job_is_available_and_no_longer_says_why_it_was_held(bench: Bench) -> None:
    job = bench.add(held="no rule")
    assert bench.claim() == []
    bench.tick(5)
    assert bench.approve(job) == [(job, "available")]
    assert (bench.job(job).approved_at, bench.job(job).reason) == (START + 5, None)
    (lease,) = bench.claim()
    assert (lease.job, lease.approved) == (job, True)


def test_an_approved_job_still_waits_for_its_time(bench: Bench) -> None:
    job = bench.add(held="ask", due_at=START + 60)
    assert bench.approve(job) == [(job, "scheduled")]
    late = bench.add(held="ask", due_at=START + 60)
    bench.tick(60)
    assert bench.approve(late) == [(late, "available")]


def test_a_rejected_job_is_cancelled_with_the_reason(bench: Bench) -> None:
    job = bench.add(held="ask")
    assert bench.reject(job) == [(job, "cancelled")]
    found = bench.job(job)
    assert (found.state, found.finished_at) == ("cancelled", START)
    assert "rejected" in (found.reason or "")


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_only_held_jobs_can_be_decided_about_and_it_is_all_or_none(bench: Bench, verb: str) -> None:
    held, plain = bench.add(held="ask"), bench.add()
    with pytest.raises(InvalidTransition, match="available"):
        getattr(bench, verb)(held, plain)
    assert bench.states(held, plain) == ["held", "available"]


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_an_unknown_id_changes_nothing(bench: Bench, verb: str) -> None:
    held = bench.add(held="ask")
    with pytest.raises(UnknownJob):
        getattr(bench, verb)(held, 999)
    assert bench.state(held) == "held"


def test_it_runs_in_the_folder_that_the_person_was_shown(bench: Bench) -> None:
    """A link may stand for another folder by now: what is approved is where it leads."""
    job = bench.add(held="ask", cwd="/link")
    bench.store.approve([job], by=Origin(caller="person"), now=bench.now, folders={job: "/real"})
    assert bench.job(job).cwd == "/real"
