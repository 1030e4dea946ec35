"""How a job stands, as a task of the extension `io.modelcontextprotocol/tasks` says it. Pure.

A command that has failed is `completed`, with a result that is an error: `failed` would say that the request itself
could not be answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp_server import replies
from mcp_server.replies import View
from mcp_server.schemas import as_result
from queue_core.jobs import Job
from queue_core.views import rfc3339

if TYPE_CHECKING:
    from queue_core.model import JobState

DAY_MS = 86_400_000
SHORTEST_POLL, LONGEST_POLL = 500, 5000  # milliseconds
POLLED_SHARE = 0.1  # of a task's age: the longer it has lasted, the less a moment matters


def begun(it: Job, *, now: float) -> View:
    """A task that has just been made. Whatever has come of it meanwhile is for the next look."""
    held = it.state == "held"
    said = _approval(it) if held else f"job {it.id} is queued"
    return _live(it, "input_required" if held else "working", said, now)


def described(
    it: Job,
    view: View,
    *,
    standing: JobState,
    questions: Mapping[str, Any],
    now: float,
    keep_days: float,
) -> View:
    """The task of a job: its status with what belongs to it.

    `view` is the job as everybody is shown it, `standing` how it stands for those who wait for it, `questions` what
    its client is to ask its user, by key; `keep_days` is how long ended jobs are kept.
    """
    reply = replies.job(view)
    if it.state == "held":
        said = _approval(it) if questions else f"job {it.id} waits for {reply['waiting_for']}"
        return _live(it, "input_required", said, now) | {"inputRequests": dict(questions)}
    if it.state not in ("succeeded", "dead", "cancelled"):
        return _live(it, "working", _progress(it, reply), now)
    if it.state == "cancelled":
        return _ended(it, "cancelled", f"job {it.id} was cancelled: {reply.get('error', 'on request')}", keep_days)
    if standing not in ("succeeded", "dead"):
        return _live(it, "working", _handed_over(it, reply, view), now)
    result = as_result(reply, is_error=standing == "dead").model_dump(by_alias=True, mode="json", exclude_none=True)
    return _ended(it, "completed", _end(it, reply, view), keep_days) | {"result": result}


def _live(it: Job, status: str, said: str, now: float) -> View:
    age_ms = max(0.0, now - it.created_at) * 1000
    poll = round(min(LONGEST_POLL, max(SHORTEST_POLL, age_ms * POLLED_SHARE)))
    return {"status": status, "statusMessage": said, **_times(it), "ttlMs": None, "pollIntervalMs": poll}


def _ended(it: Job, status: str, said: str, keep_days: float) -> View:
    """Kept for a while, unless it is pinned."""
    ttl = None
    if it.pinned is None and it.finished_at is not None:
        ttl = round(max(0.0, it.finished_at - it.created_at) * 1000 + keep_days * DAY_MS)
    return {"status": status, "statusMessage": said, **_times(it), "ttlMs": ttl}


def _times(it: Job) -> View:
    own = (it.ready_at, it.started_at, it.finished_at, it.approved_at, it.rejected_at)
    known = [at for at in (*own, *(one.finished_at for one in it.attempts)) if at is not None]
    return {"createdAt": rfc3339(it.created_at), "lastUpdatedAt": rfc3339(max([it.created_at, *known]))}


def _approval(it: Job) -> str:
    return f"job {it.id} waits for the user's approval: {replies.said(it.reason or 'no rule covers it')}"


def _progress(it: Job, reply: View) -> str:
    """What a job does, or waits for."""
    if it.cancel_requested:
        return f"job {it.id} is being stopped"
    if it.state == "running":
        several = f", attempt {it.attempt} of {it.max_attempts}" if it.attempt > 1 else ""
        progress = f": {reply['progress']}" if "progress" in reply else ""
        return f"job {it.id} runs{several}{progress}"
    if it.state == "scheduled" and it.failures and "error" in reply:
        return f"attempt {it.attempt} of job {it.id} failed ({reply['error']}); again at {reply['scheduled_at']}"
    waits = reply.get("waiting_for")
    return f"job {it.id} waits for {waits}" if waits else f"job {it.id} is queued"


def _handed_over(it: Job, reply: View, view: View) -> str:
    last = view["chain"][-1] if view["chain"] else {"id": it.escalated_to, "state": "queued"}
    return f"{_end(it, reply, {'chain': []})}; job {last['id']} has taken over ({last['state']})"


def _end(it: Job, reply: View, view: View) -> str:
    if it.state == "succeeded":
        return f"job {it.id} has succeeded"
    handed_over = f"; handed over: {reply['handed_over']}" if view["chain"] else ""
    return f"job {it.id} has failed: {reply.get('error', 'for an unknown reason')}{handed_over}"
