"""Dead letters: a worker has run the commands, and what is left of them is listed, retried, discarded."""

from typing import Any

import pytest

from queue_core.model import NewJob, Origin
from queue_core.value import replace
from tests.mcp.places import Place, ask, refused

pytestmark = pytest.mark.anyio

UNIQUE_QUEUES = iter(range(1000))


@pytest.fixture
def queue() -> str:
    """A queue of the test's own in the home that they share."""
    return f"dead-{next(UNIQUE_QUEUES)}"


def died(place: Place, queue: str, count: int, *argv: str) -> list[int]:
    ids = [place.add(*(argv or ("false",)), queue=queue) for _ in range(count)]
    place.all_end(ids)
    return ids


async def test_dead_letters_are_listed_with_their_reason_and_filtered(workshop: Place, queue: str) -> None:
    ids = died(workshop, queue, 2)
    other = died(workshop, queue, 1, "sh", "-c", "exit 7")[0]
    async with workshop.client() as client:
        found = await ask(client, "dead_letter_list", queue=queue)
        assert [job["id"] for job in found["jobs"]] == [other, ids[1], ids[0]]
        assert found["total"] == 3
        assert found["jobs"][0] | {"exit_code": 7, "state": "dead", "argv": ["sh", "-c", "exit 7"]} == found["jobs"][0]
        one = await ask(client, "dead_letter_list", queue=queue, limit=1)
        assert (len(one["jobs"]), one["total"]) == (1, 3)
        by_program = await ask(client, "dead_letter_list", queue=queue, program="false")
        assert by_program["total"] == 2
        assert (await ask(client, "dead_letter_list", queue=queue, older_than=1))["total"] == 0
        assert (await ask(client, "dead_letter_list", queue=queue, older_than=0))["total"] == 3
        assert (await ask(client, "dead_letter_list", queue=queue, older_than="2020-01-01T00:00:00Z"))["total"] == 0


async def test_what_has_succeeded_is_not_run_again_for_a_wrong_id(workshop: Place, queue: str) -> None:
    dead, done = died(workshop, queue, 1)[0], died(workshop, queue, 1, "true")[0]
    async with workshop.client() as client:
        assert f"Job {done} has succeeded" in await refused(client, "dead_letter_retry", job_ids=[dead, done])
    assert [workshop.job(job).state for job in (dead, done)] == ["dead", "succeeded"]


@pytest.mark.parametrize("days", [-1, "soon", "nan", 1e9, [1]])
async def test_an_age_that_is_none_is_refused(workshop: Place, days: Any) -> None:
    async with workshop.client() as client:
        assert "number" in await refused(client, "dead_letter_list", older_than=days)


async def test_a_bulk_needs_a_filter_and_a_dry_run_changes_nothing(workshop: Place, queue: str) -> None:
    ids = died(workshop, queue, 3)
    async with workshop.client() as client:
        for tool in ("dead_letter_retry", "dead_letter_discard"):
            assert "either job_ids or a filter" in await refused(client, tool)
            assert "either job_ids or a filter" in await refused(client, tool, job_ids=ids, queue=queue)
            shown = await ask(client, tool, queue=queue, program="false", dry_run=True)
            assert shown == {"jobs": [{"id": job_id, "state": "dead"} for job_id in ids], "dry_run": True}
            assert {workshop.job(job_id).state for job_id in ids} == {"dead"}


async def test_a_bulk_leaves_out_what_other_jobs_took_over(workshop: Place, queue: str) -> None:
    (first,) = died(workshop, queue, 1)
    taken = workshop.add("false", queue=queue, on_dead=(("true", queue),))
    workshop.all_end([taken])
    successor = workshop.job(taken).escalated_to
    assert successor
    workshop.all_end([successor])
    async with workshop.client() as client:
        shown = (await ask(client, "dead_letter_list", queue=queue))["jobs"]
        assert [(one["id"], one.get("escalated_to")) for one in shown] == [(taken, successor), (first, None)]
        for tool in ("dead_letter_retry", "dead_letter_discard"):
            reply = await ask(client, tool, queue=queue, dry_run=True)
            assert [one["id"] for one in reply["jobs"]] == [first]
            assert reply["left_out"] == "1 that other jobs took over"
        shown = await ask(client, "status", job_id=taken)
        assert shown["handed_over"] == f"{taken} false (dead) -> {successor} true (succeeded)"


async def test_a_retry_runs_them_again_with_fresh_retries(workshop: Place, queue: str) -> None:
    flag = workshop.project / f"{queue}.flag"
    async with workshop.client() as client:
        job = {"argv": ["test", "-e", str(flag)], "queue": queue}
        ids = [(await ask(client, "run", **job))["id"] for _ in range(2)]
        flag.touch()
        reply = await ask(client, "dead_letter_retry", job_ids=[ids[0], ids[0], ids[1]])
        assert reply == {"jobs": [{"id": job_id, "state": "available"} for job_id in ids]}
        waited = await ask(client, "wait", job_ids=ids)
        assert {job["state"] for job in waited["jobs"]} == {"succeeded"}
        status = await ask(client, "status", job_id=ids[0])
        assert [attempt["exit_code"] for attempt in status["attempts"]] == [1, 0]


async def test_a_discard_cancels_what_waits_for_them(workshop: Place, queue: str) -> None:
    ids = died(workshop, queue, 1)
    waiting = workshop.add("true", queue=queue, after=tuple(ids))
    async with workshop.client() as client:
        assert (await ask(client, "dead_letter_discard", queue=queue))["jobs"] == [{"id": ids[0], "state": "cancelled"}]
        assert workshop.job(waiting).state == "cancelled"
        assert "only dead letters can be discarded" in await refused(client, "dead_letter_discard", job_ids=ids)


async def test_what_a_person_queued_is_held_when_an_agent_retries_it_without_a_rule(place: Place) -> None:
    place.start_worker()
    dead = place.die("false")
    async with place.client() as client:
        reply = await ask(client, "dead_letter_retry", job_ids=[dead])
        assert reply["jobs"] == [{"id": dead, "state": "held"}]
        assert "ask the user" in reply["next"]


async def test_where_projects_are_kept_apart_only_the_own_ones_are_pointed_out(place: Place) -> None:
    """What the lists would not show is not said to be in them."""
    place.configure(isolation="project")
    place.start_worker()
    place.die()
    another = place.project.parent / "another"
    another.mkdir()
    theirs = Origin(caller="agent", project=str(another))
    place.queue.enqueue([NewJob(argv=("touch", "x"))], theirs, folder=str(another))
    async with place.client() as client:
        for seen in (await ask(client, "health"), (await ask(client, "status"))["health"]):
            assert "problems" not in seen
        own = replace(theirs, project=str(place.project))
        job_id = place.queue.enqueue([NewJob(argv=("false",), retries=0)], own, folder=str(place.project))[0].id
        problems = (await ask(client, "health"))["problems"]
        assert len(problems) == 1 and problems[0].startswith("1 waiting for approval")
        place.queue.approve([job_id])
        place.end(job_id)
        problems = (await ask(client, "health"))["problems"]
        assert problems == ["1 dead letter: `dead_letter_list` shows why, `dead_letter_retry` runs them again"]
        assert len((await ask(client, "dead_letter_list"))["jobs"]) == 1
