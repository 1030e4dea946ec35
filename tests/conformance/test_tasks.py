"""Tasks: the ids by which MCP clients follow jobs are stored with them, and go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queue_core.jobs import Task

if TYPE_CHECKING:
    from tests.conformance.builders import Bench


def test_a_job_is_found_by_its_task(bench: Bench) -> None:
    bench.add()
    job = bench.add(task="t-1")
    assert bench.store.task("t-1") == Task(id="t-1", job=job, answers=0, dismissed=False)
    assert bench.store.task("t-2") is None


def test_of_two_answers_to_one_question_one_is_heard(bench: Bench) -> None:
    bench.add(task="t-1", held="no rule")
    assert bench.store.answer_task("t-1", answers=0, dismissed=False)
    assert not bench.store.answer_task("t-1", answers=0, dismissed=True)
    assert bench.store.answer_task("t-1", answers=1, dismissed=True)
    found = bench.store.task("t-1")
    assert found is not None
    assert (found.answers, found.dismissed) == (2, True)


def test_what_is_no_task_cannot_be_answered(bench: Bench) -> None:
    assert not bench.store.answer_task("t-1", answers=0, dismissed=False)


def test_a_task_is_forgotten_with_its_job(bench: Bench) -> None:
    job = bench.add(task="t-1")
    bench.cancel(job)
    bench.tick(100)
    assert bench.prune() == [job]
    assert bench.store.task("t-1") is None


def test_a_job_that_is_there_already_gets_no_second_task(bench: Bench) -> None:
    job = bench.add(unique="k", task="t-1")
    assert bench.add(unique="k", task="t-2") == job
    assert bench.store.task("t-2") is None
