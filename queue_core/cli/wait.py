"""`runq wait`: until jobs have ended."""

from __future__ import annotations

import sys

from queue_core import views
from queue_core.cli.context import complain, job_ids, on_terminal, opened, told_here, write_json
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.cli.text import columns, number_of
from queue_core.errors import UsageError
from queue_core.jobs import Filter
from queue_core.model import LIVE
from queue_core.waiting import CHUNK, Waited, check_known, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queue_core.service import Queue
    from queue_core.views import View

TIMED_OUT = 124
LOOKED_AT = 50  # waiting jobs that are asked what keeps them
SHOWN = 10  # jobs that the sentence about a time-out names
VERBS = {
    "wait": Verb(
        name="wait",
        summary="Wait until jobs have ended. Exit code 0: all succeeded, 1: not all did, 124: time-out.",
        operands="ID...|--all",
        options=(
            Option(name="all", help="for all jobs that wait or run now"),
            Option(name="timeout", metavar="SPAN", kind="span", least=0, help="no longer: 90 (seconds), 15m, 2h"),
            JSON,
        ),
        more="In a pipe each job is a line as it ends: id, state, exit code. Who waits for a job that was handed over "
        "waits for its successors: the success of one of them counts as the job's own.",
        example="runq wait 7 8\nrunq wait --all --timeout 600",
    ),
}


def run_wait(given: Given) -> int:
    """`runq wait`."""
    timeout: float | None = given.get("timeout")
    with opened() as queue:
        waited = Waited(queue, _wanted(queue, given))
        _say_what_will_not_happen(queue, waited.pending)
        with _shown(given, len(waited.pending)) as show:
            in_time = wait(queue, waited, timeout, _telling(queue, show))
        if given.get("json"):
            write_json({"jobs": waited.views(), "timed_out": not in_time})
    if not in_time:
        _say_what_is_left(waited)
        return TIMED_OUT
    return 0 if waited.all_succeeded else 1


def _wanted(queue: Queue, given: Given) -> tuple[int, ...]:
    """The ids to wait for; UnknownJob if one is none."""
    if given.get("all"):
        if given.operands:
            raise UsageError("give either ids or --all, not both")
        return tuple(queue.ids(Filter(states=LIVE)))
    wanted = job_ids(given, "wait")
    check_known(queue, wanted)
    return wanted


def _say_what_will_not_happen(queue: Queue, pending: Sequence[int]) -> None:
    """Waiting is in vain where a person has to act first: say so, once."""
    states = queue.states_of(pending[:CHUNK])
    held = set(queue.ids(Filter(states=("held",))))
    ids = [one for one in pending if one in held]
    if ids:
        waiting = f"{number_of(len(ids), 'job')} of these (the first is {ids[0]})"
        complain(f"{waiting} cannot run before a person approves: {views.how_to_approve('ID')}")
    waiting = [one for one in pending[:CHUNK] if states.get(one) in ("blocked", "scheduled", "available")]
    for cause, stuck in _hindrances(queue, waiting[:LOOKED_AT]).items():
        more = f" (and {len(stuck) - 1} more of these)" if stuck[1:] else ""
        complain(f"job {stuck[0]}{more} waits for {cause}")


def _hindrances(queue: Queue, ids: Sequence[int]) -> dict[str, list[int]]:
    """What somebody has to see to before these jobs can run, with the jobs that it keeps."""
    queues = {one.name: one for one in queue.store.queues()}
    workers = len(queue.live_workers())
    found: dict[str, list[int]] = {}
    for one in ids:
        job = queue.job(one)
        cause = views.hindrance(job, queues.get(job.queue), workers=workers)
        if cause is not None:
            found.setdefault(cause, []).append(one)
    return found


def _telling(queue: Queue, show: Callable[[View], None]) -> Callable[[View], None]:
    """Show a job, and have it noted that it was shown."""

    def tell(job: View) -> None:
        show(job)
        told_here(queue, [job])

    return tell


def _say_what_is_left(waited: Waited) -> None:
    named = ", ".join(f"{one} ({waited.states[one]})" for one in waited.pending[:SHOWN])
    more = f" and {len(waited.pending) - SHOWN} more" if len(waited.pending) > SHOWN else ""
    complain(f"the time is over, and these have not ended: {named}{more}; `runq status ID` says why")


class _shown:
    """Ended jobs as lines, on a terminal below a progress bar; nothing with --json."""

    def __init__(self, given: Given, total: int) -> None:
        self._silent = bool(given.get("json"))
        self._bar = None
        if on_terminal() and not self._silent and total:
            from queue_core.cli.progress import Waiting

            self._bar = Waiting(total)

    def __enter__(self) -> Callable[[View], None]:
        if self._silent:
            return lambda _: None
        return self._bar.ended if self._bar else _write_line

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()


def _write_line(job: View) -> None:
    successor = [f"handed over to {job['escalated_to']}"] if job.get("escalated_to") else []
    sys.stdout.write(columns(job["id"], job["state"], job["exit_code"], *successor) + "\n")
    sys.stdout.flush()
