"""The audit trail: every deed is noted by the transaction that does it, with whoever did it, and outlives the job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queue_core.errors import NotAllowed, QueueError, UnknownJob
from queue_core.jobs import DeedFilter
from queue_core.model import Origin
from tests.conformance.builders import AGENT, FAILURE, PERSON, START, Bench, admission

if TYPE_CHECKING:
    from collections.abc import Sequence


def deeds(bench: Bench, **wanted: object) -> list[tuple[str, int | None, str]]:
    """What was done, to which job, by whom: oldest first."""
    found = bench.store.deeds(DeedFilter(**{"limit": 1000, **wanted}))  # pyright: ignore[reportArgumentType]
    return [(deed.what, deed.job, deed.caller) for deed in reversed(found)]


def test_who_queued_what_is_noted_with_client_session_and_project(bench: Bench) -> None:
    (receipt,) = bench.submit(admission("git", "status", origin=AGENT))
    (deed,) = bench.store.deeds(DeedFilter())
    assert (deed.what, deed.job, deed.about, deed.at) == ("queued", receipt.id, '["git","status"]', START)
    assert (deed.caller, deed.client, deed.session, deed.project) == ("agent", "claude-code 2", "s", "/p")


def test_what_waits_for_approval_is_noted_as_held(bench: Bench) -> None:
    job = bench.add(held="no rule")
    bench.approve(job)
    other = bench.add(held="no rule")
    bench.reject(other)
    assert deeds(bench) == [
        ("held", job, "person"),
        ("approved", job, "person"),
        ("held", other, "person"),
        ("rejected", other, "person"),
    ]


def test_a_live_job_that_is_returned_instead_was_queued_once(bench: Bench) -> None:
    first, again = bench.add(unique="k"), bench.add(unique="k")
    assert first == again
    assert deeds(bench) == [("queued", first, "person")]


def test_only_what_had_not_ended_was_cancelled(bench: Bench) -> None:
    ended, running, waiting = bench.added_and_run(), bench.add(), bench.add()
    bench.claim(want=1)
    bench.cancel(ended, running, waiting)
    assert deeds(bench, what="cancelled") == [("cancelled", running, "person"), ("cancelled", waiting, "person")]


def test_replays_and_discards_are_noted(bench: Bench) -> None:
    job = bench.added_and_run(FAILURE)
    bench.replay(job, approved=False)
    bench.run(job, FAILURE)
    bench.discard(job)
    assert deeds(bench)[1:] == [("replayed", job, "agent"), ("discarded", job, "person")]


def test_pins_and_pauses_are_noted(bench: Bench) -> None:
    job = bench.add()
    bench.pin(job)
    bench.unpin(job)
    bench.pause("ci")
    bench.resume("ci")
    assert deeds(bench)[1:] == [
        ("pinned", job, "person"),
        ("unpinned", job, "person"),
        ("paused", None, "person"),
        ("resumed", None, "person"),
    ]
    assert [deed.about for deed in bench.store.deeds(DeedFilter(what="paused"))] == ["ci"]


@pytest.mark.parametrize("verb", ["cancel", "approve", "reject", "replay", "discard", "pin"])
def test_what_was_refused_is_not_noted(bench: Bench, verb: str) -> None:
    job = bench.add()
    with pytest.raises((UnknownJob, QueueError)):
        getattr(bench, verb)(job, 999)
    assert deeds(bench) == [("queued", job, "person")]


def test_a_person_s_pause_that_an_agent_cannot_lift_is_not_noted_as_lifted(bench: Bench) -> None:
    bench.pause()
    with pytest.raises(NotAllowed):
        bench.resume(by="automatic")
    assert deeds(bench, what="resumed") == []


def test_it_outlives_the_job(bench: Bench) -> None:
    job = bench.added_and_run()
    bench.tick(10)
    assert bench.prune() == [job]
    assert deeds(bench, job=job) == [("queued", job, "person")]


def test_it_can_be_narrowed(bench: Bench) -> None:
    mine, theirs = bench.add(), bench.add(origin=AGENT)
    bench.tick(60)
    bench.cancel(mine, theirs)

    def jobs(**wanted: object) -> Sequence[int | None]:
        return [job for _, job, _ in deeds(bench, **wanted)]

    assert jobs(caller="agent") == [theirs]
    assert jobs(project="/p") == [theirs, theirs]
    assert jobs(session="s") == [theirs, theirs]
    assert jobs(job=mine) == [mine, mine]
    assert jobs(since=START + 60) == [mine, theirs]
    assert len(bench.store.deeds(DeedFilter(limit=1))) == 1


def test_it_is_shortened_by_age(bench: Bench) -> None:
    bench.add()
    bench.tick(100)
    last = bench.add()
    assert bench.store.forget_deeds(before=START + 50) == 1
    assert deeds(bench) == [("queued", last, "person")]
    assert bench.store.forget_deeds(before=START + 500) == 1
    assert deeds(bench) == []


def test_what_a_person_decides_from_anywhere_belongs_to_the_jobs_project(bench: Bench) -> None:
    job = bench.add(origin=AGENT, held="no rule")
    bench.approve(job)
    bench.cancel(job)
    bench.replay(job, held={job: "no rule covers it"}, approved=False)
    for wanted in ({"project": "/p"}, {"session": "s"}):
        assert deeds(bench, **wanted) == [
            ("held", job, "agent"),
            ("approved", job, "person"),
            ("cancelled", job, "person"),
            ("replayed", job, "agent"),
        ]
    (approved,) = bench.store.deeds(DeedFilter(what="approved"))
    assert approved.about == '["true"]', "what was approved is told, not why it was held later"
    assert deeds(bench, project="/elsewhere") == []


def test_beyond_a_number_the_oldest_go_whatever_their_age(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queue_core.sqlite.audit.MOST", 2)
    first, *later = (bench.add() for _ in "abc")
    assert first
    bench.store.forget_deeds(before=START - 1)
    assert [job for _, job, _ in deeds(bench)] == later


def test_what_changes_nothing_in_the_store_can_be_noted(bench: Bench) -> None:
    bench.store.note("allowed", by=Origin(caller="person", client="c"), now=START, about='["git"]')
    (deed,) = bench.store.deeds(DeedFilter())
    assert (deed.what, deed.about, deed.client) == ("allowed", '["git"]', "c")


def test_jobs_of_other_projects_can_neither_be_waited_for_nor_be_found(bench: Bench) -> None:
    """Where the user keeps projects apart."""
    theirs = bench.add(unique="k", origin=Origin(caller="agent", project="/theirs"))
    mine = Origin(caller="agent", project="/mine")
    for asked in (admission(after_any=(theirs,), origin=mine), admission(unique="k", origin=mine)):
        with pytest.raises(QueueError, match=r"does not exist|another project"):
            bench.store.enqueue([asked], now=START, capacity=10, parallelism=1, within="/mine")
    assert len(bench.everything()) == 1
    bench.store.enqueue([admission(unique="own", origin=mine)], now=START, capacity=10, parallelism=1, within="/mine")
    (again,) = bench.store.enqueue(
        [admission(unique="own", origin=mine)], now=START, capacity=10, parallelism=1, within="/mine"
    )
    assert again.existing
    assert PERSON.will == "person"


def test_of_a_long_command_only_a_part_is_kept(bench: Bench) -> None:
    bench.add("echo", "x" * 100_000, on_dead=(("echo", "y" * 100_000),))
    bench.run(1, FAILURE)
    kept = [deed.about or "" for deed in bench.store.deeds(DeedFilter())]
    assert max(map(len, kept)) < 5000
    assert kept[1].startswith('["echo","xxx') and "characters in all" in kept[1]


def test_what_policy_takes_back_at_the_claim_is_noted(bench: Bench) -> None:
    job = bench.add("rm", origin=AGENT)
    assert bench.claim(may_run=lambda _: "the rule is gone") == []
    assert deeds(bench) == [("queued", job, "agent"), ("held", job, "agent")]
    assert [deed.about for deed in bench.store.deeds(DeedFilter())] == ['["rm"]', '["rm"]']


def test_pins_that_give_way_are_noted(bench: Bench) -> None:
    first, second = bench.add(), bench.add()
    bench.pin(first, by="automatic", cap=1)
    bench.pin(second, cap=1)
    assert deeds(bench, what="unpinned") == [("unpinned", first, "person")]


def test_a_clock_that_was_ahead_once_keeps_nothing_else_for_ever(bench: Bench) -> None:
    bench.tick(1e9)
    bench.add()
    bench.tick(-1e9)
    bench.add()
    bench.tick(100)
    assert bench.store.forget_deeds(before=START + 50) == 1
    assert deeds(bench) == [("queued", 1, "person")]
