"""One shape of a job, of the queue's status and of its health: for JSON, MCP and pages alike. Pure."""

from __future__ import annotations

import os
import time

from queue_core import health
from queue_core.model import STATES, WAITING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from queue_core.jobs import Attempt, Job, QueueRow

    View = dict[str, Any]


def rfc3339(seconds: float | None) -> str | None:
    """Seconds since the epoch as an RFC 3339 time in UTC, to the millisecond."""
    if seconds is None:
        return None
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{milliseconds:03d}Z"


def text_of(output: bytes) -> str:
    """Output as text: what is no UTF-8 is replaced on reading, never on storing."""
    return output.decode("utf-8", "replace")


def job(
    it: Job, *, waiting_for: str | None = None, output_tail: bytes | None = None, progress: str | None = None
) -> View:
    """A job with everything that may be shown of it: values of variables and input stay inside."""
    last = it.attempts[-1] if it.attempts else None
    tail = output_tail if output_tail is not None else (last.tail if last else b"")
    return {
        **summary(it),
        "max_attempts": it.max_attempts,
        "program": it.program,
        "cwd": it.cwd,
        "env": sorted(it.env),
        "timeout": it.timeout,
        "retries": it.retries,
        "sequential": it.sequential,
        "locks": list(it.locks),
        "unique": it.unique_key,
        "on_dead": list(it.on_dead),
        "escalated_from": it.escalated_from,
        "pinned": it.pinned is not None,
        "cancel_requested": it.cancel_requested,
        "waiting_for": waiting_for,
        "progress": progress,
        "output_tail": text_of(tail),
        "attempts": [attempt(one) for one in it.attempts],
    }


def summary(it: Job) -> View:
    """A job as a line of a list."""
    return {
        "id": it.id,
        "state": it.state,
        "queue": it.queue,
        "priority": it.priority,
        "argv": list(it.argv),
        "name": it.name,
        "attempt": it.attempt,
        "outcome": it.outcome,
        "exit_code": it.exit_code,
        "signal": it.signal,
        "error": it.reason,
        "created_at": rfc3339(it.created_at),
        "scheduled_at": rfc3339(it.due_at),
        "started_at": rfc3339(it.started_at),
        "finished_at": rfc3339(it.finished_at),
        "caller": it.caller,
        "session": it.session,
        "project": it.project,
        "meta": dict(it.meta),
    }


def attempt(it: Attempt) -> View:
    """One attempt: how it ended and what it used."""
    return {
        "claim": it.claim,
        "outcome": it.outcome,
        "exit_code": it.exit_code,
        "signal": it.signal,
        "error": it.error,
        "started_at": rfc3339(it.started_at),
        "finished_at": rfc3339(it.finished_at),
        "host": it.host,
        "output_bytes": it.output_bytes,
        "cut_bytes": it.cut_bytes,
        "user_seconds": it.user_seconds,
        "system_seconds": it.system_seconds,
        "max_rss_kib": it.max_rss_kib,
    }


def counts(queues: Sequence[QueueRow]) -> dict[str, int]:
    """Jobs by state, over all queues."""
    return {state: sum(queue.counts[state] for queue in queues) for state in STATES}


def pending(by_state: Mapping[str, int]) -> int:
    """Waiting jobs: what health and capacity count."""
    return sum(by_state[state] for state in WAITING)


def health_of(by_state: Mapping[str, int], *, capacity: int, problems: Sequence[str]) -> View:
    """The level follows from the capacity alone; what else a person should know stands in `problems`."""
    waiting = pending(by_state)
    return {
        "level": health.level(waiting, capacity),
        "pending": waiting,
        "capacity": capacity,
        "usage": round(health.usage(waiting, capacity), 4),
        "dead": by_state["dead"],
        "problems": list(problems),
    }


def status(queues: Sequence[QueueRow], worker: View, health_view: View) -> View:
    """The whole queue at a glance."""
    by_queue = {
        queue.name: {
            **{state: n for state, n in queue.counts.items() if n},
            "paused": queue.paused,
            "parallelism": queue.slots,
        }
        for queue in queues
    }
    return {"counts": counts(queues), "queues": by_queue, "worker": worker, "health": health_view}


def waiting_for(
    it: Job,
    *,
    now: float,
    queue: QueueRow | None,
    needs: Sequence[tuple[int, str, str | None]],
    barrier: int | None,
    host_is_full: bool,
    workers: int,
) -> str | None:
    """In words, what a job waits for; None if it waits for nothing."""
    if it.state == "held":
        return f"a person's approval (`runq approve {it.id}`): {it.reason or 'no rule covers it'}"
    if it.state == "blocked":
        return "; ".join(_need(*need) for need in needs) or "another job"
    if it.state == "scheduled":
        wait = max(0.0, (it.due_at or now) - now)
        after = f", after {it.reason}" if it.failures and it.reason else ""
        return f"its time, in {wait:.0f} s{after}"
    if it.state == "available":
        return _available(it, queue, barrier, host_is_full, workers)
    return None


def _need(needed: int, condition: str, state: str | None) -> str:
    what = {"success": "to succeed", "any": "to end", "failure": "to fail"}[condition]
    hint = " (dead: replay or discard it)" if state == "dead" else f" (now {state})"
    return f"job {needed} {what}{hint}"


def _available(it: Job, queue: QueueRow | None, barrier: int | None, host_is_full: bool, workers: int) -> str:
    if queue and queue.paused:
        return f"its queue to be resumed (`runq resume {it.queue}`)"
    if it.parked:
        return f"the lock {it.parked}"
    if barrier is not None:
        return f"the sequential job {barrier} of its queue"
    running = queue.counts["running"] if queue else 0
    if it.sequential and running:
        return f"the {running} running of its queue to end: it runs alone"
    if queue and running >= queue.slots:
        return f"one of the {queue.slots} places of its queue"
    if host_is_full:
        return "one of the host's places (`max_running`)"
    if not workers:
        return "a worker: none is up (a session's server boots one, or run `runq work`)"
    return "its turn"


def output(chunk: bytes, *, offset: int, total: int) -> View:
    """A piece of a job's output, with where it lies in the file."""
    return {
        "text": text_of(chunk),
        "offset": offset,
        "next_offset": offset + len(chunk),
        "total_bytes": total,
    }


def folder_of(path: str) -> str:
    """A path as people write it: their home is ~."""
    home = os.path.expanduser("~")
    return "~" + path[len(home) :] if path.startswith(home + "/") else path
