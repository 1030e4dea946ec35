"""The words of the reference: jobs and queues as they stand, and the rules that need no more than their arguments."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

WAITING = ("held", "blocked", "scheduled", "available")
ENDED = ("succeeded", "dead", "cancelled")
STATES = (*WAITING, "running", *ENDED)
PRIORITIES = ("critical", "high", "normal", "low")
LONGEST_DELAY = 3600.0  # seconds between an attempt and the next
OVERFLOW = 10  # persons and hooks may fill the queue to this many times its capacity, agents to its capacity


class Refused(Exception):
    """The queue says no (its argument is the error's name), and nothing has changed."""


class Illegal(AssertionError):
    """A store has chosen what the rules do not allow."""


@dataclass(frozen=True)
class New:
    """A job as somebody asks for it; `after` and its like hold ids, or the `ref` of an earlier job of the same call."""

    queue: str = "default"
    priority: str = "normal"
    caller: str = "person"
    sequential: bool = False
    due_at: float | None = None
    held: bool = False
    unique: str | None = None
    locks: tuple[tuple[str, int | None], ...] = ()  # each with how many may hold it at once; None: as it is, or one
    after: tuple[int | str, ...] = ()
    after_any: tuple[int | str, ...] = ()
    after_failure: tuple[int | str, ...] = ()
    retries: int = 0
    backoff: str = "exponential"
    base: float = 10.0
    ref: str | None = None


@dataclass
class Job:
    """A job as it stands."""

    id: int
    asked: New
    state: str
    due_at: float | None
    needs: set[tuple[int, str]]  # what it still waits for: a job's id, and "success", "any" or "failure" of that
    claim: int = 0  # grows with every claim
    token: str | None = None  # the secret of the claim that runs: who names claim and token may say how it ended
    worker: str | None = None
    host: str | None = None
    attempt: int = 0  # the claims that counted, ever
    failures: int = 0  # since it was queued or replayed
    attempts_before: int = 0  # those it had made when it was replayed last
    cancel_requested: bool = False
    outcome: str | None = None
    attempts: list[tuple[int, str]] = field(default_factory=list)  # each recorded once: its claim and its outcome
    approved_at: float | None = None
    rejected_at: float | None = None
    finished_at: float | None = None
    end: int | None = None  # its number among all ends, which consumers use as a cursor
    cause: int | None = None  # which deed ended it; what one deed ends has numbers in any order
    pinned: str | None = None
    pinned_at: float = 0.0

    @property
    def place(self) -> tuple[int, int]:
        """Its place in its queue: by priority, then first in, first out."""
        return PRIORITIES.index(self.asked.priority), self.id

    @property
    def locks(self) -> list[str]:
        """The locks it holds while it runs."""
        return [name for name, _ in self.asked.locks]


@dataclass
class Queue:
    """A line of jobs; of those that could start, the queue that was served longest ago is served next."""

    slots: int  # how many of its jobs may run at once, over all workers
    paused_by: str | None = None
    served: int = 0


def all_or_none(verb: Callable[..., T]) -> Callable[..., T]:
    """What is refused leaves nothing behind."""

    @functools.wraps(verb)
    def careful(self: Book, *args: Any, **kwargs: Any) -> T:
        before = self.copied()
        try:
            return verb(self, *args, **kwargs)
        except Refused:
            self.__dict__.update(before)
            raise

    return careful


class Book:
    """What is written down of a queue, and how it is looked up."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.queues: dict[str, Queue] = {}
        self.locks: dict[str, int] = {}  # how many jobs may hold each at once
        self.slots: int | None = None  # of queues to come, once a worker has said so
        self.all_paused_by: str | None = None
        self.newest_id: int = 0
        self.ends: int = 0  # how many there were: the newest one's number
        self.causes: int = 0
        self.turns: int = 0

    def waiting(self) -> int:
        """How many jobs wait; what health and capacity are about."""
        return sum(job.state in WAITING for job in self.jobs.values())

    def counts(self) -> dict[str, dict[str, int]]:
        """How many jobs of each queue are in each state."""
        pairs = Counter((job.asked.queue, job.state) for job in self.jobs.values())
        return {name: {state: pairs[name, state] for state in STATES} for name in self.queues}

    def next_due(self, after: float) -> float | None:
        """When the next scheduled job is due."""
        due = [job.due_at for job in self.jobs.values() if job.state == "scheduled" and job.due_at is not None]
        return min((at for at in due if at > after), default=None)

    def completions(self, since: int) -> list[Job]:
        """The jobs whose latest end has a number beyond this one, in its order."""
        return sorted((job for job in self.jobs.values() if (job.end or 0) > since), key=lambda job: job.end or 0)

    def live_with(self, unique: str | None) -> Job | None:
        """The job that has this unique key: of those that have not ended there is never more than one."""
        live = (job for job in self.jobs.values() if job.state not in ENDED)
        return next((job for job in live if unique is not None and job.asked.unique == unique), None)

    def running(self) -> list[Job]:
        """The jobs that run, whoever runs them."""
        return [job for job in self.jobs.values() if job.state == "running"]

    def known(self, ids: Iterable[int]) -> Iterable[Job]:
        """These jobs, one after the other. Refused if one is not there."""
        for job_id in ids:
            if job_id not in self.jobs:
                raise Refused("UnknownJob")
            yield self.jobs[job_id]

    def in_state(self, ids: Iterable[int], *states: str) -> Iterable[Job]:
        """These jobs. Refused if one is not there, or in none of these states."""
        for job in self.known(ids):
            if job.state not in states:
                raise Refused("InvalidTransition")
            yield job

    def copied(self) -> dict[str, Any]:
        """All that stands there, for when it has to be as it was."""
        jobs = {job.id: replace(job, needs=set(job.needs), attempts=list(job.attempts)) for job in self.jobs.values()}
        queues = {name: replace(queue) for name, queue in self.queues.items()}
        return {**self.__dict__, "jobs": jobs, "queues": queues, "locks": dict(self.locks)}


def delay(backoff: str, base: float, failures: int) -> float:
    """Seconds between the failure of this number (1 for the first) and the next attempt."""
    fibonacci = [1, 1]
    while len(fibonacci) < failures:
        fibonacci.append(sum(fibonacci[-2:]))
    times = {"exponential": 2 ** (failures - 1), "linear": failures, "fibonacci": fibonacci[failures - 1]}
    return min(base * times.get(backoff, 0), LONGEST_DELAY)


def verdict(condition: str, state: str) -> str:
    """Whether a job that waits for another in this state may go on, has to wait ("open"), or never can.

    A dead job may be replayed: who waits for its success waits on, until it is given up.
    """
    if condition == "any":
        return "met" if state in ENDED else "open"
    met, never = ("succeeded", ("cancelled",)) if condition == "success" else ("dead", ("succeeded", "cancelled"))
    return "met" if state == met else "never" if state in never else "open"


def stronger(pause: str | None, other: str) -> str:
    return "person" if "person" in (pause, other) else other


def require(rule: bool, otherwise: str) -> None:
    if not rule:
        raise Illegal(otherwise)
