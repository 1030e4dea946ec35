"""One shape of a job, of the queue's status and of its health: for JSON, MCP and pages alike. Pure."""

from __future__ import annotations

import os

from queue_core import health, quotas
from queue_core.fastjson import loads
from queue_core.model import WAITING
from queue_core.secret_shapes import mask_text
from queue_core.visible import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from queue_core.jobs import Attempt, Deed, Job, Link, Overview, QueueRow, ScheduleRow
    from queue_core.model import Admission

    View = dict[str, Any]


def text_of(output: bytes) -> str:
    """Output as text: what is no UTF-8 is replaced on reading, never on storing."""
    return output.decode("utf-8", "replace")


def job(
    it: Job,
    *,
    waiting_for: str | None = None,
    output_tail: bytes | None = None,
    progress: str | None = None,
    chain: Sequence[Link] = (),
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
        "own_env": sorted(it.own_env),
        "timeout": it.timeout,
        "retries": it.retries,
        "sequential": it.sequential,
        "locks": list(it.locks),
        "unique": it.unique_key,
        "escalate_after": it.on_dead[0].after if it.on_dead else None,
        "escalated_from": it.escalated_from,
        "schedule": it.schedule,
        "chain": [link(one) for one in chain] if len(chain) > 1 else [],
        "pinned": it.pinned is not None,
        "cancel_requested": it.cancel_requested,
        "waiting_for": waiting_for,
        "progress": progress,
        "output_tail": text_of(tail),
        "result": result(it),
        "attempts": [attempt(one) for one in it.attempts],
    }


def result(it: Job) -> Any:
    """What the latest attempt of a handler's job has returned; None if it was nothing."""
    returned = it.attempts[-1].result if it.attempts else None
    return loads(returned) if returned is not None else None


def summary(it: Job) -> View:
    """A job as a line of a list."""
    return {
        "id": it.id,
        "state": it.state,
        "queue": it.queue,
        "priority": it.priority,
        "argv": list(it.argv),
        "handler": it.handler,
        "arguments": dict(it.arguments),
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
        "on_dead": [list(step.argv) for step in it.on_dead],
        "on_dead_programs": [step.executable for step in it.on_dead],
        "escalated_to": it.escalated_to,
    }


def request(it: Job, given: bytes | None) -> View:
    """What a held job asks for, in full: for the person who decides, and nobody else."""
    return {
        "id": it.id,
        "state": it.state,
        "argv": list(it.argv),
        "handler": it.handler,
        "arguments": dict(it.arguments),
        "program": it.program,
        "cwd": it.cwd,
        "env": {name: it.env.get(name, "") for name in it.own_env},
        "stdin": text_of(given) if given is not None else None,
        "stdin_path": it.stdin_path,
        "on_dead": [list(step.argv) for step in it.on_dead],
        "on_dead_programs": [step.executable for step in it.on_dead],
        "queue": it.queue,
        "priority": it.priority,
        "sequential": it.sequential,
        "retries": it.retries,
        "scheduled_at": rfc3339(it.due_at),
        "timeout": it.timeout,
        "locks": list(it.locks),
        "unique": it.unique_key,
        "caller": it.caller,
        "session": it.session,
        "project": it.project,
        "reason": it.reason,
    }


def deed(it: Deed) -> View:
    """One line of the audit trail; commands are as they were asked for, with tokens of known shapes masked."""
    about = it.about
    argv = [mask_text(word) for word in loads(about)] if about and about.startswith("[") else None
    return {
        "id": it.id,
        "at": rfc3339(it.at),
        "what": it.what,
        "job": it.job,
        "argv": argv,
        "about": None if argv is not None or about is None else mask_text(about),
        "caller": it.caller,
        "client": it.client,
        "session": it.session,
        "project": it.project,
    }


def link(it: Link) -> View:
    """One job of a chain in which each took over from the one before it."""
    what: View = {"argv": list(it.argv)} if it.handler is None else {"handler": it.handler}
    return {"id": it.id, "state": it.state, **what}


def schedule(it: ScheduleRow, queues: Admission | None) -> View:
    """A schedule and what it queues (None: that cannot be read); values of variables and input stay inside."""
    return {
        "name": it.name,
        "cron": it.cron,
        "every": it.every,
        "tz": it.zone if it.cron is not None else None,
        "missed": it.missed,
        "next_at": None if it.paused else rfc3339(it.next_at),
        "last_at": rfc3339(it.last_at),
        "last_job": it.last_job,
        "paused": it.paused,
        "paused_by": it.paused_by,
        "trouble": it.trouble,
        "caller": it.caller,
        "created_at": rfc3339(it.created_at),
        **(_queued_by(queues) if queues else _UNREADABLE),
    }


# What is shown of a schedule whose job cannot be read.
_UNREADABLE: View = {
    **dict.fromkeys(("handler", "queue", "priority", "sequential", "delay", "program", "cwd")),
    **dict.fromkeys(("stdin_path", "has_input", "timeout", "retries", "unique", "job_name", "escalate_after")),
    **dict.fromkeys(("session", "project")),
    **{key: [] for key in ("argv", "env", "locks", "on_dead", "on_dead_programs")},
    "arguments": {},
    "meta": {},
}


def _queued_by(it: Admission) -> View:
    """What a schedule queues."""
    job = it.job
    return {
        "argv": list(job.argv),
        "handler": job.handler,
        "arguments": dict(job.arguments),
        "job_name": job.name,
        "queue": job.queue,
        "priority": job.priority,
        "sequential": job.sequential,
        "delay": job.delay,
        "program": it.program,
        "cwd": it.cwd,
        "env": sorted(it.env),
        "stdin_path": job.stdin_path,
        "has_input": job.stdin is not None or job.stdin_path is not None,
        "timeout": it.timeout,
        "retries": it.retry.retries,
        "locks": [name for name, _ in job.locks],
        "unique": job.unique,
        "meta": dict(job.meta),
        "on_dead": [list(step.argv) for step in it.on_dead],
        "on_dead_programs": [step.executable for step in it.on_dead],
        "escalate_after": it.on_dead[0].after if it.on_dead else None,
        "session": it.origin.session,
        "project": it.origin.project,
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


def status(found: Overview, worker: View, health_view: View) -> View:
    """The whole queue at a glance. There may be a thousand queues: a dict is made once of each, and added to."""
    queues: dict[str, View] = {
        name: {"paused": False, "parallelism": slots} for name, slots in zip(found.names, found.slots, strict=True)
    }
    for state, counts in found.counts.items():
        for view, count in zip(queues.values(), counts, strict=True):
            if count:
                view[state] = count
    for name, paused, starts_per_minute, rests_until in found.special:
        view = queues[name]
        view["paused"] = bool(paused)
        if starts_per_minute is not None:
            view["starts_per_minute"] = starts_per_minute
            view["rests_until"] = rfc3339(rests_until)
    return {"counts": dict(found.totals.counts), "queues": queues, "worker": worker, "health": health_view}


def how_to_approve(job_id: int | str) -> str:
    """What a person has to type, who shall know what they approve."""
    return f"look with `runq approve --show {job_id}`, then `runq approve {job_id}`"


def waiting_for(
    it: Job,
    *,
    now: float,
    queue: QueueRow | None,
    needs: Sequence[tuple[int, str, str | None]],
    barrier: int | None,
    host_is_full: bool,
    workers: int,
    starts_per_minute: int | None = None,
    all_rest_until: float | None = None,
    successors: Mapping[int, Link] | None = None,
) -> str | None:
    """In words, what a job waits for; None if it waits for nothing. `successors`: who took over from what it needs."""
    if it.state == "held":
        return f"a person's approval ({how_to_approve(it.id)}): {it.reason or 'no rule covers it'}"
    if it.state == "blocked":
        return "; ".join(_need(*need, (successors or {}).get(need[0])) for need in needs) or "another job"
    if it.state == "scheduled":
        wait = (it.due_at or now) - now
        after = f" (the last attempt: {it.reason})" if it.failures and it.reason else ""
        if wait > 0:
            return f"its time, in {max(1.0, wait):.0f} s{after}"
    if it.state in ("available", "scheduled"):  # whoever claims makes what is due available first
        own = _rest("its queue's", queue.starts_per_minute, queue.rests_until, now) if queue else None
        rest = own or _rest("all queues'", starts_per_minute, all_rest_until, now)
        return _available(it, queue, barrier, host_is_full, workers, rest)
    return None


def hindrance(it: Job, queue: QueueRow | None, *, workers: int) -> str | None:
    """What keeps a job from running that somebody has to see to, as `waiting_for` words it; None: it will pass."""
    if queue and queue.paused:
        return f"its queue to be resumed (`runq resume {it.queue}`)"
    if it.handler and (not workers or (it.parked or "").startswith("@")):
        return f"a worker that has the handler {it.handler}: start the program that declares it"
    if not workers:
        return "a worker: none is up (a session's server boots one, or run `runq work`)"
    return None


def _rest(whose: str, starts: int | None, until: float | None, now: float) -> str | None:
    """That starts have been used up, if they have."""
    end = quotas.rest_end(until, now)
    if starts is None or end is None:
        return None
    return f"{whose} {starts} start{'' if starts == 1 else 's'} a minute to come round: the next in {end - now:.0f} s"


def _need(needed: int, condition: str, state: str | None, successor: Link | None) -> str:
    what = {"success": "to succeed", "any": "to end", "failure": "to fail"}[condition]
    if successor is not None and condition == "success":
        now = "dead: replay or discard it" if successor.state == "dead" else successor.state
        return f"job {needed} {what} ({state}, handed over to job {successor.id}, now {now})"
    hint = " (dead: replay or discard it)" if state == "dead" else f" (now {state})"
    return f"job {needed} {what}{hint}"


def _available(
    it: Job, queue: QueueRow | None, barrier: int | None, host_is_full: bool, workers: int, rest: str | None
) -> str:
    stuck = hindrance(it, queue, workers=workers)
    if stuck and (workers or it.handler or (queue and queue.paused)):  # else what a worker would wait for tells more
        return stuck
    if it.parked:
        return f"the lock {it.parked}"
    if barrier is not None:
        return f"the sequential job {barrier} of its queue"
    if rest is not None:
        return rest
    running = queue.counts["running"] if queue else 0
    if it.sequential and running:
        return f"the {running} running of its queue to end: it runs alone"
    if queue and running >= queue.slots:
        return f"one of the {queue.slots} places of its queue"
    if host_is_full:
        return "one of the host's places (`max_running`)"
    return stuck or "its turn"


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
