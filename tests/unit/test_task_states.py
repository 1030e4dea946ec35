"""How a job looks as a task: every state, and what goes with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_server import task_states
from queue_core import views
from queue_core.jobs import Attempt, Job, Link
from queue_core.model import STATES
from tests.unit.test_views import NOW, job

DAY_MS = 86_400_000
QUESTIONS: dict[str, Any] = {"approval-0-abc": {"method": "elicitation/create", "params": {}}}
FAILED = Attempt(claim=1, outcome="exited", exit_code=3, finished_at=NOW + 5)


def described(it: Job, *, standing: Any = None, now: float = NOW, **shown: Any) -> dict[str, Any]:
    questions = shown.pop("questions", {})
    view = views.job(it, **shown)
    return task_states.described(it, view, standing=standing or it.state, questions=questions, now=now, keep_days=7)


WORKING: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"state": "available"}, {}, "job 7 is queued"),
    ({"state": "available"}, {"waiting_for": "the lock gpu"}, "job 7 waits for the lock gpu"),
    (
        {"state": "available"},
        {"waiting_for": "a worker: none is up (a session's server boots one, or run `runq work`)"},
        "job 7 waits for a worker: none is up (this server boots one in a moment)",
    ),
    ({"state": "blocked"}, {"waiting_for": "job 6 to succeed"}, "job 7 waits for job 6 to succeed"),
    ({"state": "scheduled"}, {"waiting_for": "its time, in 9 s"}, "job 7 waits for its time, in 9 s"),
    (
        {"state": "scheduled", "failures": 1, "attempt": 1, "reason": "exit code 3", "due_at": NOW + 10},
        {"waiting_for": "its time, in 10 s (the last attempt: exit code 3)"},
        "attempt 1 of job 7 failed (exit code 3); again at 2027-01-15T08:00:10.000Z",
    ),
    ({"state": "running", "attempt": 1}, {}, "job 7 runs"),
    ({"state": "running", "attempt": 1}, {"progress": "3 of 9"}, "job 7 runs: 3 of 9"),
    ({"state": "running", "attempt": 2}, {"progress": "\x1b[2J"}, "job 7 runs, attempt 2 of 4: \\u001b[2J"),
    ({"state": "running", "cancel_requested": True}, {"progress": "3 of 9"}, "job 7 is being stopped"),
]


@pytest.mark.parametrize(("fields", "shown", "told"), WORKING)
def test_what_lives_is_working_and_says_at_what(fields: dict[str, Any], shown: dict[str, Any], told: str) -> None:
    found = described(job(**fields), **shown)
    assert (found["status"], found["statusMessage"], found["ttlMs"]) == ("working", told, None)
    assert set(found) == {"status", "statusMessage", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"}


def test_what_is_held_requires_input_and_says_whose() -> None:
    it = job(state="held", reason="no rule covers this command")
    asked = described(it, waiting_for="a person's approval (in a terminal)", questions=QUESTIONS)
    assert (asked["status"], asked["inputRequests"]) == ("input_required", QUESTIONS)
    assert asked["statusMessage"] == "job 7 waits for the user's approval: no rule covers this command"
    silent = described(it, waiting_for="a person's approval (in a terminal)")
    assert (silent["status"], silent["inputRequests"]) == ("input_required", {})
    assert silent["statusMessage"] == "job 7 waits for a person's approval (in a terminal)"


CHAIN = (Link(id=7, state="dead", argv=("make",)), Link(id=8, state="running", argv=("notify",)))
ENDS: list[tuple[str, str, str, bool | None]] = [
    ("succeeded", "succeeded", "completed", False),
    ("dead", "dead", "completed", True),
    ("dead", "succeeded", "completed", False),  # who took over did it
    ("dead", "running", "working", None),
    ("dead", "held", "working", None),
    ("dead", "scheduled", "working", None),
    ("cancelled", "cancelled", "cancelled", None),
]


@pytest.mark.parametrize(("state", "standing", "status", "is_error"), ENDS)
def test_an_end_is_told_by_how_the_job_stands(state: Any, standing: Any, status: str, is_error: bool | None) -> None:
    it = job(state=state, finished_at=NOW + 5, reason="exit code 3", attempts=(FAILED,), escalated_to=8)
    found = described(it, standing=standing, chain=CHAIN)
    assert found["status"] == status
    assert found.get("result", {}).get("isError") is is_error
    if is_error is not None:
        result = found["result"]
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
        assert (result["structuredContent"]["id"], result["structuredContent"]["state"]) == (7, state)


def test_each_end_is_said_in_a_sentence() -> None:
    dead = job(state="dead", reason="exit code 3", escalated_to=8, finished_at=NOW)
    assert described(dead)["statusMessage"] == "job 7 has failed: exit code 3"
    taken = described(dead, standing="running", chain=CHAIN)["statusMessage"]
    assert taken == "job 7 has failed: exit code 3; job 8 has taken over (running)"
    done = described(dead, standing="succeeded", chain=CHAIN)["statusMessage"]
    assert done == "job 7 has failed: exit code 3; handed over: 7 make (dead) -> 8 notify (running)"
    assert described(job(state="succeeded", finished_at=NOW))["statusMessage"] == "job 7 has succeeded"
    rejected = job(state="cancelled", reason="rejected by a person", finished_at=NOW)
    assert described(rejected)["statusMessage"] == "job 7 was cancelled: rejected by a person"


@pytest.mark.parametrize("state", STATES)
def test_no_end_of_a_command_is_failed(state: Any) -> None:
    """That word is for requests that could not be answered."""
    assert described(job(state=state, finished_at=NOW), waiting_for="x")["status"] != "failed"


@pytest.mark.parametrize(
    ("age", "milliseconds"), [(-3600, 500), (0, 500), (5, 500), (10, 1000), (30, 3000), (50, 5000), (9e9, 5000)]
)
def test_the_longer_it_lasts_the_less_often_it_is_to_be_polled(age: float, milliseconds: int) -> None:
    it = job(state="running")
    assert described(it, now=NOW + age)["pollIntervalMs"] == milliseconds
    assert task_states.begun(it, now=NOW + age)["pollIntervalMs"] == milliseconds


def test_it_is_kept_as_long_as_its_job_counted_from_when_it_was_made() -> None:
    ended: dict[str, Any] = {"state": "succeeded", "finished_at": NOW + 60}
    assert described(job(**ended))["ttlMs"] == 60_000 + 7 * DAY_MS
    assert described(job(**ended, pinned="person"))["ttlMs"] is None
    assert described(job(state="cancelled", finished_at=NOW - 60))["ttlMs"] == 7 * DAY_MS, "the clock was set back"


def test_it_was_updated_when_something_last_happened_to_its_job() -> None:
    def updated(**fields: Any) -> float:
        text = described(job(**{"state": "running", "due_at": NOW + 999, **fields}))["lastUpdatedAt"]
        return next(second for second in range(20) if views.rfc3339(NOW + second) == text)

    assert updated() == 0
    assert updated(ready_at=NOW + 1) == 1
    assert updated(ready_at=NOW + 1, approved_at=NOW + 2, started_at=NOW + 3) == 3
    assert updated(attempts=(FAILED,), started_at=NOW + 3) == 5
    assert updated(attempts=(FAILED,), started_at=NOW + 6) == 6
    assert updated(finished_at=NOW + 8, rejected_at=NOW + 9) == 9
    assert updated(ready_at=NOW - 60) == 0, "never before it was made"


def test_it_begins_as_working_or_held_whatever_has_come_of_it() -> None:
    assert task_states.begun(job(state="succeeded"), now=NOW)["status"] == "working"
    held = task_states.begun(job(state="held", reason="no rule"), now=NOW)
    assert (held["status"], held["statusMessage"]) == ("input_required", "job 7 waits for the user's approval: no rule")
    assert "inputRequests" not in held
