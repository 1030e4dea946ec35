"""The judge's second part: what must not run beside, before or after what. Pure, and only what is certain from outside.

A run lasts from the moment when its command noted its start to that when it noted its end, which is less than it
really lasted; of one that was killed only its start counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from tests.crash.history import Run
from tests.crash.tasks import Task

Why = Iterable[str]  # sentences, one for each thing that must not be
Span = tuple[float, float]


def after_a_cancel(runs: Sequence[Run], cancelled: Mapping[int, float], replayed: Mapping[int, int]) -> Why:
    """`cancelled`: the ids of jobs that somebody was told are cancelled, and when that was heard."""
    for run in runs:
        if run.job not in replayed and run.began > cancelled.get(run.job, run.began):
            yield f"{run} began after job {run.job} was acknowledged as cancelled at {cancelled[run.job]}"


def beside_a_sequential_job(runs: Sequence[Run], tasks: Mapping[int, Task]) -> Why:
    """Nothing else of its queue runs meanwhile."""
    queues: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.number in tasks:
            queues[tasks[run.number].options["queue"]].append(run)
    for name, members in queues.items():
        for one in members:
            if tasks[one.number].options.get("sequential"):
                for other in members:
                    if other is not one and _meet(_span(one), _span(other)):
                        yield f"{one} is sequential, and {other} of the same queue {name!r} ran beside it"


def beyond_a_lock(runs: Sequence[Run], tasks: Mapping[int, Task]) -> Why:
    """No more runs at a time hold a lock than it has room for."""
    holders: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        for lock in tasks[run.number].options.get("locks", ()) if run.number in tasks else ():
            holders[lock].append(run)
    for lock, members in holders.items():
        capacity = int(lock.partition("=")[2])
        for run in members:
            beside = [one for one in members if one is not run and one.began <= run.began < one.last]
            if len(beside) >= capacity:
                yield f"{run} held {lock} when {beside} did"


def two_of_one_key(runs: Sequence[Run], tasks: Mapping[int, Task], replayed: Mapping[int, int]) -> Why:
    """A job that was not replayed is live from its first start to its last end: no other of its key is meanwhile."""
    keys: dict[str, dict[int, list[Span]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run.number in tasks and (key := tasks[run.number].unique):
            keys[key][run.job].append(_span(run))
    for key, jobs in keys.items():
        for one, other in combinations(jobs, 2):
            lives = [jobs[job] if job in replayed else [_hull(jobs[job])] for job in (one, other)]
            if any(_meet(mine, its) for mine in lives[0] for its in lives[1]):
                yield f"jobs {one} and {other} of the key {key} were live at a time"


def before_what_it_needs(runs: Sequence[Run], tasks: Mapping[int, Task], replayed: Mapping[int, int]) -> Why:
    """What needs another's success begins after a run with exit code 0; what needs its end, after its last run."""
    by_number: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        by_number[run.number].append(run)
    for number, mine in by_number.items():
        if number not in tasks or (need := tasks[number].need) is None:
            continue
        began, needed = min(run.began for run in mine), by_number.get(need.number, [])
        if need.success and not any(run.code == 0 and run.last <= began for run in needed):
            yield f"number {number} began at {began}, and what it needs had not succeeded: {needed}"
        late = [run for run in needed if run.last > began and run.job not in replayed]
        if not need.success and late:
            yield f"number {number} began at {began}, and what it waits for had not ended: {late}"


def _span(run: Run) -> Span:
    return run.began, run.last


def _hull(spans: Sequence[Span]) -> Span:
    return min(began for began, _ in spans), max(last for _, last in spans)


def _meet(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]
