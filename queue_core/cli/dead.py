"""`runq dead`: the dead letters, jobs that failed for good and wait for somebody to decide."""

from __future__ import annotations

import time

from queue_core.cli.context import (
    action_of,
    complain,
    known_queue,
    mind_unknown_queue,
    on_terminal,
    opened,
    report,
    write_json,
    write_lines,
)
from queue_core.cli.look import FILTERS, MOST
from queue_core.cli.options import JSON, Given, Option, Verb, job_id
from queue_core.cli.text import columns, command_of, number_of, result, why
from queue_core.errors import UsageError
from queue_core.jobs import Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from queue_core.service import Queue
    from queue_core.store import Moved
    from queue_core.views import View

DAY = 86400.0  # seconds
_BULK = ("all", "queue", "program", "older-than", "dry-run", "json")
VERBS = {
    "dead": Verb(
        name="dead",
        summary="The dead letters: jobs that failed for good. List them, run them again, or give them up.",
        operands="ACTION",
        usage=(
            "list [--queue Q] [--program P] [--older-than DAYS] [--limit N] [--json]",
            "retry ID... [--dry-run] [--json]",
            "retry --all [--queue Q] [--program P] [--older-than DAYS] [--dry-run] [--json]",
            "discard ID... [--dry-run] [--json]",
            "discard --all [--queue Q] [--program P] [--older-than DAYS] [--dry-run] [--json]",
        ),
        actions={"list": ("queue", "program", "older-than", "limit", "json"), "retry": _BULK, "discard": _BULK},
        options=(
            Option(name="all", help="all dead letters (that the filters leave)"),
            *FILTERS,
            Option(
                name="older-than", metavar="DAYS", kind="days", least=0, help="that died longer ago: 7 (days), 36h, 90m"
            ),
            Option(name="dry-run", help="only say which ones it would be"),
            Option(name="limit", metavar="N", kind="int", help="list at most so many (default 50)"),
            JSON,
        ),
        more="retry gives a job a fresh allowance of attempts; those so far are kept. discard cancels what waits "
        "for it. --all leaves out what was handed over to a job that is alive or has succeeded; retry also what was "
        "handed over to another dead letter, since that one is run again.\n\n"
        "In a pipe `list` writes a line a job: id, queue, attempts, result, died, why, command.",
        example="runq dead list\nrunq dead retry 7\nrunq dead retry --all --program make --dry-run\n"
        "runq dead discard --all --older-than 7",
    ),
}


def run_dead(given: Given) -> int:
    """`runq dead list|retry|discard`."""
    actions = {"list": _list, "retry": _retry, "discard": _discard}
    return actions[action_of(given, "dead", actions)](given)


def _list(given: Given) -> int:
    if len(given.operands) > 1 or given.get("all") or given.get("dry_run"):
        raise UsageError("runq dead list takes filters only; `runq status ID` shows one job")
    with opened() as queue:
        queue.settle_leftovers()
        mind_unknown_queue(queue, given.get("queue"))
        view = queue.list_view(_filter(given))
    if given.get("json"):
        write_json(view)
    elif on_terminal():
        from queue_core.cli import tables

        tables.show_dead(view["jobs"])
    else:
        write_lines(_line(job) for job in view["jobs"])
    return 0


def _line(job: View) -> str:
    died = (result(job), job["finished_at"], why(job))
    return columns(job["id"], job["queue"], job["attempt"], *died, command_of(job))


def _retry(given: Given) -> int:
    """Run them again; an agent's wish goes through policy, and may end as held."""
    return _change(given, "retry", lambda queue, ids: queue.replay(ids), "Job {0} is {1} again.")


def _discard(given: Given) -> int:
    return _change(given, "discard", lambda queue, ids: queue.discard(ids), "Gave up job {0}.")


def _change(
    given: Given, verb: Literal["retry", "discard"], change: Callable[[Queue, Sequence[int]], Moved], sentence: str
) -> int:
    named = _named(given, verb)
    with opened() as queue:
        queue.settle_leftovers()
        known_queue(queue, given.get("queue"))
        ids, left_out = (named, 0) if named else queue.dead_letters(_filter(given), verb)
        dry = bool(given.get("dry_run"))
        moved: Moved = [(queue.job(one).id, queue.job(one).state) for one in ids] if dry else []
        if ids and not dry:
            moved = change(queue, ids)
    if dry:
        sentence = f"Would {verb} job {{0}} ({{1}})."
    if left_out and not given.get("json"):
        complain(
            f"left out {number_of(left_out, 'dead letter')} that other jobs took over; give their ids to {verb} them"
        )
    report(
        given,
        {"jobs": [{"id": one, "state": state} for one, state in moved], "dry_run": dry, "left_out": left_out},
        rows=[columns(one, state) for one, state in moved],
        sentences=[sentence.format(one, state) for one, state in moved] or ["No dead letters match."],
    )
    return 0


def _named(given: Given, verb: str) -> tuple[int, ...]:
    """The ids that were given; none with --all. UsageError for anything between the two."""
    ids = tuple(dict.fromkeys(job_id(text) for text in given.operands[1:]))
    filtered = any(given.get(key) is not None for key in ("queue", "program", "older_than"))
    if given.get("limit") is not None:
        raise UsageError(f"--limit goes with list alone; runq dead {verb} takes ids, or --all and filters")
    if ids and (given.get("all") or filtered):
        raise UsageError("give either ids or --all with filters, not both")
    if not ids and not given.get("all"):
        raise UsageError(f"say which: runq dead {verb} ID..., or runq dead {verb} --all (filters narrow that)")
    return ids


def _filter(given: Given) -> Filter:
    limit: int = given.get("limit", 50)
    if not 0 < limit <= MOST:
        raise UsageError(f"--limit is a number from 1 to {MOST}, not {limit}")
    days: float | None = given.get("older_than")
    if days is not None and not 0 <= days < 1e6:
        raise UsageError(f"--older-than is a number of days, not {days:g}")
    return Filter(
        states=("dead",),
        queue=given.get("queue"),
        program=given.get("program"),
        older_than=None if days is None else time.time() - days * DAY,
        limit=limit,
    )
