"""Queue: the only verbs that the command line and the MCP server know.

Each method does one thing to the store, rings the bell, and returns values or views. They block for
as long as the store's patience at most, and are safe to call from several threads.
"""

from __future__ import annotations

import _thread
import os
import time

from queue_core import changes, intake, settings
from queue_core.errors import Denied, NotAllowed, StoreBusy, StoreFull
from queue_core.fastjson import dumps
from queue_core.home import locate
from queue_core.look import Look
from queue_core.sqlite.store import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from queue_core.combining import Combining
    from queue_core.handlers import Function, Handler, P, T
    from queue_core.home import Home
    from queue_core.jobs import Job
    from queue_core.model import Admission, JobState, NewJob, Origin, Receipt
    from queue_core.policy import Rule
    from queue_core.recovery import Found
    from queue_core.schedules import Schedules
    from queue_core.settings import Settings
    from queue_core.store import Moved, Store


class Queue(Look):
    """One queue, as its home and settings define it."""

    def __init__(
        self,
        store: Store,
        home: Home,
        chosen: Settings,
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] | None = None,
    ) -> None:
        """Put a queue together; `clock` gives seconds since the epoch, `chance` a number in 0..1."""
        self.store = store
        self.home = home
        self.settings = chosen
        self.environ = environ
        self.clock = clock
        self.chance = chance or _chance
        self.host = os.uname().nodename
        self.handlers: dict[str, Handler] = {}
        self.scope: str | None = None
        self._recovering = _thread.allocate_lock()
        self._combining: Combining | None = None
        self.closed = False

    @classmethod
    def open(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        patience: float = 10.0,
        group_commit: bool = False,
        **flags: object,
    ) -> Queue:
        """The queue that the environment names, made if it does not exist yet.

        `patience` is how many seconds a write may wait for others. QueueError says what is wrong.
        """
        environ = os.environ if environ is None else environ
        home = locate(environ)
        chosen = settings.load(home, environ, **flags)
        store = SqliteStore(home, patience=patience, group_commit=group_commit)
        queue = cls(store, home, chosen, environ)
        if group_commit:
            from queue_core.combining import Combining

            queue._combining = Combining(queue._store_together, lambda: store.patience)
        if chosen.isolation != "none":
            queue.confine(queue.origin())
        return queue

    def confine(self, origin: Origin) -> None:
        """From now on show and change only what this one may see, where the user keeps projects apart."""
        from queue_core import callers

        self.scope = callers.scope_of(origin, self.settings.isolation)

    def close(self) -> None:
        """Let go of the store; nothing is pending."""
        self.closed = True
        self.store.close()

    def handler(
        self, name: str, *, timeout: float | None = None, heartbeat: float | None = None
    ) -> Callable[[Function[P, T]], Function[P, T]]:
        """Declare a function of this program that runs jobs: a plain one (in a thread) or a coroutine.

        It is called with a `Context` and the job's arguments. `timeout` is for jobs that name none; `heartbeat`
        how long it may give no sign of life; both in seconds. Workers know what was declared when they start.
        """
        from queue_core.handlers import declare

        return declare(self.handlers, name, timeout=timeout, heartbeat=heartbeat)

    # enqueue

    def submit(self, command: str | Sequence[str] | None = None, **fields: Any) -> Receipt:
        """Queue one job from a program; durable when this returns. QueueError says why not.

        `command` is an argv, or a text that is split as a shell would; `fields` are those of `submission.KEYS`,
        such as `handler` and `arguments` instead of a command.
        """
        from queue_core.submission import new_job

        if command is not None:
            fields["command" if isinstance(command, str) else "argv"] = command
        job = new_job(fields)
        receipt = self._combining.enqueue(job) if self._combining is not None else None
        return receipt or self.enqueue([job], self.origin())[0]

    def _store_together(self, jobs: Sequence[NewJob]) -> list[Receipt]:
        origin = self.origin()
        if origin.caller == "agent":  # each is judged, and told of, by itself
            raise Denied("an agent's jobs are not stored together")
        return self.enqueue(jobs, origin)

    def submit_all(self, jobs: Iterable[Mapping[str, Any]]) -> list[Receipt]:
        """Queue many jobs, all or none; `after` may name the `ref` of an earlier one. See `submit`."""
        from queue_core.submission import new_job

        return self.enqueue([new_job(fields) for fields in jobs], self.origin())

    def submit_file(self, path: str) -> list[Receipt]:
        """Queue the jobs of a file (one JSON object, or JSON lines), all or none; InvalidJob names the line."""
        from queue_core.job_files import read_jobs

        return self.enqueue(read_jobs(path), self.origin())

    def origin(self) -> Origin:
        """Who asks, as this process's environment tells."""
        from queue_core import callers

        caller = callers.caller_of(self.environ, hook_verb=False, caller_of_job=self.store.caller_of)
        return callers.origin_of(self.environ, caller)

    def enqueue(
        self,
        jobs: Sequence[NewJob],
        origin: Origin,
        *,
        folder: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> list[Receipt]:
        """Store jobs, all or none; durable when it returns. InvalidJob, Denied or QueueFull leave nothing."""
        return self.admit(self.considered(jobs, origin, folder=folder, environ=environ))

    def considered(
        self,
        jobs: Sequence[NewJob],
        origin: Origin,
        *,
        folder: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Sequence[Admission]:
        """What `enqueue` would store, after the same checks: `held` says what a person would be asked about."""
        if origin.caller == "agent":
            intake.refuse_when_full(self.store.waiting(), jobs, self.settings)
        return self.prepared(jobs, origin, folder=folder, environ=environ)

    def prepared(
        self,
        jobs: Sequence[NewJob],
        origin: Origin,
        *,
        folder: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Sequence[Admission]:
        """Jobs as they would be stored, with what the rules say of them; nothing is. InvalidJob, Denied."""
        from queue_core.admission import prepare

        try:
            return prepare(
                jobs,
                origin,
                settings=self.settings,
                home=self.home,
                environ=self.environ if environ is None else environ,
                folder=folder or os.getcwd(),
                now=self.clock(),
            )
        except Denied as refused:
            intake.note_refusal(self.store, origin, str(refused), self.clock())
            raise

    def admit(self, admissions: Sequence[Admission]) -> list[Receipt]:
        """Store jobs that have been prepared already, all or none; durable when it returns."""
        return list(intake.admit(self.store, self.home, self.settings, admissions, self.clock()))

    def spool(self, jobs: Sequence[NewJob], origin: Origin) -> None:
        """Leave jobs in the spool, durably, for when the store takes writes again; QueueError says why not."""
        from queue_core import spool

        spool.leave(self.home, self.prepared(jobs, origin), now=self.clock())

    def ingest_spool(self) -> int:
        """Take in what hooks had to leave in the spool; how many jobs that were. Each is taken in once."""
        from queue_core.ingest import take_in

        taken = take_in(self.store, self.home, self.settings, self.clock)
        if taken:
            changes.ring(self.home, "work", "watch")
        return taken

    # change

    @property
    def schedules(self) -> Schedules:
        """What is queued again and again."""
        from queue_core.schedules import Schedules

        return Schedules(self)

    # `by` says who asks; if it is not given, this process's environment tells.

    def cancel(self, ids: Sequence[int], by: Origin | None = None) -> Moved:
        """Cancel waiting jobs, stop running ones with all their processes; the state each was found in.

        A running job is marked, and its end is begun at once where its keeper can be reached; the
        state follows when it has ended.
        """
        self.refuse_others(ids)
        found = self.store.cancel(ids, by=by or self.origin(), now=self.clock())
        running = [job_id for job_id, state in found if state == "running"]
        if running:
            from queue_core.stopping import stop_claims

            stop_claims(self, running)
        changes.ring(self.home, "work", "watch")
        return found

    def approve(
        self, ids: Sequence[int], by: Origin | None = None, *, folders: Mapping[int, str] | None = None
    ) -> Moved:
        """Let held jobs run: a person's alone. `folders`: where they were shown to run, if not where they do now."""
        by = by or self.origin()
        self.persons_alone(by, "approve jobs", ids)
        jobs = [self.job(job_id) for job_id in ids]
        self._refuse_denied(jobs)
        shown = folders or {it.id: os.path.realpath(it.cwd) for it in jobs}  # as a person is shown them
        return self._changed(self.store.approve(ids, by=by, now=self.clock(), folders=shown))

    def _refuse_denied(self, jobs: Iterable[Job]) -> None:
        """Denied if a rule names one of the held jobs: it would be held again as soon as it is to run."""
        from queue_core.judge import Judge

        judge = Judge(self.home, self.settings)
        for it in jobs:
            if it.state == "held" and (reason := judge.why_not_approved(it)):
                raise Denied(reason)

    def reject(self, ids: Sequence[int], by: Origin | None = None) -> Moved:
        """Refuse held jobs: a person's alone."""
        by = by or self.origin()
        self.persons_alone(by, "reject jobs", ids)
        return self._changed(self.store.reject(ids, by=by, now=self.clock()))

    def persons_alone(self, by: Origin, what: str, ids: Sequence[int] = ()) -> None:
        """NotAllowed for everybody but a person; that it was tried is noted."""
        if by.caller == "person":
            return
        intake.note_refusal(self.store, by, " ".join([f"to {what}", *map(str, ids)]), self.clock())
        raise NotAllowed(f"only a person may {what}, from a terminal of their own; ask the user to do it")

    def decline(self, argv: Sequence[str], by: Origin) -> None:
        """Note that a person said no to a command before it was stored; nothing else is to be done."""
        self.store.note("denied", by=by, now=self.clock(), about=dumps(argv))

    def allow(self, rule: Rule, by: Origin | None = None) -> bool:
        """Write a rule into the user's file, unless it stands there: a person's alone. Whether it is new."""
        from queue_core import rules

        by = by or self.origin()
        self.persons_alone(by, "change the rules")
        if rule in rules.load(self.home.rules_file):
            return False
        # Noted first: where the trail cannot be written to, nothing is allowed that it would never know of.
        self.store.note("allowed", by=by, now=self.clock(), about=rules.in_words(rule))
        rules.append(self.home.rules_file, rule)
        return True

    def replay(self, ids: Sequence[int], by: Origin | None = None) -> Moved:
        """Run ended jobs again with a fresh allowance; an agent's wish goes through policy again."""
        by = by or self.origin()
        self.refuse_others(ids)
        held: dict[int, str] = {}
        if by.caller == "agent":
            from queue_core.judge import Judge

            judge = Judge(self.home, self.settings)
            held = {job_id: reason for job_id in ids if (reason := judge.job(self.job(job_id), project=by.project))}
        return self._changed(self.store.replay(ids, held=held, by=by, now=self.clock()))

    def discard(self, ids: Sequence[int], by: Origin | None = None) -> Moved:
        """Give dead letters up; what waited for them is cancelled."""
        self.refuse_others(ids)
        return self._changed(self.store.discard(ids, by=by or self.origin(), now=self.clock()))

    def pin(self, ids: Sequence[int], *, pinned: bool, by: Origin | None = None) -> tuple[Moved, list[int]]:
        """Spare jobs from pruning, or no longer; and the jobs whose automatic pins gave way (see `pin_cap`).

        An agent's and a hook's pins are automatic: they come and go, and leave a person's as they are (NotAllowed).
        """
        by = by or self.origin()
        self.refuse_others(ids)
        if not pinned:
            return self._changed(self.store.unpin(ids, by=by, now=self.clock())), []
        cap = self.settings.pin_cap
        if by.will == "automatic" and len(ids) > cap:
            raise NotAllowed(f"agents and hooks may pin {cap} jobs at a time (`pin_cap`), not {len(ids)}; pin fewer")
        moved, gave_way = self.store.pin(ids, by=by, cap=cap, now=self.clock())
        return self._changed(moved), gave_way

    def pause(self, queue: str | None, *, paused: bool, by: Origin | None = None) -> list[str]:
        """Hand out nothing of a queue (or of all) until it is resumed; the queues that it concerned.

        What a person has paused, a person alone resumes (NotAllowed).
        """
        from queue_core.admission import check_queue

        if queue is not None:
            check_queue(queue)
        names = self.store.pause(
            queue, paused=paused, parallelism=self.settings.parallelism, by=by or self.origin(), now=self.clock()
        )
        changes.ring(self.home, "work", "watch")
        return names

    def prune(self, *, older_than_days: float | None = None, keep: int | None = None) -> int:
        """Forget ended jobs by age and count, and their output; how many went. Pinned ones stay."""
        from queue_core import told
        from queue_core.pruning import prune, sweep

        days = self.settings.keep_days if older_than_days is None else older_than_days
        count = self.settings.keep_count if keep is None else keep
        gone = prune(self.store, self.home, before=self.clock() - days * 86400, keep=count)
        self.store.forget_deeds(before=self.clock() - self.settings.audit_days * 86400)
        forgotten = self.clock() - self.settings.keep_days * 86400
        sweep(self.store, self.home, before=forgotten)
        told.sweep(self.home, before=forgotten)
        return gone

    def settle_leftovers(self) -> None:
        """Recover, unless nothing can be written now: looking is possible all the same, and somebody does it later."""
        try:
            self.recover()
        except (StoreBusy, StoreFull):
            pass

    def recover(self) -> Found:
        """Settle what a dead worker left behind, where it is certain how it ended.

        One thread at a time: an output may be long, and its secrets are looked for first. Others find nothing.
        """
        from queue_core.recovery import Found, recover

        if not self._recovering.acquire(blocking=False):
            return Found()
        try:
            found = recover(
                self.store,
                self.home,
                now=self.clock(),
                chance=self.chance,
                permanent_exit_codes=self.settings.permanent_exit_codes,
                keep_secrets=self.settings.output_secrets == "keep",
            )
        finally:
            self._recovering.release()
        if found.settled:
            changes.ring(self.home, "work", "watch")
        return found

    def _changed(self, moved: list[tuple[int, JobState]]) -> Moved:
        changes.ring(self.home, "work", "watch")
        return moved


def _chance() -> float:
    """Randomness for the jitter; `import random` would cost the hook path 3 ms."""
    return int.from_bytes(os.urandom(7), "big") / 2**56
