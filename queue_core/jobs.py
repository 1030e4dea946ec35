"""What is in the queue: jobs with their attempts, claims, queues, workers, and how to ask for them.

Apart from `model`, because whoever only adds a job needs none of it.
"""

from __future__ import annotations

from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

    from queue_core.model import Caller, JobState, OutcomeKind, Priority, Step

    Missed = Literal["skip", "once", "all"]  # what becomes of due times that nobody was there for
    By = Literal["person", "automatic"]  # whose will a pause is: a person's, or an agent's or a hook's


class Attempt(Frozen):
    """How one claim of a job ended, as recorded once."""

    claim: int
    outcome: str
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    host: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    user_seconds: float | None = None
    system_seconds: float | None = None
    max_rss_kib: int | None = None
    output_bytes: int = 0
    cut_bytes: int = 0
    tail: bytes = b""
    waited: float | None = None  # seconds from ready to started
    result: str | None = None  # what a handler returned, as JSON


class Job(Frozen):
    """A job as the store knows it. Times in seconds since the epoch, durations in seconds."""

    id: int
    state: JobState
    queue: str
    priority: Priority
    sequential: bool
    due_at: float | None
    unmet: int
    parked: str | None
    argv: tuple[str, ...]
    handler: str | None
    arguments: Mapping[str, Any]
    program: str
    executable: str
    cwd: str
    env: Mapping[str, str]
    own_env: tuple[str, ...]  # the names of those that were asked for with the job
    stdin_path: str | None
    has_input: bool
    timeout: float | None
    retries: int
    locks: tuple[str, ...]
    on_dead: tuple[Step, ...]
    escalated_from: int | None
    escalated_to: int | None  # the newest job that took over from this one
    schedule: str | None
    name: str | None
    unique_key: str | None
    meta: Mapping[str, str]
    caller: Caller
    session: str | None
    project: str | None
    approved_at: float | None
    rejected_at: float | None
    pinned: str | None
    created_at: float
    ready_at: float | None
    started_at: float | None
    finished_at: float | None
    claim: int
    attempt: int
    failures: int
    attempts_before: int
    worker: str | None
    keeper: str | None
    host: str | None
    cancel_requested: bool
    outcome: str | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    attempts: tuple[Attempt, ...] = ()

    _secret = frozenset({"env"})

    @property
    def max_attempts(self) -> int:
        """How many attempts the job may make in all, replays counted in."""
        return self.attempts_before + self.retries + 1


class Filter(Frozen):
    """Which jobs are meant. Empty fields do not narrow; `since` is a cursor over completions."""

    ids: tuple[int, ...] = ()
    states: tuple[str, ...] = ()
    queue: str | None = None
    caller: str | None = None
    session: str | None = None
    project: str | None = None
    within: str | None = None  # the project that everything has to belong to, whatever else is asked for
    program: str | None = None  # a path, or a program's bare name: its real one, or that of a link to it
    meta: Mapping[str, str] = {}
    older_than: float | None = None  # ended before this time
    handler: str | None = None
    schedule: str | None = None  # the name of the one that queued it
    no_successor_in: tuple[str, ...] = ()  # leaves out what was handed over to a job in one of these states
    since: int | None = None
    limit: int = 50


class Task(Frozen):
    """What an MCP client's task stands for."""

    id: str
    job: int
    answers: int  # questions about it that its client's user has answered
    dismissed: bool  # the user wants no more of them

    _secret = frozenset({"id"})


class Deed(Frozen):
    """One line of the audit trail: who did what, when (seconds since the epoch)."""

    id: int
    at: float
    what: str
    job: int | None
    about: str | None  # a command as JSON, or the name of a queue, a schedule, a handler
    caller: Caller
    client: str | None
    session: str | None
    project: str | None


class DeedFilter(Frozen):
    """Which deeds are meant. Empty fields do not narrow; `since` is in seconds since the epoch."""

    job: int | None = None
    what: str | None = None
    caller: str | None = None
    project: str | None = None
    within: str | None = None  # the project that both who did it and the job have to belong to
    session: str | None = None
    since: float | None = None
    limit: int = 50


class Link(Frozen):
    """One job of a chain in which each took over from the one before it."""

    id: int
    state: JobState
    argv: tuple[str, ...]
    handler: str | None = None


class Page(Frozen):
    """Some jobs, and the cursor from which later completions can be asked for."""

    jobs: tuple[Job, ...]
    cursor: int


class Orphan(Frozen):
    """A claim in the state "running", as somebody who is not its worker sees it."""

    job: int
    claim: int
    token: str
    worker: str
    keeper: str  # empty for a handler's: it lives and dies with its worker
    host: str
    cancel_requested: bool
    handler: str | None = None

    _secret = frozenset({"token"})


class WorkerRow(Frozen):
    """A registered worker; whether it lives is told by its lock, not by this row."""

    id: str
    pid: int
    host: str
    keeper: str | None
    claiming: bool
    version: str
    started_at: float


class QueueRow(Frozen):
    """One queue with its counters."""

    name: str
    paused: bool
    slots: int
    barred: bool
    counts: Mapping[str, int]
    starts_per_minute: int | None = None
    rests_until: float | None = None  # it has used up its starts, and hands out nothing before


class Totals(Frozen):
    """What all queues hold together, of one moment."""

    counts: Mapping[str, int]  # jobs by state
    paused: Mapping[str, int]  # the waiting jobs of paused queues that have any, by their names, in their order


class Overview(Frozen):
    """All queues at a glance, of one moment, column by column: a row of each would cost a thousand values more."""

    totals: Totals
    names: Sequence[str]
    slots: Sequence[int]
    counts: Mapping[str, Sequence[int]]  # jobs by state, of the states alone in which there is any job at all
    special: Sequence[tuple[str, int, int | None, float | None]]  # name, paused (0: no), starts_per_minute, rests_until


class ScheduleRow(Frozen):
    """A schedule: what it queues, and when. Either `cron` (in the time zone `zone`) or `every` (seconds) is given."""

    name: str
    cron: str | None
    every: float | None
    zone: str
    missed: Missed
    job: str  # what it queues, as the spool writes it
    created_at: float
    next_at: float | None  # None: never again
    decided_at: float  # when that was decided; later than now: the clock was set back meanwhile
    caller: Caller = "person"  # who added it
    last_at: float | None = None
    last_job: int | None = None
    paused_by: By | None = None
    trouble: str | None = None  # why it could not queue its job when it was due
    retry_at: float | None = None  # in trouble: not tried again before

    _secret = frozenset({"job"})

    @property
    def paused(self) -> bool:
        """Whether it rests."""
        return self.paused_by is not None


class Lease(Frozen):
    """One claim of one job: what a worker may run, and the fence that every result must name."""

    job: int
    claim: int
    token: str
    queue: str
    argv: tuple[str, ...]
    handler: str | None
    arguments: Mapping[str, Any]
    program: str
    executable: str
    cwd: str
    env: Mapping[str, str]
    caller: Caller
    approved: bool
    session: str | None
    project: str | None
    attempt: int
    stdin: bytes | None
    stdin_path: str | None
    timeout: float | None
    escalated_from: int | None = None

    _secret = frozenset({"env", "stdin", "token"})


class Outcome(Frozen):
    """How one attempt ended. Exactly one of exit_code, signal, error says the detail."""

    kind: OutcomeKind
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    user_seconds: float | None = None
    system_seconds: float | None = None
    max_rss_kib: int | None = None
    output_bytes: int = 0
    cut_bytes: int = 0
    tail: bytes = b""
    permanent: bool = False  # no retry can cure it: a handler's word
    result: str | None = None  # what a handler returned, as JSON

    @property
    def success(self) -> bool:
        """True for the one outcome that ends a job well."""
        return self.kind == "exited" and self.exit_code == 0


class Settlement(Frozen):
    """An outcome together with the fence of the claim it belongs to."""

    job: int
    claim: int
    token: str
    outcome: Outcome
