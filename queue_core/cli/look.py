"""`runq status`, `runq list` and `runq health`: reading, as a table for people and as lines for programs."""

from __future__ import annotations

from queue_core.cli.context import (
    at_most_one,
    mind_unknown_queue,
    on_terminal,
    opened,
    project_of,
    told_here,
    write_json,
    write_lines,
)
from queue_core.cli.options import JSON, Given, Option, Verb, job_id
from queue_core.cli.text import chain_line, columns, command_of, command_with_steps, lines_of, quoted, result
from queue_core.errors import UsageError
from queue_core.fastjson import dumps
from queue_core.health import EXIT_CODES
from queue_core.jobs import Filter
from queue_core.model import STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from queue_core.service import Queue
    from queue_core.views import View

MOST = 100_000  # jobs that one list may show
FILTERS = (
    Option(name="queue", metavar="Q", help="of this queue"),
    Option(name="program", metavar="P", help="that run this program (a path or a name)"),
)
VERBS = {
    "status": Verb(
        name="status",
        summary="The queue at a glance, or one job in full.",
        operands="[ID]",
        options=(JSON,),
        example="runq status\nrunq status 7\nrunq status 7 --json",
    ),
    "list": Verb(
        name="list",
        summary="Jobs, newest first. With --since, those that ended after that cursor, oldest first.",
        options=(
            Option(name="state", metavar="S", choices=STATES, many=True, help="in this state"),
            *FILTERS,
            Option(name="caller", metavar="C", choices=("person", "hook", "agent"), help="queued by such a caller"),
            Option(name="session", metavar="ID", help="queued in this session"),
            Option(name="project", metavar="DIR", help="queued in this project"),
            Option(name="handler", metavar="NAME", help="for this handler"),
            Option(name="schedule", metavar="NAME", help="queued by this schedule"),
            Option(name="meta", metavar="K=V", many=True, help="with this note"),
            Option(name="since", metavar="CURSOR", help="ended after this cursor, which --json gives"),
            Option(name="limit", metavar="N", kind="int", help="at most so many (default 50)"),
            JSON,
        ),
        more="In a pipe each job is a line: id, state, queue, priority, attempts, result, created, finished, "
        "name, command; separated by tabs, `-` for nothing, control characters escaped.",
        example="runq list --state dead --state held\nrunq list --queue ci --meta ticket=42 --json",
    ),
    "health": Verb(
        name="health",
        summary="How full the queue is. Exit code 0: ok, 1: warning (80 % full), 2: error (full).",
        options=(JSON,),
        more="Everything else that needs attention is listed as a problem, and leaves the exit code as it is.",
        example="runq health\nrunq health --json",
    ),
}


def run_status(given: Given) -> int:
    """`runq status [ID]`."""
    operand = at_most_one(given, "status")
    wanted = job_id(operand) if operand is not None else None
    with opened() as queue:
        queue.settle_leftovers()
        view = queue.status_view() if wanted is None else queue.job_view(wanted)
        told_here(queue, [view] if wanted is not None else [])
        pid = _pid(queue, view) if wanted is not None and on_terminal() else None
        missed = wanted is None and not view["worker"]["pids"] and _is_missed(queue, view)
    if given.get("json"):
        write_json(view)
    elif on_terminal():
        from queue_core.cli import tables

        tables.show_overview(view, missed=missed) if wanted is None else tables.show_job(view, pid=pid)
    else:
        write_lines(_overview_lines(view) if wanted is None else _job_lines(view))
    return 0


def _pid(queue: Queue, job: View) -> int | None:
    """The process of a running job's command, or of the worker whose function runs it."""
    if job["state"] != "running":
        return None
    from queue_core.keeper import records

    it = queue.job(job["id"])
    if it.handler is not None:
        return queue.live_workers().get(it.worker or "")
    found = records.read(queue.home.run(it.id, it.claim))
    return found.start.pid if found and found.start else None


def _is_missed(queue: Queue, view: View) -> bool:
    """Whether a worker, if one came up, would ever find something to do: a command, in a queue that is not paused."""
    jobs = queue.list_view(Filter(states=("available", "scheduled", "blocked"), limit=100))["jobs"]
    paused = {name for name, queue in view["queues"].items() if queue["paused"]}  # there may be a new one by now
    return any(job["handler"] is None and job["queue"] not in paused for job in jobs)


def run_list(given: Given) -> int:
    """`runq list`."""
    wanted = _filter(given)
    with opened() as queue:
        queue.settle_leftovers()
        mind_unknown_queue(queue, wanted.queue)
        view = queue.list_view(wanted)
    if given.get("json"):
        write_json(view)
    elif on_terminal():
        from queue_core.cli import tables

        tables.show_jobs(view["jobs"], limit=wanted.limit, newest=wanted.since is None)
    else:
        write_lines(list_line(job) for job in view["jobs"])
    return 0


def run_health(given: Given) -> int:
    """`runq health`."""
    with opened() as queue:
        queue.settle_leftovers()
        view = queue.health_view()
    if given.get("json"):
        write_json(view)
    elif on_terminal():
        from queue_core.cli import tables

        tables.show_health(view)
    else:
        write_lines(_health_lines(view))
    return EXIT_CODES[view["level"]]


def _filter(given: Given) -> Filter:
    limit: int = given.get("limit", 50)
    if not 0 < limit <= MOST:
        raise UsageError(f"--limit is a number from 1 to {MOST}, not {limit}")
    return Filter(
        states=tuple(given.get("state", ())),
        queue=given.get("queue"),
        program=given.get("program"),
        caller=given.get("caller"),
        session=given.get("session"),
        project=project_of(given),
        handler=given.get("handler"),
        schedule=given.get("schedule"),
        meta=dict(_note(text) for text in given.get("meta", ())),
        since=_cursor(given.get("since")),
        limit=limit,
    )


def _cursor(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UsageError(
            f"--since takes a cursor, the one that --json ends with, not {text!r}; for a span see `runq stats --since`"
        )
    return int(text)


def _note(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--meta takes NAME=VALUE, not {text!r}")
    return key, value


def list_line(job: View) -> str:
    """A job as one line for other programs; columns are only ever added at the end, before the command."""
    return columns(
        *(job["id"], job["state"], job["queue"], job["priority"], job["attempt"], result(job)),
        *(job["created_at"], job["finished_at"], job["name"]),
        command_with_steps(job),
    )


def _health_lines(view: View) -> Iterator[str]:
    for key in ("level", "pending", "capacity", "usage", "dead"):
        yield columns(key, view[key])
    for problem in view["problems"]:
        yield columns("problem", problem)


def _overview_lines(view: View) -> Iterator[str]:
    yield columns("health", view["health"]["level"])
    yield columns("worker", view["worker"]["state"], *view["worker"]["pids"])
    for state, count in view["counts"].items():
        yield columns("jobs", state, count)
    for name, queue in view["queues"].items():
        paused = "paused" if queue["paused"] else "open"
        counts = [f"{state}={queue[state]}" for state in STATES if state in queue]
        limits = [f"{key}={queue[key]}" for key in ("parallelism", "starts_per_minute") if key in queue]
        yield columns("queue", name, paused, *limits, *counts)
    for problem in view["health"]["problems"]:
        yield columns("problem", problem)


def _job_lines(job: View) -> Iterator[str]:
    """A job as `key<TAB>value` lines, its attempts and the end of its output as lines of their own."""
    yield columns("command", command_of(job))
    for key, value in job.items():
        if key not in ("argv", "attempts", "output_tail", "result") and not isinstance(value, (list, dict)):
            yield columns(key, value)
    if job["handler"]:
        yield columns("result", dumps(job["result"]) if job["result"] is not None else None)
    for key in ("env", "own_env", "locks"):
        yield columns(key, " ".join(job[key]))
    for argv in job["on_dead"] or [()]:
        yield columns("on_dead", quoted(argv))
    if job["chain"]:
        yield columns("handed_over", chain_line(job["chain"]))
    for key, value in job["meta"].items():
        yield columns("meta", f"{key}={value}")
    for number, attempt in enumerate(job["attempts"], 1):
        ended = (attempt["started_at"], attempt["finished_at"], attempt["output_bytes"], attempt["error"])
        yield columns("attempt", number, result(attempt), *ended)
    for line in lines_of(job["output_tail"]):
        yield columns("output", line)
