"""A real queue and the reference side by side: whatever is done to both, by whomever, they have to tell the same.

Several workers on several connections take turns in any order: they settle late, twice, or under a claim that is no
longer theirs, and processes are killed in the middle of a transaction, or just after an answer. Time goes on, and
sometimes back.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from queue_core.errors import QueueError
from queue_core.jobs import Filter, Orphan, Outcome, Settlement
from queue_core.model import Admission, NewJob, Origin, Retry
from queue_core.quotas import QueueLimits
from tests.conformance.builders import EVERYTHING, START
from tests.stateful.book import ENDED, New, Refused
from tests.stateful.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queue_core.jobs import Job, Lease
    from queue_core.store import Store
    from tests.stateful import book
    from tests.stateful.engines import Sqlite

T = TypeVar("T")
Ended = tuple[str, int | None]  # an outcome's kind, and its exit code
Ending = tuple[str, int, Ended, str]  # see ENDINGS

HOSTS = {"w1": "here", "w2": "here", "w3": "there"}
PERMANENT = (64,)
OUTCOMES = [
    *[("exited", 0), ("exited", 1), ("exited", 1), ("exited", 64), ("signalled", None), ("timed_out", None)],
    *[("spawn_failed", None), ("lost", None), ("interrupted", None), ("never_started", None), ("cancelled", None)],
]
WHO = ("person", "person", "agent", "hook")
# What is done to jobs, and to those in which states above all.
VERBS: list[tuple[str, tuple[str, ...]]] = [
    *[("cancel", ("held", "blocked", "available")), ("approve", ("held",)), ("approve", ("held",))],
    *[("reject", ("held",)), ("cancel", ("running",)), ("cancel", ("running",))],
    *[("discard", ("dead",)), ("replay", ("dead",)), ("replay", ENDED)],
]


class Wish(NamedTuple):
    """A job to be added, before it is known which jobs there are that it could wait for."""

    queue: str
    priority: str
    sequential: bool
    delay: float | None
    held: bool
    unique: str | None
    locks: tuple[tuple[str, int | None], ...]
    needs: list[tuple[str, int]]  # a field of New, and which job
    retries: int
    backoff: str


class Fence(NamedTuple):
    """A claim that somebody has been handed: a lease, as far as results name it."""

    job: int
    claim: int
    token: str


class Killed(Exception):
    """The process is gone, in the middle of a transaction."""


WHICH = st.integers(0, 40)
WORKERS = st.sampled_from(list(HOSTS))
STORES = st.integers(0, 1)
QUEUES = st.sampled_from("ab")
WISHES = st.builds(
    Wish,
    queue=QUEUES,
    priority=st.sampled_from(["normal", "normal", "critical", "low"]),
    sequential=st.sampled_from([False, False, False, True]),
    delay=st.sampled_from([None, None, None, 5.0, 20.0, -5.0]),
    held=st.sampled_from([False, False, False, True]),
    unique=st.sampled_from([None, None, "k", "l"]),
    locks=st.sampled_from([(), (), (), (("gpu", 1),), (("gpu", 2),), (("gpu", None), ("disk", 1)), (("disk", None),)]),
    needs=st.lists(st.tuples(st.sampled_from(["after", "after_any", "after_failure"]), WHICH), max_size=2),
    retries=st.integers(0, 2),
    backoff=st.sampled_from(["exponential", "linear", "fibonacci", "immediate"]),
)
# Which claim ended (of those that run, or of all that there ever were), how, and what the worker takes for its fence.
ENDINGS = st.tuples(
    st.sampled_from(["running", "running", "running", "any"]),
    WHICH,
    st.sampled_from(OUTCOMES),
    st.sampled_from(["own", "own", "own", "another's token", "the newest claim's number"]),
)


class Tally:
    """How much was tried."""

    def __init__(self) -> None:
        self.examples = 0
        self.steps = 0
        self.writes = 0


DEEDS: list[st.SearchStrategy[tuple[str, dict[str, Any]]]] = []


def deed(often: int = 1, **drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One of the things that are done, `often` times as often as others.

    They share one rule, because Hypothesis leaves out some rules for a whole example: one in which nobody adds jobs,
    or nobody runs them, shows little.
    """

    def listed(do: Callable[..., None]) -> Callable[..., None]:
        DEEDS.extend(st.tuples(st.just(do.__name__), st.fixed_dictionaries(drawn)) for _ in range(often))
        return do

    return listed


class Model(RuleBasedStateMachine):
    """Does the same to a store and to the reference, and compares them after every step."""

    def __init__(self, engine: Callable[[], Sqlite], tally: Tally) -> None:
        super().__init__()
        self.engine = engine()
        self.tally = tally
        self.reference = Reference()
        self.now = START
        self.slots = 1  # of a queue, unless a worker says otherwise
        self.fences: list[Fence] = []  # every claim there ever was
        self.seen: list[Orphan] = []  # what ran when somebody looked last
        self.read_to = self.consumed_to = 0  # cursors over completions
        self.dies = False  # whether the process is killed just after its next answer
        self.known: dict[int, tuple[Any, ...]] = {}
        self.tokens = itertools.count(1)
        tally.examples += 1

    def teardown(self) -> None:
        self.engine.close()

    # doing it to both

    def both(self, real: Callable[[], T], expected: Callable[[], T]) -> T | None:
        """The answer that both give; None if both refuse."""
        found = _answer(real)
        self._answered()
        wanted = _answer(expected)
        assert found == wanted, f"the store says {found}, the reference {wanted}"
        return None if isinstance(found, Exception) else found

    def _answered(self) -> None:
        """The store has answered: what it has said is to be there even if all processes are killed now."""
        self.tally.writes += 1
        if self.dies:
            self.dies = False
            self.engine.crash()

    def store(self, which: int) -> Store:
        return self.engine.stores[which]

    def pick(self, which: int, *states: str) -> int:
        """A job, if possible in one of these states; 999 for none at all."""
        ids = [job.id for job in self.reference.jobs.values() if job.state in states] or list(self.reference.jobs)
        return ids[which % len(ids)] if ids else 999

    def picks(self, which: Sequence[int], *states: str) -> list[int]:
        """Some jobs, in these states unless their number says otherwise."""
        return [self.pick(one, *(states if one % 8 else ())) for one in which]

    # deeds

    @initialize(wishes=st.lists(WISHES, min_size=2, max_size=5), slots=st.integers(1, 3))
    def there_is_something(self, wishes: list[Wish], slots: int) -> None:
        self.slots = slots
        self.put_in("person", 0, [wish._replace(needs=[], held=False, delay=None) for wish in wishes], 100)

    @deed(
        often=3,
        caller=st.sampled_from(WHO),
        store=STORES,
        wishes=st.lists(WISHES, min_size=1, max_size=3),
        room=st.sampled_from([100, 100, 0, 1, 2]),
    )
    def put_in(self, caller: str, store: int, wishes: list[Wish], room: int) -> None:
        """Add jobs to a queue that takes so many more from agents."""
        new = [self._new(caller, wish, number) for number, wish in enumerate(wishes)]
        capacity = max(1, self.reference.waiting() + room)
        limits: dict[str, Any] = {"now": self.now, "capacity": capacity, "parallelism": self.slots}
        ids: list[int] = []

        def real() -> list[tuple[int, str, bool]]:
            receipts = self.store(store).enqueue([_admission(one) for one in new], **limits)
            ids.extend(one.id for one in receipts if not one.existing)
            return [(one.id, one.state, one.existing) for one in receipts]

        self.both(real, lambda: self.reference.enqueue(new, **limits, ids=ids))

    def _new(self, caller: str, wish: Wish, number: int) -> New:
        needs: dict[str, Any] = {"after": (), "after_any": (), "after_failure": ()}
        for condition, which in wish.needs:  # some wait for an earlier job of the same call; now and then for none
            needed = f"ref{which % (number + 1)}" if which % 4 == 0 else self.pick(which, "held", "blocked", "running")
            needs[condition] = (*needs[condition], needed)
        due_at = None if wish.delay is None else self.now + wish.delay
        own = {name: value for name, value in wish._asdict().items() if name not in ("delay", "needs")}
        return New(**own, **needs, caller=caller, due_at=due_at, ref=f"ref{number}")

    @deed(
        often=5,
        worker=WORKERS,
        store=STORES,
        endings=st.lists(ENDINGS, max_size=3),
        want=st.sampled_from([4, 2, 1, 0]),
        places=st.sampled_from([10, 10, 1, 0]),
        killed_at=st.sampled_from([None] * 8 + [0, 1, 2]),
        passes=st.sampled_from([0.0, 0.0, 0.0, 1.0, 10.0, 40.0]),
    )
    def exchange(
        self,
        worker: str,
        store: int,
        endings: list[Ending],
        want: int,
        places: int,
        killed_at: int | None,
        passes: float,
    ) -> None:
        """Some time later a worker tells what has ended and asks for more; while it does, perhaps, it is killed."""
        self.now += passes
        ended = [self._ending(*one) for one in endings]
        mortal = self._mortal(killed_at)
        who: dict[str, Any] = {"worker": worker, "host": HOSTS[worker], "want": want}
        who["max_running"] = places + sum(job.host == HOSTS[worker] for job in self.reference.running())
        try:
            states, leases = self.store(store).exchange(
                [_settlement(*one) for one in ended],
                **who,
                keeper="k",
                now=self.now,
                tokens=lambda: mortal(f"token-{next(self.tokens)}"),
                chance=lambda: mortal(0.0),
                permanent_exit_codes=PERMANENT,
            )
        except Killed:
            self.engine.crash()
            return
        self._answered()
        handed_out = [Fence(lease.job, lease.claim, lease.token) for lease in leases]
        told = [(fence.job, fence.claim, fence.token, *outcome) for fence, outcome in ended]
        settled = self.reference.exchange(told, handed_out=handed_out, **who, now=self.now, permanent=PERMANENT)
        assert states == settled
        for lease in leases:
            self._check_lease(lease)
        self.fences += handed_out

    def _mortal(self, killed_at: int | None) -> Callable[[T], T]:
        """Kills the process when it is called for the time of this number, within a transaction."""
        calls = itertools.count()

        def call(value: T) -> T:
            if next(calls) == killed_at:
                self.engine.freeze()
                raise Killed
            return value

        return call

    def _check_lease(self, lease: Lease) -> None:
        job = self.reference.jobs[lease.job]
        assert (lease.queue, lease.caller, lease.attempt) == (job.asked.queue, job.asked.caller, job.attempt)
        assert (lease.argv, lease.approved) == (("run", job.asked.queue), job.approved_at is not None)

    def _ending(self, of: str, which: int, outcome: Ended, fence: str) -> tuple[Fence, Ended]:
        live = [one for one in self.fences if self._runs(one)]
        among = (live if of == "running" else None) or self.fences or [Fence(999, 1, "none")]
        own = among[which % len(among)]
        if fence == "another's token":
            own = own._replace(token=self.fences[(which + 1) % len(self.fences)].token if self.fences else "none")
        elif fence == "the newest claim's number" and own.job in self.reference.jobs:
            own = own._replace(claim=self.reference.jobs[own.job].claim)
        return own, outcome

    def _runs(self, fence: Fence) -> bool:
        job = self.reference.jobs.get(fence.job)
        return job is not None and (job.state, job.claim, job.token) == ("running", fence.claim, fence.token)

    @deed(store=STORES, endings=st.lists(ENDINGS, min_size=1, max_size=2))
    def settle(self, store: int, endings: list[Ending]) -> None:
        """Results without an exchange: a worker that leaves, or somebody who looks after a dead one's claims."""
        ended = [self._ending(*one) for one in endings]
        how: dict[str, Any] = {"now": self.now, "chance": lambda: 0.0, "permanent_exit_codes": PERMANENT}
        self.both(
            lambda: list(self.store(store).settle([_settlement(*one) for one in ended], **how)),
            lambda: [self.reference.settle(*f, *o, now=self.now, permanent=PERMANENT) for f, o in ended],
        )

    @deed(store=STORES, worker=WORKERS, forged=st.sampled_from([None, None, None, "token", "claim"]))
    def rescue(self, store: int, worker: str, forged: str | None) -> None:
        """Make what ran when somebody looked, perhaps long ago, this worker's; and look again."""
        seen = [(one.job, one.claim + (forged == "claim"), one.token + (forged or ""), one.worker) for one in self.seen]
        orphans = [
            Orphan(job=job, claim=claim, token=token, worker=was, keeper="k", host="here", cancel_requested=False)
            for job, claim, token, was in seen
        ]
        self.both(
            lambda: self.store(store).take_over(orphans, worker),
            lambda: self.reference.take_over(seen, worker),
        )
        self._look(store)

    def _look(self, store: int) -> None:
        self.seen = self.store(store).running()
        assert sorted((one.job, one.claim, one.token, one.worker, one.host) for one in self.seen) == [
            (job.id, job.claim, job.token, job.worker, job.host)
            for job in self.reference.jobs.values()
            if job.state == "running"
        ]

    @deed(
        often=3,
        verb=st.sampled_from(VERBS),
        store=STORES,
        which=st.lists(WHICH, min_size=1, max_size=3),
        caller=st.sampled_from(WHO),
        ask=st.sampled_from([False, False, True]),
    )
    def change(self, verb: tuple[str, tuple[str, ...]], store: int, which: list[int], caller: str, ask: bool) -> None:
        """What people and agents do to jobs; `ask` is whether what is replayed has to wait for approval."""
        does, states = verb
        ids, by = self.picks(which, *states), _by(caller)
        held = dict.fromkeys(ids if ask else [], "ask")
        real: dict[str, Any] = {"by": by, "now": self.now}
        wanted: dict[str, Any] = {"now": self.now}
        if does == "replay":
            real, wanted = {**real, "held": held}, {"held": held, "caller": caller}
        self.both(
            lambda: list(getattr(self.store(store), does)(ids, **real)),
            lambda: getattr(self.reference, does)(ids, **wanted),
        )

    @deed(
        store=STORES,
        which=st.lists(WHICH, min_size=1, max_size=2),
        caller=st.sampled_from(WHO),
        verb=st.sampled_from(["pin", "unpin", "prune", "prune", "consume", "consume"]),
        amount=st.sampled_from([1, 2, 100]),
        older_than=st.sampled_from([0.0, 10.0]),
    )
    def keep_house(self, store: int, which: list[int], caller: str, verb: str, amount: int, older_than: float) -> None:
        ids, by = self.picks(which, *ENDED), _by(caller)
        if verb == "pin":
            self.both(
                lambda: self.store(store).pin(ids, by=by, cap=2, now=self.now),
                lambda: self.reference.pin(ids, by=by.will, cap=2, now=self.now),
            )
        elif verb == "unpin":
            self.both(
                lambda: list(self.store(store).unpin(ids, by=by, now=self.now)),
                lambda: self.reference.unpin(ids, by=by.will),
            )
        elif verb == "prune":
            before = self.now - older_than
            gone = self.store(store).prune(before=before, limit=amount)
            self._answered()
            self.reference.prune(gone, before=before, limit=amount)
        else:
            self._consume(self.store(store), amount)

    def _consume(self, store: Store, limit: int) -> None:
        """Somebody who reads the completions by a cursor gets each end once, in order."""
        page = store.jobs(Filter(since=self.consumed_to, limit=limit))
        expected = self.reference.completions(self.consumed_to)[:limit]
        assert [job.id for job in page.jobs] == [job.id for job in expected]
        assert page.cursor == ((expected[-1].end or 0) if len(expected) == limit else self.reference.ends)
        self.consumed_to = page.cursor

    @deed(
        store=STORES,
        queue=st.sampled_from(["a", "b", None]),
        caller=st.sampled_from(WHO),
        verb=st.sampled_from(["pause", "resume", "resume", "configure"]),
        slots=st.integers(1, 3),
    )
    def rule_queues(self, store: int, queue: str | None, caller: str, verb: str, slots: int) -> None:
        """Pause, resume; or a worker that brings other limits comes and goes."""
        by = _by(caller)
        if verb == "configure":
            self._configure(self.store(store), slots, {} if queue is None else {queue: slots % 3 + 1})
            return
        how: dict[str, Any] = {"paused": verb == "pause", "parallelism": self.slots, "by": by, "now": self.now}
        self.both(
            lambda: self.store(store).pause(queue, **how),
            lambda: getattr(self.reference, verb)(queue, by=by.will, parallelism=self.slots),
        )

    def _configure(self, store: Store, slots: int, own: dict[str, int]) -> None:
        who: dict[str, Any] = {"pid": 1, "host": "here", "keeper": "k", "booted_by": None, "version": "1"}
        queues = {name: QueueLimits(parallelism=count) for name, count in own.items()}
        store.register("another", **who, now=self.now, limits={"parallelism": slots}, queues=queues)
        store.deregister("another")
        self._answered()
        self.reference.configure(slots, own)

    @deed(seconds=st.sampled_from([0.5, 5.0, 10.0, 20.0, 40.0, 3600.0, -5.0, -60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @deed(
        store=STORES, how=st.sampled_from(["is killed soon", "is killed soon", "is killed soon", "is killed", "leaves"])
    )
    def process(self, store: int, how: str) -> None:
        """A process leaves in good order, or all are killed, now or just after the next answer; others come."""
        if how == "leaves":
            self.engine.reopen(store)
        elif how == "is killed":
            self.engine.crash()
        else:
            self.dies = True

    @rule(deed=st.deferred(lambda: st.one_of(DEEDS)))
    def step(self, deed: tuple[str, dict[str, Any]]) -> None:
        what, drawn = deed
        getattr(self, what)(**drawn)

    # comparing

    @invariant()
    def both_tell_the_same(self) -> None:
        self.tally.steps += 1
        store = self.store(self.tally.steps % 2)
        self._compare_ends(store)
        jobs = store.jobs(EVERYTHING).jobs
        found = {job.id: _face(job) for job in jobs}
        wanted = {job.id: _wanted_face(job) for job in self.reference.jobs.values()}
        assert found == wanted, _difference(found, wanted)
        for job_id in [job_id for job_id, face in wanted.items() if self.known.get(job_id) != face]:
            self._compare_closely(store, job_id)
        self.known = wanted
        self._compare_figures(store)
        self._compare_what_could_start()
        _no_limit_is_exceeded(jobs)

    def _compare_ends(self, store: Store) -> None:
        """Each end is told once, in the order in which they happened; those of one deed among themselves in any."""
        page = store.jobs(Filter(since=self.read_to, limit=1000))
        ended = {job.id: job for job in self.reference.completions(self.read_to)}
        assert sorted(job.id for job in page.jobs) == sorted(ended)
        assert page.cursor == self.reference.ends
        in_order = [ended[job.id] for job in page.jobs]
        causes = [job.cause or 0 for job in in_order]
        assert causes == sorted(causes), "what ended later is told earlier"
        for job, number in zip(in_order, sorted(job.end or 0 for job in in_order), strict=True):
            job.end = number
        self.read_to = page.cursor

    def _compare_closely(self, store: Store, job_id: int) -> None:
        found, wanted = store.job(job_id), self.reference.jobs[job_id]
        assert found is not None
        assert [(one.claim, one.outcome) for one in found.attempts] == wanted.attempts
        needs = [(needed, condition) for needed, condition, _ in store.dependencies(job_id)]
        assert set(needs) == wanted.needs

    def _compare_figures(self, store: Store) -> None:
        queues = store.queues()
        assert {queue.name: dict(queue.counts) for queue in queues} == self.reference.counts()
        assert {queue.name: (queue.slots, queue.paused) for queue in queues} == {
            name: (queue.slots, queue.paused_by is not None) for name, queue in self.reference.queues.items()
        }
        assert store.waiting() == self.reference.waiting()
        assert store.next_due(self.now) == self.reference.next_due(self.now)

    def _compare_what_could_start(self) -> None:
        """A worker may leave only if nothing can; `claimable` may err, but only by bringing one in vain."""
        could = self.reference.could_start(self.now)
        assert self.store(0).leave_if_idle("nobody", now=self.now) == (not could)
        assert self.store(0).claimable(self.now) or not could


def run(engine: Callable[[], Sqlite], tally: Tally, size: settings) -> None:
    """Try so many examples; what is found wrong is raised."""
    run_state_machine_as_test(lambda: Model(engine, tally), settings=size)  # pyright: ignore[reportArgumentType]


def _no_limit_is_exceeded(jobs: Sequence[Job]) -> None:
    """What the rules come to, whatever was done: asked of the store alone."""
    live = Counter(job.unique_key for job in jobs if job.unique_key and job.state not in ENDED)
    assert not live or max(live.values()) == 1, "two live jobs have one unique key"
    running = [job for job in jobs if job.state == "running"]
    for job in running:
        beside = [other for other in running if other.queue == job.queue and other.id != job.id]
        assert not (job.sequential and beside), "something runs beside a sequential job"


def _answer(act: Callable[[], T]) -> T | Exception:
    """What comes of it: the answer, or the refusal by its name."""
    try:
        return act()
    except QueueError as error:
        return _Named(type(error).__name__)
    except Refused as error:
        return _Named(str(error))


class _Named(Exception):
    """A refusal, equal to another of the same name."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and self.args == other.args

    __hash__ = Exception.__hash__


def _by(caller: str) -> Origin:
    return Origin(caller=caller)  # pyright: ignore[reportArgumentType]


def _admission(new: New) -> Admission:
    needs: dict[str, Any] = {"after": new.after, "after_any": new.after_any, "after_failure": new.after_failure}
    place: dict[str, Any] = {"queue": new.queue, "priority": new.priority, "sequential": new.sequential}
    return Admission(
        job=NewJob(argv=("run", new.queue), **place, **needs, unique=new.unique, locks=new.locks, ref=new.ref),
        origin=_by(new.caller),
        program="/bin/true",
        executable="/bin/true",
        cwd="/",
        env={},
        retry=Retry(retries=new.retries, backoff=new.backoff, base=new.base),  # pyright: ignore[reportArgumentType]
        timeout=None,
        due_at=new.due_at,
        held="ask" if new.held else None,
    )


def _settlement(fence: Fence, outcome: tuple[str, int | None]) -> Settlement:
    kind, code = outcome
    told: dict[str, Any] = {"kind": kind, "exit_code": code, "signal": 9 if kind == "signalled" else None}
    return Settlement(job=fence.job, claim=fence.claim, token=fence.token, outcome=Outcome(**told))


def _face(job: Job) -> tuple[Any, ...]:
    return (
        *(job.state, job.queue, job.priority, job.due_at, job.unmet, job.claim, job.attempt, job.failures),
        *(job.attempts_before, job.worker, job.host, job.cancel_requested, job.outcome, job.approved_at),
        *(job.rejected_at, job.finished_at, job.pinned, job.unique_key, sorted(job.locks)),
    )


def _wanted_face(job: book.Job) -> tuple[Any, ...]:
    asked = job.asked
    return (
        *(job.state, asked.queue, asked.priority, job.due_at, len(job.needs), job.claim, job.attempt, job.failures),
        *(job.attempts_before, job.worker, job.host, job.cancel_requested, job.outcome, job.approved_at),
        *(job.rejected_at, job.finished_at, job.pinned, asked.unique, sorted(job.locks)),
    )


def _difference(found: dict[int, tuple[Any, ...]], wanted: dict[int, tuple[Any, ...]]) -> str:
    return "\n".join(
        f"job {job_id}: the store has {found.get(job_id)}, the reference {wanted.get(job_id)}"
        for job_id in sorted({*found, *wanted})
        if found.get(job_id) != wanted.get(job_id)
    )
