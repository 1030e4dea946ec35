"""The judge of a storm: what happened, what was told and what the queue says, compared claim by claim. Pure.

What happened is what the commands noted themselves, and whom the harness hit; what was told are the answers that
clients got. Nothing is believed because the queue says so, and nothing that the harness cannot know is held against it:
a client that died before its answer may have left one job or none.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.crash import order
from tests.crash.history import Claim, History, Run
from tests.crash.job import payload
from tests.crash.tasks import Task, number_of

View = dict[str, Any]

FAILED = frozenset({"exited", "signalled", "timed_out", "lost"})  # what an attempt ends as before it is run again
ENDED = frozenset({"succeeded", "dead", "cancelled"})
ORDER = "order"  # the claim that is broken when something runs beside, before or after what it must not


class Finding(NamedTuple):
    """A claim that was found broken, and how."""

    claim: str
    text: str


class Told:
    """What clients asked for and were told, and what else the harness did or knows."""

    def __init__(
        self,
        tasks: Mapping[int, Task],
        *,
        cancelled: Iterable[int] = (),
        acknowledged: Mapping[int, float] | None = None,
        replayed: Mapping[int, int] | None = None,
        keeper_of: Callable[[Claim], str | None] = lambda _: None,
    ) -> None:
        self.tasks = tasks
        self.cancelled = set(cancelled)  # ids that somebody wanted to cancel
        self.acknowledged = acknowledged or {}  # those that somebody was told are cancelled, and when
        self.replayed = replayed or {}
        self.keeper_of = keeper_of  # who ran a claim, as far as that is known


def judge(
    history: History,
    told: Told,
    jobs: Sequence[View],
    output_of: Callable[[Claim], bytes | None],
) -> list[Finding]:
    """Every claim against everything. `jobs` are views with their attempts, when all have ended."""
    queue = {job["id"]: job for job in jobs}
    return [
        *_lost(told, jobs),
        *_overlaps(history),
        *_unrecorded(history, queue),
        *_again(history, told, jobs),
        *_truth(history, told, jobs),
        *(Finding(ORDER, why) for why in _disorder(history.runs, told)),
        *_outputs(history, told, jobs, output_of),
    ]


def _disorder(runs: Sequence[Run], told: Told) -> Iterable[str]:
    yield from order.after_a_cancel(runs, told.acknowledged, told.replayed)
    yield from order.beside_a_sequential_job(runs, told.tasks)
    yield from order.beyond_a_lock(runs, told.tasks)
    yield from order.two_of_one_key(runs, told.tasks, told.replayed)
    yield from order.before_what_it_needs(runs, told.tasks, told.replayed)


def _states(jobs: Sequence[View]) -> dict[int | None, str]:
    return {number_of(job["argv"]): job["state"] for job in jobs}


def _waits_for_ever(number: int | None, told: Told, states: Mapping[int | None, str]) -> bool:
    """A job that needs the success of a dead one stays blocked, and so does what waits for it."""
    task = told.tasks.get(number) if number is not None else None
    if states.get(number) != "blocked" or task is None or task.need is None:
        return False
    return (task.need.success and states.get(task.need.number) == "dead") or _waits_for_ever(
        task.need.number, told, states
    )


def _lost(told: Told, jobs: Sequence[View]) -> Iterable[Finding]:
    """Accepted: exactly one job. Refused: none. Unknown: at most one. All have ended."""
    by_number: dict[int | None, list[View]] = defaultdict(list)
    states = _states(jobs)
    for job in jobs:
        by_number[number_of(job["argv"])].append(job)
        if job["state"] not in ENDED and not _waits_for_ever(number_of(job["argv"]), told, states):
            yield Finding(
                "lost", f"job {job['id']} has not ended: {job['state']}, waiting for {job.get('waiting_for')}"
            )
    keys = {job["unique"] for job in jobs if job.get("unique")}
    for number, task in told.tasks.items():
        found = by_number.pop(number, [])
        most, least = (0 if task.answer == "refused" else 1), int(task.answer == "accepted" and task.unique not in keys)
        if len(found) < least:
            yield Finding("lost", f"number {number} was accepted (as {task.id}), and there is no such job")
        if len(found) > most:
            ids = [job["id"] for job in found]
            yield Finding(
                "full" if most == 0 else "twice", f"number {number}, {task.answer} ({task.said}), is jobs {ids}"
            )
        if found and task.id is not None and found[0]["id"] != task.id:
            yield Finding("lost", f"number {number} was accepted as job {task.id} and is {found[0]['id']}")
    for number, found in by_number.items():
        yield Finding("frames", f"nobody asked for number {number}: jobs {[job['id'] for job in found]}")


def _overlaps(history: History) -> Iterable[Finding]:
    for line in history.overlaps:
        yield Finding("overlap", line)
    for claim, runs in Counter((run.job, run.claim) for run in history.runs).items():
        if runs > 1:
            yield Finding("overlap", f"claim {claim} was started {runs} times")


def _unrecorded(history: History, queue: Mapping[int, View]) -> Iterable[Finding]:
    recorded = {(job["id"], attempt["claim"]) for job in queue.values() for attempt in job["attempts"]}
    for run in history.runs:
        if (run.job, run.claim) not in recorded:
            yield Finding("unrecorded", f"{run} is in no attempt of job {run.job}")


def _again(history: History, told: Told, jobs: Sequence[View]) -> Iterable[Finding]:
    """A run follows another only where the one before is recorded as failed, and the job may retry; then it does."""
    started = {(run.job, run.claim) for run in history.runs}
    for job in jobs:
        replays = told.replayed.get(job["id"], 0)
        failures = 0
        previous: View | None = None
        for attempt in sorted(job["attempts"], key=lambda one: one["claim"]):
            if attempt["outcome"] == "lost":
                yield from _may_be_lost(history, told, (job["id"], attempt["claim"]))
            if previous is not None and (job["id"], attempt["claim"]) in started:
                yield from _may_follow(job, previous, failures, replays)
            failures += attempt["outcome"] in FAILED and attempt.get("exit_code") != 0
            previous = attempt
        if job["state"] == "dead" and failures <= job["retries"] and not replays:
            yield Finding("lost", f"job {job['id']} is dead after {failures} failures, with {job['retries']} retries")


def _may_be_lost(history: History, told: Told, claim: Claim) -> Iterable[Finding]:
    keeper = told.keeper_of(claim)
    if not history.keepers:
        yield Finding("twice", f"no keeper was killed, and {claim} of {keeper} is recorded as lost")
    elif keeper is not None and keeper not in history.keepers:
        yield Finding("again", f"keeper {keeper} was not killed, and {claim} is recorded as lost")


def _may_follow(job: View, previous: View, failures: int, replays: int) -> Iterable[Finding]:
    claim = "again" if previous["outcome"] == "lost" else "twice"
    succeeded = previous["outcome"] == "exited" and previous.get("exit_code") == 0
    if not replays and (succeeded or previous["outcome"] not in (*FAILED, "interrupted")):
        yield Finding(claim, f"job {job['id']} ran again after {previous}")
    if failures > job["retries"] + replays * (job["retries"] + 1):
        yield Finding(claim, f"job {job['id']} ran again after {failures} failures, with {job['retries']} retries")


def _truth(history: History, told: Told, jobs: Sequence[View]) -> Iterable[Finding]:
    """Exit codes and signals are those of the runs; a job's state follows from them."""
    runs = {(run.job, run.claim): run for run in history.runs}
    states = _states(jobs)
    for job in jobs:
        number = number_of(job["argv"])
        task = told.tasks.get(number) if number is not None else None
        if task is None:
            continue
        for attempt in job["attempts"]:
            why = _untrue(attempt, runs.get((job["id"], attempt["claim"])), task, history, job["id"] in told.cancelled)
            if why:
                yield Finding("truth", f"job {job['id']}, number {number}: {why}: {attempt}")
        last = max(job["attempts"], key=lambda one: one["claim"], default=None)
        good = last is not None and last["outcome"] == "exited" and last.get("exit_code") == 0
        if (job["state"] == "succeeded") != good and not (good and job["id"] in told.cancelled):
            yield Finding("truth", f"job {job['id']} is {job['state']} after {last}")
        abandoned = task.need is not None and task.need.success and states.get(task.need.number) == "cancelled"
        if job["state"] == "cancelled" and job["id"] not in told.cancelled and not abandoned:
            yield Finding("truth", f"job {job['id']} is cancelled, and nobody asked for that")


def _untrue(attempt: View, run: Run | None, task: Task, history: History, cancelled: bool) -> str:
    outcome, code, number = attempt["outcome"], attempt.get("exit_code"), attempt.get("signal")
    if outcome == "exited":
        if run is None or run.code is None:
            return "its command never came to its end"
        if task.timeout is not None and not history.late:
            return f"its time-out of {task.timeout} s did not end it"
        return f"its exit code was {run.code}" if run.code != code else ""
    if outcome == "signalled":
        return "nobody killed it" if number != 9 or (run is not None and run.pid not in history.killed) else ""
    if outcome == "timed_out":
        return "it had no time-out" if task.timeout is None else ""
    if outcome == "cancelled":
        return "nobody cancelled it" if not cancelled else ""
    if outcome == "lost":
        return ""
    return "it cannot have ended like that"


def _outputs(
    history: History, told: Told, jobs: Sequence[View], output_of: Callable[[Claim], bytes | None]
) -> Iterable[Finding]:
    """What is kept of a run's output is what it wrote: all of it, if it came to its end."""
    runs = {(run.job, run.claim): run for run in history.runs}
    for job in jobs:
        for attempt in job["attempts"]:
            run = runs.get((job["id"], attempt["claim"]))
            if run is None or run.number not in told.tasks:
                continue
            whole = payload(run.number, run.claim, told.tasks[run.number].size)
            kept = output_of((run.job, run.claim))
            if run.code is not None and kept != whole[: run.written]:
                have = "none" if kept is None else len(kept)
                yield Finding("truth", f"{run} wrote {run.written} bytes, and {have} other ones are kept")
            elif kept is not None and not whole.startswith(kept):
                yield Finding("truth", f"what is kept of {run} is not what it wrote")
            if attempt["outcome"] == "exited" and attempt["output_bytes"] != run.written:
                yield Finding("truth", f"{run} wrote {run.written} bytes; recorded are {attempt['output_bytes']}")
