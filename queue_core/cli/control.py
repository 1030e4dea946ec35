"""`runq cancel`, `approve`, `reject`, `pin`, `unpin`, `pause`, `resume`: what people do to jobs and queues."""

from __future__ import annotations

import os

from queue_core.callers import under_hook
from queue_core.cli.context import at_most_one, complain, job_ids, known_queue, opened, report, write_json, write_lines
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.cli.text import columns, command_with_steps, request_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queue_core.model import JobState
    from queue_core.service import Queue
    from queue_core.store import Moved


def _verb(name: str, summary: str, example: str, *, operands: str = "ID...", more: str = "") -> Verb:
    return Verb(name=name, summary=summary, operands=operands, options=(JSON,), example=example, more=more)


_ALL_OR_NONE = "All or none: if one id is wrong, nothing is changed. In a pipe each job is a line: id, state."
VERBS = {
    "cancel": _verb(
        "cancel",
        "Cancel waiting jobs; stop running ones with all their processes. No worker is needed for that.",
        "runq cancel 7 8",
        more=_ALL_OR_NONE,
    ),
    "approve": Verb(
        name="approve",
        summary="Let held jobs run: those of agents that no rule of yours covers. A person's alone.",
        usage=("ID... [--json]", "--show ID... [--json]"),
        operands="ID...",
        options=(
            Option(name="show", help="show all that they ask for, values of variables and input too; approve nothing"),
            JSON,
        ),
        example="runq approve 7\nrunq approve --show 7\nrunq list --state held",
        more=_ALL_OR_NONE,
    ),
    "reject": _verb("reject", "Refuse held jobs for good. A person's alone.", "runq reject 7", more=_ALL_OR_NONE),
    "pin": _verb(
        "pin",
        "Spare jobs from pruning. Agents' and hooks' pins are automatic: beyond pin_cap the oldest gives way.",
        "runq pin 7",
        more=_ALL_OR_NONE,
    ),
    "unpin": _verb(
        "unpin",
        "Let pruning have jobs again. What a person has pinned is a person's to unpin.",
        "runq unpin 7",
        more=_ALL_OR_NONE,
    ),
    "pause": _verb(
        "pause",
        "Hand out nothing of a queue (which need not exist yet), or of all, also of those that are yet to come."
        " What runs goes on.",
        "runq pause ci\nrunq pause",
        operands="[Q]",
    ),
    "resume": _verb(
        "resume",
        "Hand out a queue's jobs again, or all queues'. What a person has paused is a person's to resume.",
        "runq resume ci\nrunq resume",
        operands="[Q]",
    ),
}


def run_cancel(given: Given) -> int:
    """`runq cancel`: 1 if a job had ended in another way before."""
    ids = job_ids(given, "cancel")
    with opened() as queue:
        queue.settle_leftovers()
        before = dict(queue.cancel(ids))
        after = queue.states_of(ids)
    moved: Moved = [(one, after.get(one, state)) for one, state in before.items()]
    too_late = [one for one, state in before.items() if state in ("succeeded", "dead")]
    _report(given, moved, lambda one, state: _cancelled(one, before[one], state), unsaid=too_late)
    for one in too_late:
        dead = before[one] == "dead"
        hint = f"`runq dead discard {one}` gives it up" if dead else "there was nothing to cancel"
        complain(f"job {one} {'is a dead letter' if dead else 'has succeeded already'}; {hint}")
    return 1 if too_late else 0


def _cancelled(one: int, found: JobState, now: JobState) -> str:
    if found == "running":
        ended = "Stopped" if now == "cancelled" else "Too late for"
        stopping = f"Job {one} is being stopped; `runq wait {one}` waits for its end."
        return stopping if now == "running" else f"{ended} job {one}: {now}."
    if found == "cancelled":
        return f"Job {one} was cancelled already."
    return f"Cancelled job {one}."


def run_approve(given: Given) -> int:
    """`runq approve`."""
    ids = job_ids(given, "approve")
    if given.get("show"):
        return _show_requests(given, ids)
    with opened() as queue:
        released = {one: command_with_steps(queue.job_view(one)) for one in ids}
        moved = queue.approve(ids)
    _report(given, moved, lambda one, state: f"Approved job {one} ({state}): {released[one]}")
    return 0


def _show_requests(given: Given, ids: Sequence[int]) -> int:
    with opened() as queue:
        asked = [queue.request_view(one, queue.origin()) for one in ids]
    if given.get("json"):
        write_json({"jobs": asked})
    else:
        write_lines("\n\n".join("\n".join(request_lines(one)) for one in asked).split("\n"))
    return 0


def run_reject(given: Given) -> int:
    """`runq reject`."""
    return _move(given, "reject", lambda queue, ids: queue.reject(ids), "Rejected job {0}.")


def run_pin(given: Given) -> int:
    """`runq pin`."""
    return _pin(given, "pin", "Pinned job {0} ({1}).")


def run_unpin(given: Given) -> int:
    """`runq unpin`."""
    return _pin(given, "unpin", "Job {0} ({1}) is pinned no longer.")


def _pin(given: Given, verb: str, sentence: str) -> int:
    ids = job_ids(given, verb)
    with opened() as queue:
        moved, gave_way = queue.pin(ids, pinned=verb == "pin")
    _report(given, moved, sentence.format, **({"gave_way": gave_way} if verb == "pin" else {}))
    if not under_hook(os.environ) and not given.get("json"):
        for one in gave_way:
            complain(f"job {one} is pinned no longer: its pin was automatic, and gave way (`pin_cap`)")
    return 0


def _move(given: Given, verb: str, change: Callable[[Queue, Sequence[int]], Moved], sentence: str) -> int:
    ids = job_ids(given, verb)
    with opened() as queue:
        moved = change(queue, ids)
    _report(given, moved, sentence.format)
    return 0


def _report(
    given: Given,
    moved: Moved,
    sentence: Callable[[int, JobState], str],
    *,
    unsaid: Sequence[int] = (),
    **more: object,
) -> None:
    """Say what became of each job; of those `unsaid` a person is told elsewhere."""
    report(
        given,
        {"jobs": [{"id": one, "state": state} for one, state in moved], **more},
        rows=[columns(one, state) for one, state in moved],
        sentences=[sentence(one, state) for one, state in moved if one not in unsaid],
    )


def run_pause(given: Given) -> int:
    """`runq pause [Q]`."""
    wanted = at_most_one(given, "pause")
    with opened() as queue:
        names = queue.pause(wanted, paused=True)
    again = "runq resume" if wanted is None else f"runq resume {wanted}"
    what = _all_of(names) if wanted is None else wanted
    return _report_queues(given, names, "paused", f"Paused {what}. What runs goes on; `{again}` hands out again.")


def _all_of(names: Sequence[str]) -> str:
    return f"all queues, those to come too ({', '.join(names)})"


def run_resume(given: Given) -> int:
    """`runq resume [Q]`; an unknown queue is an error, since a typo would leave the other one paused."""
    wanted = at_most_one(given, "resume")
    with opened() as queue:
        known_queue(queue, wanted)
        names = queue.pause(wanted, paused=False) if queue.store.queues() else []
    what = wanted or (_all_of(names) if names else "nothing: there is no queue yet")
    return _report_queues(given, names, "open", f"Resumed {what}.")


def _report_queues(given: Given, names: Sequence[str], state: str, sentence: str) -> int:
    document = {"queues": {name: {"paused": state == "paused"} for name in names}}
    report(given, document, rows=[columns(name, state) for name in names], sentences=[sentence])
    return 0
