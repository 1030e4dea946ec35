"""The queue's nouns: frozen values and the words for states, outcomes and callers."""

from __future__ import annotations

from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    JobState = Literal["held", "blocked", "scheduled", "available", "running", "succeeded", "dead", "cancelled"]
    OutcomeKind = Literal[
        "exited",
        "signalled",
        "timed_out",
        "cancelled",
        "spawn_failed",
        "lost",
        "interrupted",
        "never_started",
    ]
    Caller = Literal["person", "hook", "agent"]
    Priority = Literal["critical", "high", "normal", "low"]
    Backoff = Literal["exponential", "linear", "fibonacci", "immediate"]
    Condition = Literal["success", "any", "failure"]

STATES: tuple[JobState, ...] = (
    "held",
    "blocked",
    "scheduled",
    "available",
    "running",
    "succeeded",
    "dead",
    "cancelled",
)
WAITING: tuple[JobState, ...] = ("held", "blocked", "scheduled", "available")
LIVE: tuple[JobState, ...] = (*WAITING, "running")
ENDED: tuple[JobState, ...] = ("succeeded", "dead", "cancelled")

PRIORITIES: tuple[Priority, ...] = ("critical", "high", "normal", "low")  # stored as 0, 1, 2, 3
BACKOFFS: tuple[Backoff, ...] = ("exponential", "linear", "fibonacci", "immediate")


class Retry(Frozen):
    """How often and when a failed command is run again. Times in seconds."""

    retries: int = 3
    backoff: Backoff = "exponential"
    base: float = 10.0
    cap: float = 3600.0
    jitter: float = 0.0  # the share of a delay, 0..1, that chance may take off it


class NewJob(Frozen):
    """A job as somebody asks for it. `None` leaves a choice to the settings.

    `after`, `after_any` and `after_failure` hold ids, or names that earlier lines of the same file
    carry as `ref`. `delay` and `timeout` are seconds, `at` is seconds since the epoch.
    """

    argv: tuple[str, ...] = ()
    cwd: str | None = None
    env: Mapping[str, str] = {}
    pass_env: tuple[str, ...] = ()
    stdin: bytes | None = None
    stdin_path: str | None = None
    queue: str = "default"
    priority: Priority = "normal"
    sequential: bool = False
    after: tuple[int | str, ...] = ()
    after_any: tuple[int | str, ...] = ()
    after_failure: tuple[int | str, ...] = ()
    delay: float | None = None
    at: float | None = None
    timeout: float | None = None
    retries: int | None = None
    backoff: Backoff | None = None
    backoff_base: float | None = None
    unique: str | None = None
    locks: tuple[tuple[str, int], ...] = ()
    name: str | None = None
    meta: Mapping[str, str] = {}
    on_dead: tuple[str, ...] = ()
    ref: str | None = None

    _secret = frozenset({"env", "stdin"})


class Origin(Frozen):
    """Who asks, from where: follows from the entry point, never from a parameter."""

    caller: Caller
    session: str | None = None
    project: str | None = None
    client: str | None = None


class Admission(Frozen):
    """A job that passed every check, as the store takes it in: all choices made, all paths real."""

    job: NewJob
    origin: Origin
    program: str  # the real path: what rules speak of and people see
    executable: str  # the path as found, which is what runs (a link's name can matter to the program)
    cwd: str
    env: Mapping[str, str]
    retry: Retry
    timeout: float | None
    due_at: float | None = None
    held: str | None = None  # why it has to wait for a person's approval
    on_dead_program: str | None = None
    escalated_from: int | None = None
    spool_id: str | None = None

    _secret = frozenset({"env"})


class Receipt(Frozen):
    """The answer to an enqueue: committed when the caller sees it."""

    id: int
    state: JobState
    existing: bool = False  # a live job with the same unique key was returned instead


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
    program: str
    executable: str
    cwd: str
    env: Mapping[str, str]
    stdin_path: str | None
    timeout: float | None
    retries: int
    locks: tuple[str, ...]
    on_dead: tuple[str, ...]
    escalated_from: int | None
    name: str | None
    unique_key: str | None
    meta: Mapping[str, str]
    caller: Caller
    session: str | None
    project: str | None
    approved_at: float | None
    pinned: str | None
    created_at: float
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
    program: str | None = None  # a path, or a program's bare name: its real one, or that of a link to it
    meta: Mapping[str, str] = {}
    older_than: float | None = None  # ended before this time
    since: int | None = None
    limit: int = 50


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
    keeper: str
    host: str
    cancel_requested: bool

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


class Lease(Frozen):
    """One claim of one job: what a worker may run, and the fence that every result must name."""

    job: int
    claim: int
    token: str
    queue: str
    argv: tuple[str, ...]
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
