"""What starts when, and beside what: counted over all workers, as the commands themselves saw it."""

import signal

import pytest

from queue_core.worker import loop
from tests.helpers import wait_until

from .conftest import PATIENCE, Rig, most_at_once, overlaps


def noted(name: object, body: str = "sleep 0.05") -> str:
    """A script that notes its start and its end in a file that all share."""
    return f"echo start {name} >> events; {body}; echo end {name} >> events"


def together(count: int) -> str:
    """Do not end before so many have begun: that they may run at once is seen for certain."""
    return f"until [ $(grep -c start events) -ge {count} ]; do sleep 0.02; done; sleep 0.05"


def ended(rig: Rig, jobs: list[int]) -> None:
    wait_until(
        lambda: all(state == "succeeded" for state in rig.queue.states_of(jobs).values()), "all jobs are done", PATIENCE
    )


def test_a_queues_parallelism_holds_over_all_workers(rig: Rig) -> None:
    jobs = rig.add_all([{"argv": ["sh", "-c", noted(number, together(3))]} for number in range(20)])
    rig.worker(RUNQ_PARALLELISM="3")
    rig.worker()
    rig.drain()
    ended(rig, jobs)
    events = rig.lines("events")
    assert len(events) == 40 and not overlaps(events)
    assert most_at_once(events) == 3


def test_the_hosts_limit_holds_over_all_queues_and_workers(rig: Rig) -> None:
    jobs = rig.add_all([{"argv": ["sh", "-c", noted(n, together(2))], "queue": f"q{n % 4}"} for n in range(16)])
    rig.worker(RUNQ_MAX_RUNNING="2")
    rig.worker()
    ended(rig, jobs)
    assert most_at_once(rig.lines("events")) == 2


def test_a_workers_own_cap_leaves_room_for_others(rig: Rig) -> None:
    """Two workers of one command each run two; what one has no room for is the other's, without a poll."""
    gate = rig.gate()
    both = rig.add_all([{"argv": ["sh", "-c", f"echo $$ >> both; {gate.wait}"]} for _ in range(2)])
    rig.worker("--parallelism", "1")
    wait_until(lambda: len(rig.lines("both")) == 1, "the first runs", PATIENCE)
    rig.worker("--parallelism", "1")
    wait_until(lambda: len(rig.lines("both")) == 2, "the second runs beside it", PATIENCE)
    gate.open()
    ended(rig, both)


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in this process hear of nothing that nobody rings for."""
    monkeypatch.setattr(loop, "POLL", 3600.0)


@pytest.mark.usefixtures("no_poll")
def test_room_that_a_worker_has_no_use_for_is_taken_by_another_without_a_poll(rig: Rig) -> None:
    """One that was told to finish has two commands; when the first ends, somebody else may start another."""
    gate, other = rig.gate(), rig.gate("other")
    first, last = rig.sh(gate.wait), rig.sh(other.wait)
    busy = rig.worker(RUNQ_PARALLELISM="2")
    rig.pid_of(first)
    rig.pid_of(last)
    rig.inner()
    busy.signal(signal.SIGTERM)
    wait_until(lambda: len(rig.queue.live_workers(claiming=True)) == 1, "one claims no more", PATIENCE)
    waiting = rig.sh("true")
    wait_until(lambda: rig.status(waiting)["waiting_for"], "it waits for room", PATIENCE)
    gate.open()
    rig.reaches(waiting, "succeeded")
    assert rig.state(last) == "running"
    other.open()


@pytest.mark.usefixtures("no_poll")
def test_a_worker_wakes_for_what_is_added_and_for_what_is_due(rig: Rig) -> None:
    rig.inner()
    added = rig.sh("true")
    rig.reaches(added, "succeeded")
    delayed = rig.sh("[ -e second ] || { touch second; exit 1; }", "--delay", "0.3", "--backoff-base", "0.1")
    due = rig.job(delayed).due_at
    done = rig.reaches(delayed, "succeeded")
    started = done.attempts[0].started_at
    assert done.attempt == 2
    assert due is not None and started is not None and started >= due


def test_a_sequential_job_runs_alone_and_keeps_its_place(rig: Rig) -> None:
    parts = [{"argv": ["sh", "-c", noted(n)], "sequential": n in (3, 4)} for n in range(8)]
    jobs = rig.add_all([*parts, {"argv": ["sh", "-c", noted("other")], "queue": "other"}])
    rig.worker()
    rig.worker()
    ended(rig, jobs)
    events = [event for event in rig.lines("events") if not event.endswith("other")]
    for barrier in ("3", "4"):
        at = events.index(f"start {barrier}")
        assert events[at + 1] == f"end {barrier}"
        before = {event.split()[1] for event in events[:at]}
        assert before == {str(n) for n in range(int(barrier))}


def test_a_lock_is_held_by_as_many_as_it_admits(rig: Rig) -> None:
    part = {"locks": ["gpu=2"]}
    locked = [{"argv": ["sh", "-c", noted(n, together(2))], "queue": f"q{n % 2}", **part} for n in range(8)]
    jobs = rig.add_all(locked)
    rig.worker(RUNQ_MAX_RUNNING="8")
    ended(rig, jobs)
    assert most_at_once(rig.lines("events")) == 2


def test_priorities_then_first_in_first_out(rig: Rig) -> None:
    order = ["low", "normal", "critical", "high", "normal", "critical"]
    rig.add_all([{"argv": ["sh", "-c", noted(n)], "priority": name} for n, name in enumerate(order)])
    rig.drain("--parallelism", "1")
    assert [event.split()[1] for event in rig.lines("events")[::2]] == ["2", "5", "3", "1", "4", "0"]


def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(rig: Rig) -> None:
    gate = rig.gate()
    running = rig.sh(gate.wait)
    rig.worker()
    rig.pid_of(running)
    rig.runq("pause", "default")
    waiting = rig.sh("true")
    beside = rig.sh("true", "--queue", "other")
    rig.reaches(beside, "succeeded")
    gate.open()
    rig.reaches(running, "succeeded")  # a pause stops nothing that runs
    assert rig.state(waiting) == "available"
    assert "resume" in rig.status(waiting)["waiting_for"]
    rig.runq("resume", "default")
    rig.reaches(waiting, "succeeded")


def test_jobs_wait_for_what_they_depend_on(rig: Rig) -> None:
    first = rig.sh(noted("first"))
    failing = rig.sh("exit 1", "--retries", "0")
    second = rig.sh(noted("second"), "--after", str(first), "--after-any", str(failing))
    third = rig.sh(noted("third"), "--after-failure", str(failing), "--after", str(second))
    rig.worker()
    ended(rig, [first, second, third])
    assert rig.lines("events") == [
        f"{what} {name}" for name in ("first", "second", "third") for what in ("start", "end")
    ]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_runs_exactly_once(rig: Rig, workers: int) -> None:
    jobs = rig.add_all([{"argv": ["sh", "-c", f"echo {n} >> ran"], "queue": f"q{n % 5}"} for n in range(60)])
    for _ in range(workers):
        rig.worker(RUNQ_MAX_RUNNING="16")
    ended(rig, jobs)
    assert sorted(rig.lines("ran"), key=int) == [str(n) for n in range(60)]
    assert {rig.job(job).attempt for job in jobs} == {1}
