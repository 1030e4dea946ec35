"""Schedules: commands that are queued again and again, by a cron line or at an interval.

A schedule's next due time is stored. Whoever finds it past decides what that means (`recurrence`), and queues
the jobs in the transaction that moves it on, so that each due time counts exactly once however many workers look.
"""

from __future__ import annotations

import logging
import os

from queue_core import changes, intake, spool
from queue_core.callers import scope_of
from queue_core.errors import (
    Denied,
    InvalidJob,
    NotAllowed,
    QueueError,
    QueueFull,
    StoreError,
    StoreFull,
    UnknownSchedule,
    UsageError,
)
from queue_core.fastjson import dumps, loads
from queue_core.jobs import ScheduleRow
from queue_core.recurrence import check_cron, decide, following, seconds_of, time_zone
from queue_core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from queue_core.jobs import Missed
    from queue_core.look import Look
    from queue_core.model import Admission, Caller, NewJob, Origin
    from queue_core.service import Queue

log = logging.getLogger("runq.schedules")

MISSED: tuple[Missed, ...] = ("skip", "once", "all")
BATCHES = (100, 10, 1)  # due times that one transaction takes; fewer where so many jobs have no room
AT_ONCE = 1000  # schedules that one look takes in
RETRY_FULL = 15.0  # seconds until a schedule is tried again that found the queue full
RETRY_BROKEN = 300.0  # the same where somebody has to mend something first
MOST_OF_AGENTS = 20  # schedules that agents may have, all together: each comes again and again


def admission_of(row: ScheduleRow) -> Admission | None:
    """What a schedule queues; None if this runq cannot read it."""
    try:
        return spool.from_dict(loads(row.job))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def may_see(queue: Look, row: ScheduleRow) -> bool:
    """Whether a schedule may be seen here: it belongs to the project whose jobs it queues."""
    if queue.scope is None:
        return True
    admission = admission_of(row)
    return admission is not None and queue.may_see(admission.origin.project)


class Schedules:
    """The schedules of one queue: what `runq schedule`, workers and Python programs do to them."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def add(
        self,
        name: str,
        *,
        cron: str | None = None,
        every: str | float | None = None,
        tz: str | None = None,
        missed: Missed = "once",
        replace: bool = False,
        **fields: Any,
    ) -> ScheduleRow:
        """Queue a job again and again; `fields` are a job's (argv, queue, retries, ...: see `submission.KEYS`).

        Give either `cron`, in the time zone `tz` (this machine's by default), or `every`, in seconds or as `15m`.
        One that takes the place of what a person has paused rests as well. UsageError, InvalidJob, Denied,
        NotAllowed, QueueFull say why not; then nothing is changed.
        """
        from queue_core.submission import new_job

        return self.put(
            name,
            new_job(fields),
            self._queue.origin(),
            cron=cron,
            every=every,
            tz=tz,
            missed=missed,
            replace=replace,
        )

    def put(
        self,
        name: str,
        job: NewJob,
        origin: Origin,
        *,
        cron: str | None = None,
        every: str | float | None = None,
        tz: str | None = None,
        missed: str = "once",
        replace: bool = False,
    ) -> ScheduleRow:
        """The same, for a job and an origin that are made already."""
        before = self._before(name, origin.caller, replace=replace)
        now = self._queue.clock()
        row = ScheduleRow(
            name=name,
            **_timing(cron, every, tz),
            missed=_check_missed(missed),
            job="",
            created_at=now,
            next_at=None,
            decided_at=now,
            caller=origin.caller,
            paused_by="person" if before is not None and before.paused_by == "person" else None,
        )
        next_at = following(row, now)
        if next_at is None:
            raise UsageError(f"the cron line `{row.cron}` never fires: no day is what all its fields ask for")
        row = _with(row, next_at=next_at, job=dumps(spool.to_dict(self._prepared(name, job, origin))))
        most = MOST_OF_AGENTS if origin.caller == "agent" else None
        if not self._queue.store.add_schedule(row, by=origin, replacing=before, most=most):
            raise _changed_meanwhile([name])
        changes.ring(self._queue.home, "work", "watch")
        return row

    def _before(self, name: str, caller: Caller, *, replace: bool) -> ScheduleRow | None:
        """The schedule of this name that is to be replaced."""
        _check_name(name)
        before = next((row for row in self._queue.store.schedules() if row.name == name), None)
        if before is not None and (not replace or not may_see(self._queue, before)):
            raise QueueError(f"there is a schedule `{name}` already; choose another name, or --replace it")
        if before is not None:
            _check_allowed(before, caller, "replace")
        return before

    def _prepared(self, name: str, job: NewJob, origin: Origin) -> Admission:
        if job.at is not None or job.after or job.after_any or job.after_failure or job.ref:
            raise InvalidJob(
                "what is queued again and again has no `at`, `after` or `ref`; `delay` and `locks` it may have"
            )
        if job.handler is None and not "".join(job.argv[:1]):
            raise InvalidJob(
                "there is no command to run; put it behind `--`: runq schedule add NAME --every 15m -- PROGRAM [ARG...]"
            )
        try:
            (admission,) = self._queue.prepared([_with(job, name=job.name or name)], origin)
        except Denied as refused:
            raise Denied(f"{_what(job)} was not scheduled: {str(refused).rpartition(' was not queued: ')[2]}") from None
        if admission.held is not None:
            allow = "" if job.handler is not None else ", or to allow the command with `runq allow`"
            raise Denied(
                f"{_what(job)} was not scheduled: {admission.held}, and a schedule cannot wait for approval;"
                f" ask the user to run this `runq schedule add` themselves{allow}"
            )
        return _with(admission, schedule=name, due_at=None)

    def list(self) -> list[ScheduleRow]:
        """All schedules that may be seen here, by name."""
        return [row for row in self._queue.store.schedules() if may_see(self._queue, row)]

    def remove(self, *names: str, by: Origin | None = None) -> None:
        """Forget schedules, all or none of these; jobs that they have queued stay. UnknownSchedule, NotAllowed.

        `by` says who asks; if it is not given, this process's environment tells.
        """
        by = by or self._queue.origin()
        rows = self._named(names, by.caller, "remove")
        if not self._queue.store.remove_schedules(rows, by=by, now=self._queue.clock()):
            raise _changed_meanwhile(names)
        changes.ring(self._queue.home, "work", "watch")

    def pause(self, *names: str, paused: bool = True, by: Origin | None = None) -> list[ScheduleRow]:
        """Let schedules rest, or go on, all or none of these; as they are now. `by` as for `remove`.

        What was due while they rested counts for nothing. What a person has paused, a person alone resumes.
        """
        by, now = by or self._queue.origin(), self._queue.clock()
        rows = self._named(names, by.caller, "pause" if paused else "resume")
        if not paused:
            rows = [_with(row, next_at=following(row, now), decided_at=now) for row in rows]
        changed = self._queue.store.pause_schedules(rows, paused=paused, by=by, now=now)
        if changed is None:
            raise _changed_meanwhile(names)
        changes.ring(self._queue.home, "work", "watch")
        return changed

    def _named(self, names: Iterable[str], caller: Caller, what: str) -> list[ScheduleRow]:
        known = {row.name: row for row in self.list()}
        found: list[ScheduleRow] = []
        for name in names:
            _check_text("a schedule's name", name)
        for name in dict.fromkeys(names):
            if name not in known:
                raise UnknownSchedule(name)
            _check_allowed(known[name], caller, what)
            found.append(known[name])
        return found

    # firing

    def fire_due(self) -> bool:
        """Queue the jobs of all schedules that are due, a batch of each; whether more may be due already.

        The next times that were decided under a clock which was set back since are decided anew.

        A schedule that cannot queue its job is noted to be in trouble, and tried again later; no other one waits
        for it. StoreError if the store takes no writes.
        """
        now = self._queue.clock()
        rows = self._queue.store.due_schedules(now, limit=AT_ONCE)
        more = [self._fire(row, now) for row in rows]
        if rows:
            changes.ring(self._queue.home, "work", "watch")
        return any(more)

    def _fire(self, row: ScheduleRow, now: float) -> bool:
        try:
            next_at = self._fire_batch(row, now)
        except StoreError:
            raise
        except QueueError as error:
            retry = RETRY_FULL if isinstance(error, QueueFull) else RETRY_BROKEN
            self._queue.store.trouble_schedule(row, str(error), now=now, retry_at=now + retry)
            log.warning("schedule %s: %s", row.name, error)
            return False
        return next_at is not None and next_at <= now

    def _fire_batch(self, row: ScheduleRow, now: float) -> float | None:
        """Queue what is due, as much of it as has room; when the schedule is due next."""
        for limit in BATCHES:
            firing = decide(row, now, limit=limit)
            admissions = [self._admission(row, now)] * firing.jobs if firing.jobs else []
            try:
                receipts = self._queue.store.fire_schedule(
                    row,
                    admissions,
                    next_at=firing.next_at,
                    now=now,
                    capacity=self._queue.settings.capacity,
                    parallelism=self._queue.settings.parallelism,
                    quotas=self._queue.settings.quotas,
                    within=scope_of(admissions[0].origin, self._queue.settings.isolation) if admissions else None,
                )
            except QueueFull:
                if firing.jobs <= 1 or limit == BATCHES[-1]:
                    raise
            else:
                if receipts:
                    log.info("schedule %s: job %s", row.name, ", ".join(str(receipt.id) for receipt in receipts))
                return firing.next_at
        raise AssertionError("the last batch has been tried")

    def _admission(self, row: ScheduleRow, now: float) -> Admission:
        """What is queued now; a QueueError where it could not run."""
        try:
            intake.refuse_low_disk(self._queue.home, self._queue.settings)
        except StoreFull as error:
            raise QueueError(str(error)) from None
        admission = admission_of(row)
        if admission is None:
            raise QueueError("what it queues cannot be read by this runq; add it again with --replace")
        _check_still_there(admission)
        return _with(admission, due_at=None if admission.job.delay is None else now + admission.job.delay)


_with = replace  # verbs of the class have a parameter of that name


def _timing(cron: str | None, every: str | float | None, tz: str | None) -> dict[str, Any]:
    _check_text("a cron line", "" if cron is None else cron)
    _check_text("a time zone's name", "" if tz is None else tz)
    if (cron is None) == (every is None):
        raise UsageError("a schedule has either a cron line or an interval: --cron '30 3 * * *' or --every 15m")
    if cron is None:
        if tz is not None:
            raise UsageError("a time zone goes with a cron line alone: an interval is the same everywhere")
        return {"cron": None, "every": seconds_of(every or ""), "zone": "UTC"}
    if tz is not None:
        time_zone(tz)
    return {"cron": check_cron(cron), "every": None, "zone": tz if tz is not None else _local_zone()}


def _local_zone() -> str:
    """The IANA name of this machine's time zone, or of the one that TZ chooses; UsageError if it has none."""
    import tzlocal

    chosen = os.environ.get("TZ", "").removeprefix(":")
    if chosen and not chosen.startswith("/"):
        time_zone(chosen)
        return chosen
    try:
        name = tzlocal.get_localzone_name()
        time_zone(name)
    except (UsageError, LookupError, ValueError, TypeError, OSError):
        raise UsageError("this machine's time zone has no IANA name; give one, such as --tz Europe/Berlin") from None
    return name


def _check_missed(missed: str) -> Missed:
    for known in MISSED:
        if missed == known:
            return known
    raise UsageError(f"what is missed is one of {', '.join(MISSED)}, not {missed!r}")


def _check_name(name: str) -> None:
    from queue_core.admission import check_queue

    _check_text("a schedule's name", name)
    try:
        check_queue(name)
    except InvalidJob:
        raise UsageError(f"a schedule's name has 1 to 100 letters, digits and _ . - / :, not {name!r}") from None
    if name.startswith("-"):
        raise UsageError(f"a schedule's name does not begin with a dash, unlike {name!r}")


def _check_text(what: str, value: object) -> None:
    """Python programs may pass anything."""
    if not isinstance(value, str):
        raise UsageError(f"{what} is a text, not {value!r}")


def _check_allowed(row: ScheduleRow, caller: Caller, what: str) -> None:
    """An agent decides on what agents have added alone, and nobody undoes a person's pause but a person."""
    if caller == "agent" and row.caller != "agent":
        raise NotAllowed(f"`{row.name}` is no agent's schedule, so an agent may not {what} it; ask the user to do it")
    if caller != "person" and row.paused_by == "person" and what != "pause":
        raise NotAllowed(f"`{row.name}` was paused by a person, who alone may {what} it; ask the user to do it")


def _changed_meanwhile(names: Iterable[str]) -> QueueError:
    which = ", ".join(f"`{name}`" for name in dict.fromkeys(names))
    return QueueError(
        f"nothing was changed: somebody else has just added, changed or removed {which};"
        " look at `runq schedule list` and try again"
    )


def _what(job: NewJob) -> str:
    """A command, or a handler, as an error names it."""
    from shlex import join

    text = job.handler or join(job.argv)
    shown = f"`{text}`" if text.isprintable() else ascii(text)
    return f"a job for the handler {shown}" if job.handler else shown


def _check_still_there(admission: Admission) -> None:
    from queue_core.programs import check_folder

    if admission.job.handler is not None:
        return
    check_folder(admission.cwd)
    if not os.access(admission.executable, os.X_OK):
        raise InvalidJob(f"{admission.executable} is gone or cannot be executed; add the schedule again with --replace")
    stdin_path = admission.job.stdin_path
    if stdin_path is not None and not os.path.isfile(stdin_path):
        raise InvalidJob(f"the input file {stdin_path} does not exist; make it, or add the schedule again")
