"""enqueue: what is put in comes out as it was, all or none, once for each key, within the capacity."""

from typing import Any

import pytest

from queue_core.errors import InvalidJob, QueueFull
from queue_core.model import ENDED, LIVE, Origin
from tests.conformance.builders import FAILURE, START, SUCCESS, Bench, admission

UNDECODABLE = "caf\udce9"  # a byte that is no UTF-8, as Python's strings carry it


def test_a_job_gets_a_positive_id_that_grows_and_is_available_at_once(bench: Bench) -> None:
    first, second = bench.receipt(), bench.receipt()
    assert 0 < first.id < second.id
    assert (first.state, first.existing) == ("available", False)
    assert bench.states(first.id, second.id) == ["available", "available"]


def test_every_field_of_a_job_comes_back_as_it_was_put_in(bench: Bench) -> None:
    given: dict[str, Any] = {
        "queue": "builds",
        "priority": "critical",
        "sequential": True,
        "timeout": 12.5,
        "retries": 7,
        "unique": "key",
        "locks": (("gpu", 2), ("disk", 1)),
        "name": "nightly",
        "env": {"A": "1", "B": UNDECODABLE},
        "meta": {"ticket": "7", "ü": "ß"},
        "on_dead": (("echo", "dead"), ("true",)),
        "stdin_path": "/etc/hostname",
        "due_at": START + 60,
        "escalated_from": 3,
    }
    origin = Origin(caller="hook", session="s1", project="/p", client="c1")
    job = bench.job(bench.add("make", UNDECODABLE, "", "-x", origin=origin, program="/usr/bin/gmake", **given))
    assert job.argv == ("make", UNDECODABLE, "", "-x")
    assert (job.program, job.executable, job.cwd) == ("/usr/bin/gmake", "/bin/true", "/")
    assert job.env == given["env"]
    assert job.meta == given["meta"]
    assert job.locks == ("gpu", "disk")
    assert [step.argv for step in job.on_dead] == [("echo", "dead"), ("true",)]
    same = ["queue", "priority", "sequential", "timeout", "retries", "name", "stdin_path", "due_at", "escalated_from"]
    assert {name: getattr(job, name) for name in same} == {name: given[name] for name in same}
    assert (job.unique_key, job.caller, job.session, job.project) == ("key", "hook", "s1", "/p")
    assert (job.state, job.created_at, job.claim, job.attempt, job.failures) == ("scheduled", START, 0, 0, 0)
    assert (job.started_at, job.finished_at, job.outcome, job.attempts) == (None, None, None, ())
    assert not job.cancel_requested


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "available"),
        ({"due_at": START + 1}, "scheduled"),
        ({"due_at": START}, "available"),
        ({"due_at": START - 1}, "available"),
        ({"held": "no rule"}, "held"),
        ({"held": "no rule", "due_at": START + 1}, "held"),
    ],
)
def test_a_job_begins_with_the_first_thing_it_has_to_wait_for(bench: Bench, fields: Any, state: str) -> None:
    receipt = bench.receipt(**fields)
    assert receipt.state == state == bench.state(receipt.id)


def test_a_held_job_says_why(bench: Bench) -> None:
    assert bench.job(bench.add(held="no rule covers it")).reason == "no rule covers it"


def test_a_job_that_waits_for_another_is_blocked_even_if_it_is_due_later(bench: Bench) -> None:
    needed = bench.add()
    assert bench.receipt(after=(needed,), due_at=START + 60).state == "blocked"


def test_input_is_handed_out_with_the_claim_and_only_there(bench: Bench) -> None:
    with_input, without = bench.add(stdin=b"\x00\xff"), bench.add()
    assert [lease.stdin for lease in bench.claim()] == [b"\x00\xff", None]
    assert bench.states(with_input, without) == ["running", "running"]


class TestAllOrNone:
    def test_one_wrong_job_of_a_batch_keeps_all_of_it_out(self, bench: Bench) -> None:
        before = bench.counters()
        with pytest.raises(InvalidJob, match="999"):
            bench.submit(admission(), admission(after=(999,)), admission())
        assert bench.everything() == []
        assert bench.counters() == before

    def test_a_batch_that_does_not_fit_is_refused_whole(self, bench: Bench) -> None:
        with pytest.raises(QueueFull):
            bench.submit(*[admission(caller="agent")] * 3, capacity=2)
        assert bench.everything() == []

    def test_an_empty_batch_is_fine_and_adds_nothing(self, bench: Bench) -> None:
        assert bench.submit() == []
        assert bench.everything() == []

    def test_later_jobs_of_a_batch_can_wait_for_earlier_ones_by_their_ref(self, bench: Bench) -> None:
        first, second = bench.submit(admission(ref="build"), admission(after=("build",)))
        assert second.state == "blocked"
        assert bench.store.dependencies(second.id) == [(first.id, "success", "available")]

    @pytest.mark.parametrize("name", ["later", "itself", "missing"])
    def test_a_ref_means_an_earlier_job_only(self, bench: Bench, name: str) -> None:
        with pytest.raises(InvalidJob, match=name):
            bench.submit(admission(ref="itself", after=(name,)), admission(ref="later"))
        assert bench.everything() == []


class TestUniqueKeys:
    def live_job(self, bench: Bench, state: str) -> int:
        fields: dict[str, dict[str, Any]] = {
            "held": {"held": "ask"},
            "blocked": {"after": (bench.add(queue="other"),)},
            "scheduled": {"due_at": START + 60},
        }
        job = bench.add(unique="key", **fields.get(state, {}))
        if state == "running":
            bench.claim_one(job)
        return job

    @pytest.mark.parametrize("state", LIVE)
    def test_while_a_job_with_the_key_is_live_it_is_returned_instead(self, bench: Bench, state: str) -> None:
        job = self.live_job(bench, state)
        count = len(bench.everything())
        again = bench.receipt("other", unique="key")
        assert (again.id, again.state, again.existing) == (job, state, True)
        assert len(bench.everything()) == count

    @pytest.mark.parametrize("state", ENDED)
    def test_the_key_is_free_when_its_job_has_ended(self, bench: Bench, state: str) -> None:
        job = bench.add(unique="key")
        if state == "cancelled":
            bench.cancel(job)
        else:
            bench.run(job, SUCCESS if state == "succeeded" else FAILURE)
        assert bench.state(job) == state
        again = bench.receipt(unique="key")
        assert again.id != job
        assert not again.existing

    def test_keys_are_apart_from_each_other_and_from_none(self, bench: Bench) -> None:
        ids = {bench.add(unique="a"), bench.add(unique="b"), bench.add(), bench.add()}
        assert len(ids) == 4

    def test_a_key_is_unique_within_one_batch_too(self, bench: Bench) -> None:
        first, second = bench.submit(admission(unique="key"), admission(unique="key", queue="other"))
        assert second.id == first.id
        assert second.existing


class TestCapacity:
    def test_a_job_that_is_there_already_is_returned_by_a_full_queue_too(self, bench: Bench) -> None:
        first = bench.submit(admission(unique="k", caller="agent"), capacity=1)[0]
        again = bench.submit(admission(unique="k", caller="agent"), capacity=1)[0]
        assert (again.id, again.existing) == (first.id, True)
        with pytest.raises(QueueFull):
            bench.submit(admission(unique="k", caller="agent"), admission(caller="agent"), capacity=1)

    def test_an_agent_may_fill_the_queue_to_its_capacity(self, bench: Bench) -> None:
        bench.submit(*[admission(caller="agent")] * 3, capacity=3)
        with pytest.raises(QueueFull, match="3 jobs wait"):
            bench.submit(admission(caller="agent"), capacity=3)

    @pytest.mark.parametrize("caller", ["person", "hook"])
    def test_persons_and_hooks_may_go_to_ten_times_that(self, bench: Bench, caller: str) -> None:
        bench.submit(*[admission(caller=caller)] * 20, capacity=2)
        with pytest.raises(QueueFull):
            bench.submit(admission(caller=caller), capacity=2)

    def test_waiting_jobs_of_every_kind_count_and_all_queues_together(self, bench: Bench) -> None:
        needed = bench.add(queue="a")
        bench.add(queue="b", after=(needed,))
        bench.add(queue="c", due_at=START + 60)
        bench.add(queue="d", held="ask")
        with pytest.raises(QueueFull, match="4 jobs wait"):
            bench.submit(admission(caller="agent"), capacity=4)
        bench.submit(admission(caller="agent"), capacity=5)

    def test_running_and_ended_jobs_take_no_room(self, bench: Bench) -> None:
        ended, running = bench.add(), bench.add()
        leases = bench.claim()
        bench.end(leases[0])
        assert bench.states(ended, running) == ["succeeded", "running"]
        bench.submit(admission(caller="agent"), capacity=1)


class TestSpooledJobs:
    def test_a_spooled_job_is_taken_in_once(self, bench: Bench) -> None:
        first = bench.receipt(spool_id="s#0")
        again = bench.receipt(spool_id="s#0")
        assert again.id == first.id
        assert again.existing
        assert len(bench.everything()) == 1

    def test_not_even_after_it_has_been_pruned(self, bench: Bench) -> None:
        job = bench.add(spool_id="s#0")
        bench.run(job)
        bench.tick(10)
        assert bench.prune() == [job]
        assert bench.receipt(spool_id="s#0").existing
        assert bench.everything() == []

    def test_nor_when_its_key_gave_way_to_a_live_job_first(self, bench: Bench) -> None:
        live = bench.add(unique="key")
        assert bench.receipt(unique="key", spool_id="s#0").id == live
        bench.run(live)
        assert bench.receipt(unique="key", spool_id="s#0").existing
        assert len(bench.everything()) == 1


class TestAKeyThatAnAgentsHeldJobHas:
    """It may never run: nobody else's job is left out for it."""

    def test_a_persons_job_takes_the_key(self, bench: Bench) -> None:
        asked = bench.add(unique="nightly", caller="agent", held="no rule")
        waiting = bench.add(after_any=(asked,))
        receipt = bench.receipt(unique="nightly", caller="hook")
        assert (receipt.existing, receipt.state) == (False, "available")
        assert (bench.state(asked), bench.job(asked).reason) == ("cancelled", "a hook's job has taken its unique key")
        assert bench.state(waiting) == "available"

    def test_another_agents_does_not(self, bench: Bench) -> None:
        asked = bench.add(unique="nightly", caller="agent", held="no rule")
        assert bench.receipt(unique="nightly", caller="agent").id == asked

    def test_what_waits_for_the_one_that_gives_way_does_not_wait_for_ever(self, bench: Bench) -> None:
        asked = bench.add(unique="nightly", caller="agent", held="no rule")
        receipt = bench.receipt(unique="nightly", after_any=(asked,))
        assert (bench.state(asked), receipt.state) == ("cancelled", "available")
        assert bench.store.dependencies(receipt.id) == []

    def test_nothing_gives_way_to_what_could_then_never_run(self, bench: Bench) -> None:
        asked = bench.add(unique="nightly", caller="agent", held="no rule")
        follower = bench.add(after=(asked,))
        for needed in (asked, follower):
            with pytest.raises(InvalidJob, match=f"job {needed} is cancelled"):
                bench.add(unique="nightly", after=(needed,))
        assert bench.states(asked, follower) == ["held", "blocked"]

    def test_nor_where_it_may_run(self, bench: Bench) -> None:
        live = bench.add(unique="nightly", caller="agent")
        assert bench.receipt(unique="nightly").id == live
