"""Jobs and outcomes as the suite needs them, and a bench that drives a store with a clock of its own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal

from queue_core.jobs import Filter, Outcome, Settlement
from queue_core.model import STATES, Admission, NewJob, Origin, Retry, Step
from queue_core.quotas import QueueLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queue_core.jobs import By, Job, Lease
    from queue_core.model import Receipt
    from queue_core.quotas import Quotas
    from queue_core.store import MayRun, Store

START = 1_800_000_000.0
PLENTY = 1000
EVERYTHING = Filter(limit=100_000)
PERSON = Origin(caller="person")
AGENT = Origin(caller="agent", client="claude-code 2", session="s", project="/p")

_ADMISSION_FIELDS = frozenset(
    [
        "origin",
        "program",
        "executable",
        "cwd",
        "retry",
        "due_at",
        "held",
        "on_dead",
        "escalated_from",
        "schedule",
        "spool_id",
        "task",
    ]
)


def admission(*argv: str, caller: str = "person", retries: int = 0, base: float = 10.0, **fields: Any) -> Admission:
    """A job that passed every check; `fields` are an Admission's own, the rest a NewJob's."""
    chosen = {name: fields.pop(name) for name in list(fields) if name in _ADMISSION_FIELDS}
    steps = tuple(step if isinstance(step, Step) else step_of(*step) for step in chosen.pop("on_dead", ()))
    job = NewJob(argv=argv or (() if "handler" in fields else ("true",)), **fields)
    defaults: dict[str, Any] = {
        "origin": Origin(caller=caller),  # pyright: ignore[reportArgumentType]
        "program": "/bin/true",
        "executable": "/bin/true",
        "cwd": "/",
        "env": dict(job.env),
        "retry": Retry(retries=retries, backoff="exponential", base=base, cap=3600.0),
        "timeout": job.timeout,
        "on_dead": steps,
    }
    return Admission(job=job, **{**defaults, **chosen})


def step_of(*argv: str, after: int | None = None) -> Step:
    """A step of a chain of escalation."""
    return Step(argv=argv, executable="/bin/echo", after=after)


def whose(will: By) -> Origin:
    """Somebody whose will this is."""
    return PERSON if will == "person" else AGENT


def exited(code: int = 0, **more: Any) -> Outcome:
    return Outcome(kind="exited", exit_code=code, **more)


SUCCESS = exited(0)
FAILURE = exited(1)


class Bench:
    """One store, a clock that stands still until told, and workers that claim and settle."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = START
        self._tokens = itertools.count(1)
        self._entered: set[str] = set()

    # putting in

    def submit(
        self, *admissions: Admission, capacity: int = PLENTY, parallelism: int = 100, quotas: Quotas | None = None
    ) -> list[Receipt]:
        return self.store.enqueue(admissions, now=self.now, capacity=capacity, parallelism=parallelism, quotas=quotas)

    def receipt(self, *argv: str, parallelism: int = 100, **fields: Any) -> Receipt:
        return self.submit(admission(*argv, **fields), parallelism=parallelism)[0]

    def add(self, *argv: str, **fields: Any) -> int:
        return self.receipt(*argv, **fields).id

    def configure(self, *, queues: Mapping[str, int | QueueLimits] | None = None, **limits: int | None) -> None:
        """Store limits as a worker does when it enters; a number is a queue's parallelism."""
        own = {
            name: QueueLimits(parallelism=given) if isinstance(given, int) else given
            for name, given in (queues or {}).items()
        }
        self._register("configurer", limits, own)
        self.store.deregister("configurer")

    # running

    def enter(self, worker: str, host: str = "here", handlers: Sequence[str] = (), keeper: str | None = None) -> None:
        if worker not in self._entered:
            self._register(worker, {}, {}, host, handlers, keeper)
            self._entered.add(worker)

    def _register(
        self,
        worker: str,
        limits: Mapping[str, int | None],
        queues: Mapping[str, QueueLimits],
        host: str = "here",
        handlers: Sequence[str] = (),
        keeper: str | None = None,
    ) -> None:
        self.store.register(
            worker,
            pid=1,
            host=host,
            keeper=f"keeper-of-{worker}" if keeper is None else keeper,
            booted_by=None,
            version="1",
            now=self.now,
            limits=limits,
            queues=queues,
            handlers=handlers,
        )

    def exchange(
        self,
        *settlements: Settlement,
        want: int = 100,
        worker: str = "w1",
        host: str = "here",
        max_running: int = 1000,
        may_run: MayRun | None = None,
        handlers: Sequence[str] = (),
        commands: bool = True,
    ) -> tuple[list[str | None], list[Lease]]:
        self.enter(worker, host, handlers)
        states, leases = self.store.exchange(
            settlements,
            worker=worker,
            keeper=f"keeper-of-{worker}",
            host=host,
            want=want,
            max_running=max_running,
            now=self.now,
            tokens=lambda: f"token-{next(self._tokens)}",
            chance=lambda: 0.0,
            may_run=may_run,
            handlers=handlers,
            commands=commands,
        )
        return list(states), leases

    def claim(self, want: int = 100, **who: Any) -> list[Lease]:
        return self.exchange(want=want, **who)[1]

    def claimed(self, want: int = 100, **who: Any) -> list[int]:
        """The ids of the jobs that a claim hands out, in its order."""
        return [lease.job for lease in self.claim(want, **who)]

    def claim_one(self, job: int) -> Lease:
        """Claim everything that may start, and give the lease of this job."""
        return next(lease for lease in self.claim() if lease.job == job)

    def settle(self, *settlements: Settlement, permanent: Sequence[int] = (), chance: float = 0.0) -> list[str | None]:
        return list(self.store.settle(settlements, now=self.now, chance=lambda: chance, permanent_exit_codes=permanent))

    def end(self, lease: Lease, outcome: Outcome = SUCCESS, **how: Any) -> str | None:
        return self.settle(settlement(lease, outcome), **how)[0]

    def run(self, job: int, outcome: Outcome = SUCCESS) -> str | None:
        """Claim whatever may start, end this job's attempt, leave the others running."""
        return self.end(self.claim_one(job), outcome)

    def added_and_run(self, outcome: Outcome = SUCCESS, **fields: Any) -> int:
        job = self.add(**fields)
        self.run(job, outcome)
        return job

    def tick(self, seconds: float) -> None:
        self.now += seconds

    # changing

    def cancel(self, *ids: int) -> list[tuple[int, str]]:
        return list(self.store.cancel(ids, by=PERSON, now=self.now))

    def approve(self, *ids: int) -> list[tuple[int, str]]:
        return list(self.store.approve(ids, by=PERSON, now=self.now))

    def reject(self, *ids: int) -> list[tuple[int, str]]:
        return list(self.store.reject(ids, by=PERSON, now=self.now))

    def replay(self, *ids: int, held: Mapping[int, str] | None = None, approved: bool = True) -> list[tuple[int, str]]:
        return list(self.store.replay(ids, held=held or {}, by=PERSON if approved else AGENT, now=self.now))

    def discard(self, *ids: int) -> list[tuple[int, str]]:
        return list(self.store.discard(ids, by=PERSON, now=self.now))

    def pause(self, queue: str | None = "default", *, paused: bool = True, by: By = "person") -> list[str]:
        return self.store.pause(queue, paused=paused, parallelism=4, by=whose(by), now=self.now)

    def resume(self, queue: str | None = "default", *, by: By = "person") -> list[str]:
        return self.pause(queue, paused=False, by=by)

    def pin(
        self, *ids: int, by: Literal["person", "automatic"] = "person", cap: int = 8
    ) -> tuple[list[tuple[int, str]], list[int]]:
        moved, gave_way = self.store.pin(ids, by=whose(by), cap=cap, now=self.now)
        return list(moved), gave_way

    def unpin(self, *ids: int, by: Literal["person", "automatic"] = "person") -> list[tuple[int, str]]:
        return list(self.store.unpin(ids, by=whose(by), now=self.now))

    def prune(self, older_than: float = 0.0, limit: int = 1000) -> list[int]:
        """Prune what ended more than so many seconds ago; the ids that went."""
        return [job for job, _ in self.store.prune(before=self.now - older_than, limit=limit)]

    # looking

    def job(self, job_id: int) -> Job:
        found = self.store.job(job_id)
        assert found is not None, f"there is no job {job_id}"
        return found

    def state(self, job_id: int) -> str:
        return self.job(job_id).state

    def states(self, *ids: int) -> list[str]:
        return [self.state(job_id) for job_id in ids]

    def everything(self) -> list[Job]:
        return list(self.store.jobs(EVERYTHING).jobs)

    def counters(self) -> dict[str, dict[str, int]]:
        """Every queue's counters as the store keeps them."""
        return {queue.name: dict(queue.counts) for queue in self.store.queues()}

    def recount(self) -> dict[str, dict[str, int]]:
        """The same, counted from the jobs themselves."""
        found = {queue.name: dict.fromkeys(STATES, 0) for queue in self.store.queues()}
        for job in self.everything():
            found[job.queue][job.state] += 1
        return found  # pyright: ignore[reportReturnType]


def settlement(lease: Lease, outcome: Outcome = SUCCESS, **other: Any) -> Settlement:
    """A result with the lease's fence, or with a part of it exchanged."""
    fence: dict[str, Any] = {"job": lease.job, "claim": lease.claim, "token": lease.token, **other}
    return Settlement(outcome=outcome, **fence)
