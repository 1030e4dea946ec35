"""The queue's nouns: frozen values and the words for states, outcomes and callers."""

from __future__ import annotations

from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

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
CAPTURE_QUEUE = "capture"  # where what hooks capture goes, unless the settings say otherwise
BACKOFFS: tuple[Backoff, ...] = ("exponential", "linear", "fibonacci", "immediate")


class Retry(Frozen):
    """How often and when a failed command is run again. Times in seconds."""

    retries: int = 3
    backoff: Backoff = "exponential"
    base: float = 10.0
    cap: float = 3600.0
    jitter: float = 0.0  # the share of a delay, 0..1, that chance may take off it


class Step(Frozen):
    """A command that takes over from a job that has failed; see `queue_core.escalation`."""

    argv: tuple[str, ...]
    executable: str  # the path as found when the job was queued; an agent's: the real one
    after: int | None = None  # failures of the job before it; None: when its retries are used up


class NewJob(Frozen):
    """A job as somebody asks for it. `None` leaves a choice to the settings.

    It runs `argv`, or in a program that has declared it the function `handler` with `arguments` (JSON values).
    `after`, `after_any` and `after_failure` hold ids, or names that earlier lines of the same file
    carry as `ref`. `delay` and `timeout` are seconds, `at` is seconds since the epoch. The commands of
    `on_dead` take over one after the other, each when the one before it has failed for good (or, with
    `escalate_after`, so many times).
    """

    argv: tuple[str, ...] = ()
    handler: str | None = None
    arguments: Mapping[str, Any] = {}
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
    retry: str | None = None  # a preset's name; what the job says itself counts before it
    backoff: Backoff | None = None
    backoff_base: float | None = None
    backoff_cap: float | None = None
    unique: str | None = None
    locks: tuple[tuple[str, int | None], ...] = ()
    name: str | None = None
    meta: Mapping[str, str] = {}
    on_dead: tuple[tuple[str, ...], ...] | None = None  # None: what the settings' rules say; (): nothing
    escalate_after: int | None = None
    ref: str | None = None

    _secret = frozenset({"env", "stdin"})


class Origin(Frozen):
    """Who asks, from where: follows from the entry point, never from a parameter."""

    caller: Caller
    session: str | None = None
    project: str | None = None
    client: str | None = None

    @property
    def will(self) -> Literal["person", "automatic"]:
        """Whose will it is: a person's counts for more than an agent's or a hook's, which come and go."""
        return "person" if self.caller == "person" else "automatic"


class Admission(Frozen):
    """A job that passed every check, as the store takes it in: all choices made, all paths real."""

    job: NewJob
    origin: Origin
    program: str  # the real path: what rules speak of and people see; empty for a handler's job
    executable: str  # the path as found, which is what runs (a link's name can matter to the program)
    cwd: str
    env: Mapping[str, str]
    retry: Retry
    timeout: float | None
    due_at: float | None = None
    held: str | None = None  # why it has to wait for a person's approval
    on_dead: tuple[Step, ...] = ()  # the job's own, or those of the settings' rules
    escalated_from: int | None = None
    schedule: str | None = None  # the one that queues it
    spool_id: str | None = None
    task: str | None = None  # the id by which an MCP client follows it; cannot be guessed

    _secret = frozenset({"env", "task"})


class Receipt(Frozen):
    """The answer to an enqueue: committed when the caller sees it."""

    id: int
    state: JobState
    existing: bool = False  # a live job with the same unique key was returned instead
