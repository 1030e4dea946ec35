"""pause: a paused queue hands out nothing, takes everything in, and lets running jobs end."""

from __future__ import annotations

import pytest

from queue_core.errors import NotAllowed
from tests.conformance.builders import START, Bench


def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(bench: Bench) -> None:
    job = bench.add()
    assert bench.pause() == ["default"]
    later = bench.add()
    assert bench.claim() == []
    assert bench.resume() == ["default"]
    assert bench.claimed() == [job, later]


def test_other_queues_go_on(bench: Bench) -> None:
    bench.add(queue="a")
    other = bench.add(queue="b")
    bench.pause("a")
    assert bench.claimed() == [other]


def test_a_queue_can_be_paused_before_it_has_any_jobs(bench: Bench) -> None:
    bench.pause("new")
    bench.add(queue="new")
    assert bench.claim() == []


def test_all_queues_can_be_paused_and_resumed_at_once(bench: Bench) -> None:
    jobs = [bench.add(queue=name) for name in ("a", "b")]
    assert set(bench.pause(None)) >= {"a", "b"}
    assert bench.claim() == []
    assert set(bench.resume(None)) >= {"a", "b"}
    assert sorted(bench.claimed()) == jobs


def test_with_no_queue_at_all_it_is_the_default_one(bench: Bench) -> None:
    assert bench.pause(None) == ["default"]
    bench.add()
    assert bench.claim() == []


def test_what_runs_may_end(bench: Bench) -> None:
    job = bench.add()
    lease = bench.claim_one(job)
    bench.pause()
    assert bench.end(lease) == "succeeded"


def test_jobs_that_fall_due_wait_for_the_queue_as_well(bench: Bench) -> None:
    job = bench.add(due_at=START + 1)
    bench.pause()
    bench.tick(2)
    assert bench.claim() == []
    assert not bench.store.claimable(bench.now)
    bench.resume()
    assert bench.claimed() == [job]


def test_the_queue_says_that_it_is_paused(bench: Bench) -> None:
    bench.pause("a")
    bench.add(queue="b")
    assert {queue.name: queue.paused for queue in bench.store.queues()} == {"a": True, "b": False}


def test_while_all_are_paused_so_is_a_queue_that_is_new(bench: Bench) -> None:
    bench.pause(None)
    bench.add(queue="new")
    bench.configure(queues={"configured": 2})
    bench.add(queue="configured")
    assert bench.claim() == []
    bench.resume("new")
    assert [lease.queue for lease in bench.claim()] == ["new"]
    bench.resume(None)
    bench.add(queue="newer")
    assert sorted(lease.queue for lease in bench.claim()) == ["configured", "newer"]


def test_what_a_person_has_paused_a_person_alone_resumes(bench: Bench) -> None:
    job = bench.add()
    bench.pause()
    bench.pause(by="automatic")
    for queue in ("default", None):
        with pytest.raises(NotAllowed, match="the queue default was paused by a person, who alone may resume it"):
            bench.resume(queue, by="automatic")
    assert bench.claim() == []
    bench.resume()
    assert bench.claimed() == [job]


def test_what_another_has_paused_anybody_resumes(bench: Bench) -> None:
    for by in ("automatic", "person"):
        job = bench.add()
        bench.pause(by="automatic")
        bench.resume(by=by)
        assert bench.claimed() == [job]


def test_a_person_takes_a_pause_over(bench: Bench) -> None:
    bench.pause(by="automatic")
    bench.pause()
    with pytest.raises(NotAllowed):
        bench.resume(by="automatic")


def test_after_a_person_has_paused_all_nobody_else_resumes_any_not_even_a_new_one(bench: Bench) -> None:
    bench.add(queue="a")
    bench.pause(None)
    bench.pause(None, by="automatic")
    bench.add(queue="b")
    for queue in ("a", "b", "c", None):
        with pytest.raises(NotAllowed, match="paused by a person"):
            bench.resume(queue, by="automatic")
    assert (bench.claim(), [queue.name for queue in bench.store.queues()]) == ([], ["a", "b"])
    bench.resume(None)
    assert len(bench.claim()) == 2


def test_to_resume_all_lifts_none_if_one_is_a_persons(bench: Bench) -> None:
    bench.add(queue="a")
    bench.pause(None, by="automatic")
    bench.pause("b")
    with pytest.raises(NotAllowed, match="the queue b"):
        bench.resume(None, by="automatic")
    assert bench.claim() == []
    bench.resume("b")
    bench.resume(None, by="automatic")
    bench.add(queue="new")
    assert len(bench.claim()) == 2
